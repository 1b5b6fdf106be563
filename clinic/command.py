"""`python -m clinic predict image.jpg folder/ --study ham10000_cpu --out results`

Predicts files and folders of JPEG, PNG and DICOM with the model that 12_prediction of a study prepared, and writes
tables, and where asked for pages, DICOM objects and FHIR bundles. Exit codes: 0, every file was predicted; 1, some
were not, and which and why stands in failed.csv; 2, there are no results, or the run ended early: then the tables hold
what was done until then, and failed.csv the files that were not reached. So do they, up to the last minute, after an
end that no program can see coming.
"""

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from clinic import DISCLAIMER
from helpers.study import StudyError

if TYPE_CHECKING:  # who only asks for help need not wait for what they load
    from clinic.answering.network import Logits
    from clinic.answering.prediction import Outcome
    from clinic.reading.intake import Found, Reader
    from clinic.writing.outputs import Outputs

DONE, SOME_FAILED, NO_RESULTS = 0, 1, 2
SAVED_EVERY = 60.0  # seconds from one writing of the tables to the next


def main(words: list[str] | None = None) -> int:
    """The command line; gives the exit code."""
    given = arguments().parse_args(words)
    _silence_libraries()
    try:
        with _ended_alike():
            return predict(given)
    except KeyboardInterrupt:
        told = "it was stopped"
    except StudyError as error:
        told = str(error)
    except OSError as error:  # its own text names the file
        told = error.strerror or type(error).__name__
    except Exception as error:
        told = f"the program failed ({type(error).__name__})"
    print(f"No complete results: {told.removesuffix('.')}.", file=sys.stderr)
    return NO_RESULTS


def arguments() -> argparse.ArgumentParser:
    """What the command line takes."""
    parser = argparse.ArgumentParser(prog="python -m clinic", description=DISCLAIMER)
    command = parser.add_subparsers(dest="command", required=True).add_parser(
        "predict", help="predict files and folders of JPEG, PNG and DICOM", description=DISCLAIMER
    )
    command.add_argument("input", nargs="+", type=Path, help="image, DICOM object, or folder of them")
    command.add_argument("--out", type=Path, required=True, help="new or empty folder for the results")
    command.add_argument("--study", default="demo", help="whose 12_prediction prepared the model (%(default)s)")
    command.add_argument("--deployment", type=Path, help="deployment.json, where it is not the study's own")
    command.add_argument("--model", type=Path, help="model file, where it is not the deployment's own; .keras only")
    command.add_argument("--trust", action="store_true", help="load a model file whose checksum is not known")
    command.add_argument("--pages", choices=("png", "pdf"), default="", help="write a page about each image")
    command.add_argument("--dicom", action="store_true", help="write a structured report, and maps, for DICOM files")
    command.add_argument("--fhir", action="store_true", help="write a FHIR R4 bundle about each image")
    command.add_argument(
        "--deidentify",
        action="store_true",
        help="without identifiers in DICOM and FHIR results, and with maps and pages only of DICOM files that say that "
        "no text is burned into the image",
    )
    command.add_argument("--no-maps", action="store_true", help="leave out the maps (Grad-CAM)")
    command.add_argument("--names", action="store_true", help="name files in tables and messages; may name patients")
    return parser


def predict(given: argparse.Namespace) -> int:
    """Predict what the command line names; gives the exit code. Raises StudyError before anything is written."""
    from clinic.answering.deployment import find_deployment, load, read_deployment
    from clinic.answering.maps import grad_cam
    from clinic.answering.network import Network
    from clinic.reading.intake import Reader, find_files
    from clinic.writing.outputs import Outputs, prepare_folder

    if given.names and given.deidentify:
        raise StudyError("Names of files may name patients: choose either --names or --deidentify.")
    files = find_files(given.input)
    if given.deployment:
        deployment, file = read_deployment(given.deployment), given.deployment.with_name("model.keras")
    else:
        deployment, file = find_deployment(given.study)
    folder = prepare_folder(given.out, given.input)
    model, deployment = load(deployment, given.model or file, given.trust)
    asked = {name: getattr(given, name) for name in ("pages", "dicom", "fhir", "deidentify")}
    outputs = Outputs(folder, deployment, **asked, draw_maps=None if given.no_maps else partial(grad_cam, model))
    network = Network(model)
    with Reader(deployment.wanted(outputs.preview), key=outputs.key) as reader:
        return _run(Tables(files, outputs, given.names), reader, network)


@dataclass
class Tables:
    """What a run has to tell of its files so far.

    files: all that it is to predict; outputs: where to and for which deployment; named: with the names of files;
    table, failed: rows as of `prediction.rows` and `prediction.faults`; reached: of how many files.
    """

    files: "list[Found]"
    outputs: "Outputs"
    named: bool
    table: list[dict] = field(default_factory=list)
    failed: list[dict] = field(default_factory=list)
    reached: int = 0
    _due: float = field(default_factory=lambda: time.monotonic() + SAVED_EVERY)

    def add(self, outcome: "Outcome", unwritten: list[str]) -> list[dict]:
        """Take up the next file; returns the rows of its faults. unwritten: as of `prediction.faults`."""
        from clinic.writing.tables import faults, rows

        own = faults(outcome, unwritten, self.named)
        self.table += rows(outcome, self.outputs.deployment, self.named)
        self.failed += own
        self.reached += 1
        return own

    def write(self) -> None:
        """Write them as if the run ended here: the files that are still to come failed."""
        from clinic.writing.tables import faults, not_reached, write_tables

        unread = [row for found in self.files[self.reached :] for row in faults(not_reached(found), named=self.named)]
        write_tables(self.outputs.folder, self.outputs.deployment, self.table, self.failed + unread)

    def save(self) -> None:
        """Write them if that is due: not more often than SAVED_EVERY, and in a twentieth of the time at most."""
        if (started := time.monotonic()) >= self._due:
            self.write()
            ended = time.monotonic()
            self._due = ended + max(SAVED_EVERY, 19 * (ended - started))


def _run(tables: Tables, reader: "Reader", logits: "Logits") -> int:
    """Predict and write file by file; gives the exit code. The tables are written however it ends."""
    from clinic.answering.prediction import predict_files

    files, outputs = tables.files, tables.outputs
    try:
        with (
            tqdm(total=len(files), unit="file", desc="predicting", mininterval=1) as bar,
            closing(predict_files(files, reader, outputs.deployment, logits)) as outcomes,
        ):
            for outcome in outcomes:
                for fault in tables.add(outcome, outputs.write(outcome)):
                    bar.write(_message(fault, len(files)), file=sys.stderr)
                bar.update()
                tables.save()
    finally:
        tables.write()
    print(_summary(tables))
    return SOME_FAILED if tables.failed else DONE


def _message(fault: dict, files: int) -> str:
    name = f", {fault['name']}," if "name" in fault else ""
    return f"file {fault['file']}{name} of {files}: {fault['fault']}"


def _summary(tables: Tables) -> str:
    table, files = tables.table, len(tables.files)
    silent, suspicious = sum(row["silent"] for row in table), sum(row["suspicious"] is True for row in table)
    lines = [
        f"{len(table):,} images of {files:,} files: {suspicious:,} suspicious, {silent:,} without an answer, "
        f"{sum(bool(row['warnings']) for row in table):,} with warnings.",
        "The results are in the folder that --out names.",
        DISCLAIMER,
    ]
    if tables.failed:
        count = len({row["file"] for row in tables.failed})
        lines.insert(1, f"{count:,} files failed, wholly or in part; failed.csv says why.")
    return "\n".join(lines)


@contextmanager
def _ended_alike() -> Iterator[None]:
    """Let a run that is told to terminate, as by a container or a queue, end as by Ctrl-C: with its tables written."""

    def stop(*_) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would cut off the writing
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _silence_libraries() -> None:
    """Let no library write what it finds in files, nor TensorFlow its start-up notices."""
    from clinic.reading.pictures import quiet

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    quiet()
    for name in ("pydicom", "highdicom", "PIL"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
