"""Atomic file writing, and the records of notebook runs."""

import errno
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.reading import read_csv, read_json
from helpers.study import ROOT, StudyError, build_folder, check_parameters, declared_parameters, results_folder

if TYPE_CHECKING:  # writing files does not wait for it
    import pandas as pd

REMNANT = re.compile(r"\..+-(\d+)-\w{8}(\.[\w.]+)?")  # names of temporary files, with the id of their process
RESTORE = "Run its notebook again, or restore the file with `git checkout`."  # a record that is damaged
TRIAL = "TRIAL"  # environment variable: the folder of a trial, relative to the results of its study
FULL = 1_000_000  # bytes left on a disk that is full; not every library says that it is
REMEDIES = {
    errno.ENOSPC: "Free space on this disk",
    errno.EDQUOT: "Free space in your quota",
    errno.EFBIG: "Allow larger files (`ulimit -f unlimited`)",
    errno.EROFS: "Use a folder that you may write to: set RESULTS_DIR and BUILD_DIR",
    errno.EACCES: "Ask its owner for the permission to write, or set RESULTS_DIR and BUILD_DIR",
}


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside `target` and rename it to `target` when the block succeeds.

    Parent folders are created. If the block raises, `target` stays as it was and the temporary file is removed. Raises
    StudyError if the disk is full or the folder may not be written to.
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{target.stem}-{os.getpid()}-"
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=prefix, suffix=target.suffix)
    except OSError as error:
        raise cannot_write(target, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp creates files that only their owner can read
        temporary.replace(target)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def cannot_write(target: Path, error: OSError) -> Exception:
    """A StudyError with the remedy, where `target` could not be written; any other error as it is."""
    if error.filename and Path(error.filename).parent != target.parent:
        return error
    full = error.errno is None and shutil.disk_usage(target.parent).free < FULL
    number = errno.ENOSPC if full else error.errno
    if number not in REMEDIES:
        return error
    return StudyError(f"{target} cannot be written ({os.strerror(number)}). {REMEDIES[number]}, and run again.")


def remnants(folder: Path, *, deep: bool = True) -> list[Path]:
    """Temporary files and folders of `atomic_path` and of the demo whose process has ended.

    deep: also those in subfolders.
    """
    found = [(path, REMNANT.fullmatch(path.name)) for path in sorted(folder.glob("**/.*" if deep else ".*"))]
    return [path for path, match in found if match and not _is_running(int(match[1]))]


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return True


def write_text(path: Path, text: str) -> None:
    """Write a text, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: dict) -> None:
    """Write `content` as indented JSON, atomically. Raises ValueError for NaN, which JSON does not allow."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_csv(path: Path, table: "pd.DataFrame") -> None:
    """Write a table as csv without its index, atomically, with the same bytes on every machine."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Run:
    """One run of a notebook: its parameters and its folders.

    notebook: name without suffix, such as `03_cnn_baseline`; values: the notebook's `globals()`, which hold its
    declared parameters, including `study` and `seed`. Raises StudyError if a parameter has the wrong type.
    results: of the study, to read from; folder: for the record of this run, in `results`; work: for its trained
    networks. The environment variable TRIAL names the folder of a trial, whose files lie apart from the study's.
    """

    def __init__(self, notebook: str, values: dict):
        declared = declared_parameters(ROOT / "notebooks" / f"{notebook}.ipynb")
        self.notebook = notebook
        self.parameters = {name: values[name] for name in declared}
        check_parameters(self.parameters, declared, notebook)
        self.study = self.parameters["study"]
        self.results, trial = results_folder(self.study), os.environ.get(TRIAL, "")
        self.folder = self.results / (trial or notebook)
        self.work = build_folder(self.study) / trial
        # TensorFlow warns when it traces a function again, which happens in every notebook with several networks.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)

    def shared_path(self, path: Path) -> Path:
        """Where to write a file that other notebooks read at `path`: there or, in a trial, in the trial's folder."""
        return self.folder / path.name if os.environ.get(TRIAL) else path

    def figure(self, figure, name: str) -> None:
        """Save a matplotlib figure as figures/<name>.png, at 150 dpi on a white background, and show it.

        Its titles, axes and rows become the alternative text, in the metadata of the output.
        """
        import matplotlib.pyplot as plt
        from IPython.display import display

        with atomic_path(self.folder / "figures" / f"{name}.png") as temporary:
            figure.savefig(temporary, dpi=150, bbox_inches="tight", facecolor="white")
        display(figure, metadata={"image/png": {"alt": alternative_text(figure)}})
        plt.close(figure)  # otherwise it is shown again at the end of the cell

    def entry(self, name: str, task: str, split: "pd.DataFrame", *, weights_sha256: str | None = None) -> dict:
        """The first part of a `metrics.json` entry: the model, how it was run, and the split.

        name: the model's name in tables; task: one of `lesions.TASKS`; weights_sha256: SHA-256 of the pretrained
        weights that the model started from. The caller adds training and scores.
        """
        from helpers.backend import environment

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

    def write_record(self, entry: dict, predictions: "pd.DataFrame", variant: str = "") -> None:
        """Write predictions.csv and metrics.json for the notebook, or for a variant, into variants/<variant>/."""
        folder = self.folder / "variants" / variant if variant else self.folder
        write_csv(folder / "predictions.csv", predictions)
        write_json(folder / "metrics.json", entry)


def alternative_text(figure) -> str:
    """What a matplotlib figure shows, in words: its titles and axes, and the names of its rows, lines and labels."""
    figure.canvas.draw()  # some labels are only set now
    axes, rows = figure.axes, {}
    rows[""] = [figure.get_suptitle(), *(one.get_title(side) for one in axes for side in ("left", "center"))]
    rows["Horizontal axis"] = [figure.get_supxlabel(), *(one.get_xlabel() for one in axes)]
    rows["Vertical axis"] = [figure.get_supylabel(), *(one.get_ylabel() for one in axes)]
    rows["Rows"] = [label.get_text() for one in axes for label in one.get_yticklabels()]
    rows["Lines"] = [label for one in axes for label in one.get_legend_handles_labels()[1]]
    rows["Labels"] = [label.get_text() for one in axes for label in one.texts]
    parts = []
    for name, texts in rows.items():
        words = dict.fromkeys(" ".join(text.split()) for text in texts)
        words = [text for text in words if any(map(str.isalpha, text)) and not text.startswith("Images: ")]  # credits
        parts += [f"{name}: {'; '.join(words)}" if name else "; ".join(words)] if words else []
    return ". ".join(parts)


def read_records(folder: Path, *, compared: bool = False, notebook: str = "*") -> list[dict]:
    """The `metrics.json` entries below a study's results, variants as separate entries, each with its `folder`.

    compared: read only the models that take part in the comparison. The other records may be from an earlier split,
    because their notebooks run later. notebook: read only the records of this notebook. Raises StudyError if there are
    no records, if one is damaged, or if they are from different splits.
    """
    records = []
    for path in sorted(folder.glob(f"{notebook}/metrics.json")):
        record = read_json(path, RESTORE)
        records.append(record | {"folder": path.parent})
        for name, variant in record.get("variants", {}).items():
            records.append(variant | {"folder": path.parent / "variants" / name})
    records = [record for record in records if not compared or record.get("compared", True)]
    if not records:
        raise StudyError(f"{folder}: no run records. Run the model notebooks of this study first.")
    splits = {record["split"]["sha256"] for record in records}
    if len(splits) > 1:
        raise StudyError(f"{folder}: its records are from {len(splits)} different splits. Run `make all` again.")
    return records


def read_predictions(folder: Path) -> "pd.DataFrame":
    """The predictions of a record of `read_records`, by its folder. Raises StudyError if they are lost or damaged."""
    return read_csv(folder / "predictions.csv", RESTORE, dtype={"image_id": str, "label": str})


def network_of(record: dict) -> tuple[Path, int]:
    """The folder of the network behind a record of `read_records`, and the number of views per image.

    A variant with an entry `views` was not trained itself: it uses its notebook's network, with that many views of each
    image.
    """
    folder = record["folder"]
    return (folder.parent.parent, record["views"]) if "views" in record else (folder, 1)


def one_per_network(records: Mapping[str, dict]) -> list[str]:
    """The names of trained models, one per network, those with the better balanced accuracy on validation first.

    A network that is listed with one view and with several counts once, with the reading that is better on validation.
    """
    trained = [name for name, record in records.items() if record["training"]]
    trained.sort(key=lambda name: -records[name]["validation"]["balanced_accuracy"]["value"])
    names: dict[Path, str] = {}
    for name in trained:
        names.setdefault(network_of(records[name])[0], name)
    return list(names.values())


def describe_split(split: "pd.DataFrame") -> dict:
    """SHA-256 of a split table written as csv, and the number of images in each part."""
    text = split.to_csv(index=False, lineterminator="\n")
    parts = split["part"].value_counts()
    counts = {part: int(parts.get(part, 0)) for part in ("train", "validation", "test")}
    return {"sha256": hashlib.sha256(text.encode()).hexdigest(), **counts}
