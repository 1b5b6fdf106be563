"""The tables of a run: a row for each picture, and a row for each failure. A run that was killed goes on from them."""

import datetime
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from clinic import DISCLAIMER
from clinic.answering.answers import Answer
from clinic.answering.deployment import Deployment, software_version
from clinic.answering.prediction import Outcome
from clinic.reading.files import InputFile
from helpers.records import write_csv, write_json
from helpers.study import StudyError

DIGITS, FEW_DIGITS = 6, 2  # of numbers; few where nobody may find an image by them
JOURNAL = "unfinished.jsonl"  # the rows of a run that has not ended
NO_ANSWER = "no answer"
IDENTIFIERS = ("sop_instance", "series", "study", "accession_number")
FORMULA = "=+-@＝＋－＠"  # a spreadsheet runs what begins so


@dataclass
class Tables:
    """The tables of a run so far, in a folder.

    files: all files of the run. options: of the command line, as text. deidentify: whether to leave out paths and
    identifiers, and round numbers. answered, failed: rows as in `answer_rows` and `fault_rows`. Raises StudyError if
    the folder has an unfinished run of other files, options or another deployment.
    """

    folder: Path
    deployment: Deployment
    files: Sequence[InputFile]
    options: str = ""
    deidentify: bool = False
    answered: list[dict] = field(default_factory=list)
    failed: list[dict] = field(default_factory=list)
    _done: set[int] = field(default_factory=set)

    def __post_init__(self):
        if self._journal.exists():
            self._go_on()
        else:
            self._note(self._run)

    @property
    def remaining(self) -> list[InputFile]:
        """The files that were not reached yet."""
        return [file for file in self.files if file.number not in self._done]

    def add(self, outcome: Outcome, unwritten: Sequence[str] = ()) -> list[dict]:
        """Add the next file; returns the rows of its faults. unwritten: as in `fault_rows`."""
        faults, hide = fault_rows(outcome.file, unwritten, self.deidentify), self.deidentify
        about = {"options": self.options}
        rows = [row | about for row in answer_rows(outcome, self.deployment, hide)]
        self._take(outcome.file.number, rows, faults)
        self._note({"file": outcome.file.number, "answered": rows, "failed": faults})
        return faults

    def write(self) -> None:
        """Write the tables as if the run ended here: the remaining files count as failed."""
        rest = [replace(file, fault="the run ended before this file") for file in self.remaining]
        unread = [row for file in rest for row in fault_rows(file, hide=self.deidentify)]
        about = {"options": self.options, "time": _now()}
        write_tables(self.folder, self.deployment, self.answered, self.failed + unread, about)
        if not rest:
            self._journal.unlink(missing_ok=True)

    @property
    def _journal(self) -> Path:
        return self.folder / JOURNAL

    @property
    def _run(self) -> dict:
        paths = "\n".join(str(Path(file.path).resolve()) for file in self.files)
        files = hashlib.sha256(paths.encode(errors="surrogateescape")).hexdigest()
        return {"deployment": self.deployment.checksum, "options": self.options, "files": files}

    def _go_on(self) -> None:
        """Take over the rows of an unfinished run; its last line may be cut off."""
        run, *lines = self._journal.read_text().splitlines()
        if json.loads(run) != self._run:
            raise StudyError("--out has an unfinished run of other files, options or model. Choose a new folder.")
        for line in lines:
            if line.endswith("}"):
                row = json.loads(line)
                self._take(row["file"], row["answered"], row["failed"])

    def _take(self, number: int, answered: list[dict], failed: list[dict]) -> None:
        self.answered += answered
        self.failed += failed
        self._done.add(number)

    def _note(self, row: dict) -> None:
        """Add a line to the journal. Names under `deidentify` are of one run alone, so that cannot go on."""
        if not self.deidentify:
            with self._journal.open("a") as file:
                file.write(json.dumps(row) + "\n")


def answer_rows(outcome: Outcome, deployment: Deployment, hide: bool = False) -> list[dict]:
    """The rows of a file, one per picture; hide: without path and identifiers, and with fewer digits."""
    file = outcome.file
    return [
        {"file": file.number, "image": file.image, "frame": picture.frame}
        | ({} if hide else _whose(file) | {"time": _now()})
        | _answer_row(answer, deployment, FEW_DIGITS if hide else DIGITS)
        for picture, answer in outcome.pairs
    ]


def fault_rows(file: InputFile, unwritten: Sequence[str] = (), hide: bool = False) -> list[dict]:
    """A row for each failure of a file: its number, its name in results, and the fault.

    unwritten: why results for it could not be written. hide: as in `answer_rows`.
    """
    about = {"file": file.number, "image": file.image} | ({} if hide else _whose(file))
    return [about | {"fault": fault} for fault in (file.fault, *unwritten) if fault]


def write_tables(
    folder: Path, deployment: Deployment, answered: list[dict], failed: list[dict], about: dict | None = None
) -> None:
    """Write predictions.csv, predictions.json and, if something failed, failed.csv into a folder.

    answered, failed: rows as in `answer_rows` and `fault_rows`. about: more entries for predictions.json.
    """
    columns = None if answered else _columns(deployment)
    write_csv(folder / "predictions.csv", pd.DataFrame(answered, columns=columns).map(as_text))
    if failed:
        write_csv(folder / "failed.csv", pd.DataFrame(failed).map(as_text))
    else:  # remove the one from an earlier part of the run
        (folder / "failed.csv").unlink(missing_ok=True)
    content = _about(deployment) | (about or {}) | {"predictions": answered, "failed": failed}
    write_json(folder / "predictions.json", content)


def as_text(value: object) -> object:
    """A value for a table; of a text only printable characters, and nothing that a spreadsheet would run."""
    if not isinstance(value, str):
        return value
    text = "".join(sign if sign.isprintable() else "?" for sign in value)
    return f"'{text}" if text.strip(" ?\u3000\xa0").startswith(tuple(FORMULA)) else text


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _whose(file: InputFile) -> dict:
    """The path of a file in the folder given and, of a DICOM object, its identifiers."""
    return {"path": file.relative} | {name: (file.place or {}).get(name, "") for name in IDENTIFIERS}


def _answer_row(answer: Answer, deployment: Deployment, digits: int) -> dict:
    """The columns of an answer. If the model abstains, these say so, and no number stands in for an answer."""

    def shown(value: float) -> float | None:
        return None if answer.abstained else round(float(value), digits)

    codes = deployment.codes
    row = {
        "answer": NO_ANSWER if answer.abstained else codes[int(answer.probabilities.argmax())],
        "suspicious": NO_ANSWER if answer.abstained else "yes" if answer.suspicious else "no",
        "reason": answer.reason,
    }
    row |= {f"p_{code}": shown(p) for code, p in zip(codes, answer.probabilities, strict=True)}
    row |= {f"calibrated_{code}": shown(p) for code, p in zip(codes, answer.calibrated, strict=True)}
    return row | {
        "malignancy": shown(answer.malignancy),
        "calibrated_malignancy": shown(answer.calibrated_malignancy),
        "operating_point": round(deployment.threshold, digits),
        "energy": round(answer.energy, digits),
        "distance": round(answer.distance, digits),
        "warnings": "; ".join(answer.warnings),
        "model": deployment.name,
        "version": deployment.version,
        "sha256": deployment.model_sha256,
        "deployment": deployment.checksum,
    }


def _columns(deployment: Deployment) -> list[str]:
    """The columns of a table without a row."""
    nothing = np.zeros(len(deployment.classes))
    blank = Answer(nothing, nothing, 0.0, 0.0, 0.0, distance=0.0, reason="", suspicious=None)
    return ["file", "image", "frame", *_answer_row(blank, deployment, DIGITS)]


def _about(deployment: Deployment) -> dict:
    """The entries of predictions.json about the model."""
    return {
        "disclaimer": DISCLAIMER,
        "model": {
            name: getattr(deployment, name) for name in ("name", "study", "version", "model_sha256", "missing_images")
        },
        "deployment": deployment.checksum,
        "software": software_version(),
        "classes": {one.code: {"name": one.name, "malignant": one.malignant} for one in deployment.classes},
        "abstention": {"below_energy": deployment.abstention_threshold, "on_test": deployment.abstention},
        "operating_point": {"malignancy": deployment.threshold, "on_test": deployment.malignant},
        "calibration": {
            "temperature": deployment.temperature,
            "biases": dict(zip(deployment.codes, deployment.biases, strict=True)),
        },
    }
