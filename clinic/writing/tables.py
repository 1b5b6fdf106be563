"""The tables of a run: a row for each picture, and one for each thing that went wrong."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from clinic import DISCLAIMER
from clinic.answering.answers import Answer
from clinic.answering.deployment import Deployment, software_version
from clinic.answering.prediction import Outcome
from clinic.reading.intake import Arrival, Found
from helpers.records import write_csv, write_json

DIGITS = 6


def rows(outcome: Outcome, deployment: Deployment, named: bool = False) -> list[dict]:
    """The rows of the table for a file, one a picture. named: with the name of the file, which may be a patient's."""
    arrival = outcome.arrival
    return [
        {"file": arrival.found.number, "image": arrival.image, "frame": picture.frame}
        | ({"name": shown_name(arrival.found.path)} if named else {})
        | _told(deployment, own)
        for picture, own in outcome.pairs
    ]


def _told(deployment: Deployment, own: Answer) -> dict:
    codes = deployment.codes
    told = {"answer": "" if own.silent else codes[int(own.probabilities.argmax())]}
    told |= {f"p_{code}": round(float(p), DIGITS) for code, p in zip(codes, own.probabilities, strict=True)}
    told |= {f"calibrated_{code}": round(float(p), DIGITS) for code, p in zip(codes, own.calibrated, strict=True)}
    return told | {
        "malignancy": round(own.malignancy, DIGITS),
        "calibrated_malignancy": round(own.calibrated_malignancy, DIGITS),
        "operating_point": round(deployment.threshold, DIGITS),
        "suspicious": own.suspicious,
        "energy": round(own.energy, DIGITS),
        "silent": own.silent,
        "warnings": "; ".join(own.warnings),
        "model": deployment.name,
        "version": deployment.version,
        "sha256": deployment.model_sha256,
    }


def faults(outcome: Outcome, unwritten: Sequence[str] = (), named: bool = False) -> list[dict]:
    """A row for each thing that went wrong with a file: its number, who it is as far as it could be read, and what.

    unwritten: why results about it could not be written; named: as in `rows`.
    """
    own = outcome.arrival
    about = {"file": own.found.number, "image": own.image}
    name = {"name": shown_name(own.found.path)} if named else {}
    return [about | {"fault": fault} | name for fault in (own.fault, *unwritten) if fault]


def not_reached(found: Found) -> Outcome:
    """What becomes of a file that a run did not come to."""
    return Outcome(Arrival(found, fault="the run ended before this file"))


def shown_name(path: Path) -> str:
    """A file's name for a table or a message: only what can be printed, and nothing that a spreadsheet would run."""
    name = "".join(sign if sign.isprintable() else "?" for sign in path.name)
    return f"'{name}" if name.startswith(("=", "+", "-", "@")) else name


def columns(deployment: Deployment) -> list[str]:
    """The columns of a table without a row."""
    nothing = np.zeros(len(deployment.classes))
    blank = Answer(nothing, nothing, 0.0, 0.0, 0.0, silent=True, suspicious=None)
    return ["file", "image", "frame", *_told(deployment, blank)]


def write_tables(folder: Path, deployment: Deployment, table: list[dict], failed: list[dict]) -> None:
    """Write predictions.csv, predictions.json and, for what failed, failed.csv into a folder.

    table, failed: as `rows` and `faults` give them.
    """
    write_csv(folder / "predictions.csv", pd.DataFrame(table, columns=None if table else columns(deployment)))
    if failed:
        write_csv(folder / "failed.csv", pd.DataFrame(failed))
    else:  # nor does that of an earlier state of the run remain
        (folder / "failed.csv").unlink(missing_ok=True)
    about = {
        "disclaimer": DISCLAIMER,
        "model": {name: getattr(deployment, name) for name in ("name", "study", "version", "model_sha256")},
        "software": software_version(),
        "classes": {one.code: {"name": one.name, "malignant": one.malignant} for one in deployment.classes},
        "silence": {"below_energy": deployment.silence, "told": deployment.told(), "trade": deployment.trade},
        "operating_point": {
            "malignancy": deployment.threshold,
            "told": deployment.limit(),
            "on_test": deployment.malignant,
        },
        "maps": {"told": deployment.map_told(), "on_test": deployment.maps},
        "calibration": {
            "temperature": deployment.temperature,
            "biases": dict(zip(deployment.codes, deployment.biases, strict=True)),
        },
    }
    write_json(folder / "predictions.json", about | {"predictions": table, "failed": failed})
