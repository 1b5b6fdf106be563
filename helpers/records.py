"""Files that are written completely or not at all, and the record that a run of a notebook leaves."""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from helpers.backend import environment
from helpers.study import ROOT, StudyError, check_parameters, declared_parameters, results_folder


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target` and rename it to `target` when the block succeeds.

    Parent folders are made. If the block raises, `target` is not touched and the temporary file is removed.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}-", suffix=target.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner may read
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: dict) -> None:
    """Write `content` as indented JSON, atomically. Raises ValueError for NaN, which JSON does not have."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table as csv without its index, atomically, with the same bytes on every machine."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Run:
    """One execution of one notebook: its parameters and the folder its record goes to.

    notebook: name without suffix, as `03_cnn_baseline`; values: the notebook's `globals()`, which hold its declared
    parameters, `study` and `seed` among them. Raises StudyError if one of them has a value of the wrong type.
    """

    def __init__(self, notebook: str, values: dict):
        declared = declared_parameters(ROOT / "notebooks" / f"{notebook}.ipynb")
        self.notebook = notebook
        self.parameters = {name: values[name] for name in declared}
        check_parameters(self.parameters, declared, notebook)
        self.study = self.parameters["study"]
        self.folder = results_folder(self.study) / notebook
        # TensorFlow warns when a function is traced again, as happens in every notebook with several networks.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)

    def figure(self, figure, name: str) -> None:
        """Save a matplotlib figure as figures/<name>.png, with 150 dots per inch, on white."""
        with atomic_path(self.folder / "figures" / f"{name}.png") as temporary:
            figure.savefig(temporary, dpi=150, bbox_inches="tight", facecolor="white")

    def entry(self, name: str, task: str, split: pd.DataFrame, *, weights_sha256: str | None = None) -> dict:
        """The first part of a `metrics.json` entry: which model, how it was run, and on which split.

        name: of the model, as in tables; task: one of `lesions.TASKS`; weights_sha256: of the file of pretrained
        weights that the model started from. Training and scores are added by the caller.
        """
        return {
            "name": name,
            "study": self.study,
            "notebook": self.notebook,
            "task": task,
            "split": describe_split(split),
            "parameters": self.parameters,
            "seed": self.parameters["seed"],
            "environment": environment() | {"weights_sha256": weights_sha256},
        }

    def write_record(self, entry: dict, predictions: pd.DataFrame, variant: str = "") -> None:
        """Write predictions.csv and metrics.json of the notebook, or of a variant, then to variants/<variant>/."""
        folder = self.folder / "variants" / variant if variant else self.folder
        write_csv(folder / "predictions.csv", predictions)
        write_json(folder / "metrics.json", entry)


def read_records(folder: Path, *, compared: bool = False, notebook: str = "*") -> list[dict]:
    """The `metrics.json` entries below a study's results, variants as separate entries, each with its `folder`.

    compared: only those of models that take part in the comparison. The others may be of an earlier split, since their
    notebooks run after some that read the records. notebook: read only the records of this one. Raises StudyError if
    there is no record, or if the records are of different splits.
    """
    records = []
    for path in sorted(folder.glob(f"{notebook}/metrics.json")):
        record = json.loads(path.read_text())
        records.append(record | {"folder": path.parent})
        for name, variant in record.get("variants", {}).items():
            records.append(variant | {"folder": path.parent / "variants" / name})
    records = [record for record in records if not compared or record.get("compared", True)]
    if not records:
        raise StudyError(f"{folder}: no run records. Run the model notebooks of this study first.")
    splits = {record["split"]["sha256"] for record in records}
    if len(splits) > 1:
        raise StudyError(f"{folder}: its records are of {len(splits)} different splits. Run `make all` again.")
    return records


def network_of(record: dict) -> tuple[Path, int]:
    """The network behind a record of `read_records`, and the number of views of each image that it was given.

    The network is named by the folder of the record that it was trained for. A variant with an entry `views` was not
    trained: it is the network of its notebook, given that many views.
    """
    folder = record["folder"]
    return (folder.parent.parent, record["views"]) if "views" in record else (folder, 1)


def describe_split(split: pd.DataFrame) -> dict:
    """SHA-256 of a split table's csv, and the number of images of each part."""
    text = split.to_csv(index=False, lineterminator="\n")
    parts = split["part"].value_counts()
    counts = {part: int(parts.get(part, 0)) for part in ("train", "validation", "test")}
    return {"sha256": hashlib.sha256(text.encode()).hexdigest(), **counts}
