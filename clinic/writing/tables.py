"""The tables of a run: a row for each picture, and a row for each failure. A run that was killed goes on from them."""

import csv
import datetime
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import numpy as np

from clinic import DISCLAIMER
from clinic.answering.answers import Answer
from clinic.answering.deployment import Deployment, software_version
from clinic.answering.prediction import Outcome
from clinic.reading.files import InputFile
from clinic.writing.journal import ANSWERED, FAILED, Journal
from helpers.records import atomic_path
from helpers.study import StudyError

DIGITS, FEW_DIGITS = 6, 2  # of numbers; few where nobody may find an image by them
JOURNAL = "unfinished.jsonl"  # the rows of a run that has not ended
NO_ANSWER = "no answer"
IDENTIFIERS = ("sop_instance", "series", "study", "accession_number")
FORMULA = "=+-@＝＋－＠"  # a spreadsheet runs what begins so


@dataclass
class Tables:
    """The tables of a run so far, in a folder.

    files: all files of the run, or None for those that appear in a watched folder, which have stamps. options: of the
    command line, as text. deidentify: whether to leave out paths and identifiers, and round numbers. counts: of images
    by "images", "suspicious", "no answer" and "warnings", and of "files", of which some "failed". Raises StudyError if
    the folder has an unfinished run of other files, options or another deployment.
    """

    folder: Path
    deployment: Deployment
    files: Sequence[InputFile] | None
    options: str = ""
    deidentify: bool = False
    counts: Counter = field(default_factory=Counter)
    _done: set[int | str] = field(default_factory=set)

    def __post_init__(self):
        path = self.folder / JOURNAL
        if self.deidentify and path.exists():  # its files have names that were made for that run
            raise StudyError("--out has an unfinished run, which cannot go on with --deidentify. Choose a new folder.")
        paths = "\n".join(str(Path(file.path).resolve()) for file in self.files or ())
        files = hashlib.sha256(paths.encode(errors="surrogateescape")).hexdigest()
        run = {"deployment": self.deployment.checksum, "options": self.options, "files": files}
        self._journal = Journal(path, run)
        for entry in self._journal:
            self._count(**entry)

    @property
    def remaining(self) -> list[InputFile]:
        """The files that were not reached yet; none in a watched folder."""
        return [file for file in self.files or () if not self.has(file)]

    def has(self, file: InputFile) -> bool:
        """Whether the rows of a file are there."""
        return (file.stamp or file.number) in self._done

    def add(self, outcome: Outcome, unwritten: Sequence[str] = ()) -> list[dict]:
        """Add the next file; returns the rows of its faults. unwritten: as in `fault_rows`."""
        faults = fault_rows(outcome.file, unwritten, self.deidentify)
        about = {"options": self.options}
        rows = [row | about for row in answer_rows(outcome, self.deployment, self.deidentify)]
        key = outcome.file.stamp or outcome.file.number
        self._journal.add(key, rows, faults)
        self._count(key, rows, faults)
        return faults

    def write(self) -> None:
        """Write the tables as if the run ended here: the remaining files count as failed."""
        rest = [replace(file, fault="the run ended before this file") for file in self.remaining]
        unread = [row for file in rest for row in fault_rows(file, hide=self.deidentify)]
        answered, failed = (self._journal.rows(kind) for kind in (ANSWERED, FAILED))
        about = {"options": self.options, "time": _now()}
        try:
            write_tables(self.folder, self.deployment, answered, failed=[*failed, *unread], about=about)
        except StudyError as error:  # it names the folder, which may be called like a patient
            raise (error.__cause__ or error) from None
        if self.deidentify or (self.files is not None and not rest):
            self._journal.path.unlink()

    def _count(self, file: int | str, answered: list[dict], failed: list[dict]) -> None:
        self._done.add(file)
        self.counts["files"] += 1
        self.counts["failed"] += bool(failed)
        for row in answered:
            said = {"yes": "suspicious", NO_ANSWER: NO_ANSWER}.get(row["suspicious"])
            self.counts.update(filter(None, ("images", said, row["warnings"] and "warnings")))


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
    folder: Path,
    deployment: Deployment,
    answered: Iterable[dict],
    *,
    failed: Sequence[dict],
    about: dict | None = None,
) -> None:
    """Write predictions.csv, predictions.json and, if something failed, failed.csv into a folder.

    answered, failed: rows as in `answer_rows` and `fault_rows`, gone through twice. about: more entries for
    predictions.json.
    """
    _write_csv(folder / "predictions.csv", answered, _columns(deployment))
    if failed:
        _write_csv(folder / "failed.csv", failed, list(failed[0]))
    else:  # remove the one from an earlier part of the run
        (folder / "failed.csv").unlink(missing_ok=True)
    rows = {"predictions": answered, "failed": failed}
    _write_json(folder / "predictions.json", _about(deployment) | (about or {}), rows)


def _write_csv(path: Path, rows: Iterable[dict], columns: list[str]) -> None:
    """Write rows one by one. columns: if there is no row."""
    rows = iter(rows)
    first = next(rows, None)
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(first or columns), lineterminator="\n")
        writer.writeheader()
        for row in chain([first] if first else [], rows):
            writer.writerow({name: as_text(value) for name, value in row.items()})


def _write_json(path: Path, about: dict, rows: Mapping[str, Iterable[dict]]) -> None:
    """Write `about` with more entries, each a list of rows; one line per row, and one row at a time in memory."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(about, indent=1, allow_nan=False).removesuffix("\n}"))
        for name, values in rows.items():
            file.write(f",\n {json.dumps(name)}: [")
            for place, row in enumerate(values):
                file.write(f"{',' if place else ''}\n  {json.dumps(row, allow_nan=False)}")
            file.write("\n ]")
        file.write("\n}\n")


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

    def number(value: float) -> float | None:
        return None if answer.abstained else round(float(value), digits)

    codes = deployment.codes
    row = {
        "answer": NO_ANSWER if answer.abstained else codes[int(answer.probabilities.argmax())],
        "balanced_answer": NO_ANSWER if answer.abstained else codes[answer.balanced],
        "suspicious": NO_ANSWER if answer.abstained else "yes" if answer.suspicious else "no",
        "reason": answer.reason,
        "cause": answer.cause,
    }
    row |= {f"p_{code}": number(p) for code, p in zip(codes, answer.probabilities, strict=True)}
    return row | {
        "malignancy": number(answer.malignancy),
        "suspicious_from": round(deployment.suspicious_from, digits),
        "confidence": number(answer.confidence),
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
    blank = Answer(nothing, 0, 0.0, 0.0, distance=0.0, reason="", suspicious=None)
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
        "abstention": {
            "confidence": deployment.confidence,
            "below": deployment.abstention_threshold,
            "on_test": deployment.abstention,
        },
        "operating_point": {"suspicious_from": deployment.suspicious_from, "on_test": deployment.malignant},
        "calibration": {
            "temperature": deployment.temperature,
            "biases": dict(zip(deployment.codes, deployment.biases, strict=True)),
        },
    }
