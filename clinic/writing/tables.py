"""The tables of a run: a row for each picture, and a row for each failure."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic

import numpy as np
import pandas as pd

from clinic import DISCLAIMER
from clinic.answering.answers import Answer
from clinic.answering.deployment import Deployment, software_version
from clinic.answering.prediction import Outcome
from clinic.reading.files import InputFile
from clinic.writing.sentences import describe_abstention, describe_operating_point
from helpers.records import write_csv, write_json

DIGITS = 6
SAVED_EVERY = 60.0  # seconds between two saves of the tables


@dataclass
class Tables:
    """The tables of a run so far, in a folder.

    files: all files of the run. answered, failed: rows as in `answer_rows` and `fault_rows`. reached: how many files
    were added.
    """

    folder: Path
    deployment: Deployment
    files: Sequence[InputFile]
    answered: list[dict] = field(default_factory=list)
    failed: list[dict] = field(default_factory=list)
    reached: int = 0
    _due: float = field(default_factory=lambda: monotonic() + SAVED_EVERY)

    def add(self, outcome: Outcome, unwritten: Sequence[str] = ()) -> list[dict]:
        """Add the next file; returns the rows of its faults. unwritten: as in `fault_rows`."""
        faults = fault_rows(outcome.file, unwritten)
        self.answered += answer_rows(outcome, self.deployment)
        self.failed += faults
        self.reached += 1
        return faults

    def write(self) -> None:
        """Write the tables as if the run ended here: the remaining files count as failed."""
        fault = "the run ended before this file"
        rest = [replace(file, fault=fault) for file in self.files[self.reached :]]
        unread = [row for file in rest for row in fault_rows(file)]
        write_tables(self.folder, self.deployment, self.answered, self.failed + unread)

    def save(self) -> None:
        """Write the tables if it is time: at most every SAVED_EVERY seconds, and in at most 5 % of the run's time."""
        if (started := monotonic()) >= self._due:
            self.write()
            ended = monotonic()
            self._due = ended + max(SAVED_EVERY, 19 * (ended - started))


def answer_rows(outcome: Outcome, deployment: Deployment) -> list[dict]:
    """The rows of a file, one per picture."""
    file = outcome.file
    return [
        {"file": file.number, "image": file.image, "frame": picture.frame} | _answer_row(answer, deployment)
        for picture, answer in outcome.pairs
    ]


def fault_rows(file: InputFile, unwritten: Sequence[str] = ()) -> list[dict]:
    """A row for each failure of a file: its number, its name in results, and the fault.

    unwritten: why results for it could not be written.
    """
    about = {"file": file.number, "image": file.image}
    return [about | {"fault": fault} for fault in (file.fault, *unwritten) if fault]


def write_tables(folder: Path, deployment: Deployment, answered: list[dict], failed: list[dict]) -> None:
    """Write predictions.csv, predictions.json and, if something failed, failed.csv into a folder.

    answered, failed: rows as in `answer_rows` and `fault_rows`.
    """
    columns = None if answered else _columns(deployment)
    write_csv(folder / "predictions.csv", pd.DataFrame(answered, columns=columns))
    if failed:
        write_csv(folder / "failed.csv", pd.DataFrame(failed))
    else:  # remove the one from an earlier save
        (folder / "failed.csv").unlink(missing_ok=True)
    write_json(folder / "predictions.json", _about(deployment) | {"predictions": answered, "failed": failed})


def _answer_row(answer: Answer, deployment: Deployment) -> dict:
    codes = deployment.codes
    row = {"answer": "" if answer.abstained else codes[int(answer.probabilities.argmax())]}
    row |= {f"p_{code}": round(float(p), DIGITS) for code, p in zip(codes, answer.probabilities, strict=True)}
    row |= {f"calibrated_{code}": round(float(p), DIGITS) for code, p in zip(codes, answer.calibrated, strict=True)}
    return row | {
        "malignancy": round(answer.malignancy, DIGITS),
        "calibrated_malignancy": round(answer.calibrated_malignancy, DIGITS),
        "operating_point": round(deployment.threshold, DIGITS),
        "suspicious": answer.suspicious,
        "energy": round(answer.energy, DIGITS),
        "abstained": answer.abstained,
        "warnings": "; ".join(answer.warnings),
        "model": deployment.name,
        "version": deployment.version,
        "sha256": deployment.model_sha256,
    }


def _columns(deployment: Deployment) -> list[str]:
    """The columns of a table without a row."""
    nothing = np.zeros(len(deployment.classes))
    blank = Answer(nothing, nothing, 0.0, 0.0, 0.0, abstained=True, suspicious=None)
    return ["file", "image", "frame", *_answer_row(blank, deployment)]


def _about(deployment: Deployment) -> dict:
    """The entries of predictions.json besides the rows."""
    return {
        "disclaimer": DISCLAIMER,
        "model": {name: getattr(deployment, name) for name in ("name", "study", "version", "model_sha256")},
        "software": software_version(),
        "classes": {one.code: {"name": one.name, "malignant": one.malignant} for one in deployment.classes},
        "abstention": {
            "below_energy": deployment.abstention_threshold,
            "summary": describe_abstention(deployment),
            "on_test": deployment.abstention,
        },
        "operating_point": {
            "malignancy": deployment.threshold,
            "summary": describe_operating_point(deployment),
            "on_test": deployment.malignant,
        },
        "calibration": {
            "temperature": deployment.temperature,
            "biases": dict(zip(deployment.codes, deployment.biases, strict=True)),
        },
    }
