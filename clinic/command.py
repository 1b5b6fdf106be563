"""`python -m clinic predict image.jpg folder/ --study ham10000_cpu --out results`

Predicts files and folders of JPEG, PNG and DICOM with the model that 12_prediction of a study prepared, and writes
tables and, on request, pages, DICOM objects and FHIR bundles. Exit codes: 0, every file was predicted. 1, some
were not; failed.csv says which and why. 2, there are no results, or the run ended early. In that case the tables hold
what was finished, and failed.csv lists the files that were not reached. After a crash, the tables are at most a minute
old.
"""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from clinic import DISCLAIMER
from helpers.study import StudyError

if TYPE_CHECKING:  # so that `--help` does not wait for slow imports
    from clinic.answering.deployment import Deployment
    from clinic.answering.prediction import Outcome
    from clinic.writing.outputs import Outputs
    from clinic.writing.tables import Tables

DONE, SOME_FAILED, NO_RESULTS = 0, 1, 2


def main(words: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    given = arguments().parse_args(words)
    _quiet_libraries()
    try:
        with _end_alike():
            return predict(given)
    except KeyboardInterrupt:
        reason = "it was stopped"
    except StudyError as error:
        reason = str(error)
    except OSError as error:  # its message names the file
        reason = error.strerror or type(error).__name__
    except Exception as error:
        reason = f"the program failed ({type(error).__name__})"
    print(f"No complete results: {reason.removesuffix('.')}.", file=sys.stderr)
    return NO_RESULTS


def arguments() -> argparse.ArgumentParser:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(prog="python -m clinic", description=DISCLAIMER)
    command = parser.add_subparsers(dest="command", required=True).add_parser(
        "predict", help="predict files and folders of JPEG, PNG and DICOM", description=DISCLAIMER
    )
    command.add_argument("input", nargs="+", type=Path, help="image, DICOM object, or folder of them")
    command.add_argument("--out", type=Path, required=True, help="new or empty folder for the results")
    command.add_argument("--study", default="demo", help="study whose 12_prediction prepared the model (%(default)s)")
    command.add_argument("--deployment", type=Path, help="deployment.json, in place of the study's")
    command.add_argument("--model", type=Path, help="model file, in place of the deployment's; .keras only")
    command.add_argument("--trust", action="store_true", help="load a model file whose checksum is not known")
    command.add_argument("--pages", choices=("png", "pdf"), default="", help="write a page about each image")
    command.add_argument("--dicom", action="store_true", help="write a structured report about each DICOM file")
    command.add_argument("--fhir", action="store_true", help="write a FHIR R4 bundle about each image")
    command.add_argument(
        "--deidentify",
        action="store_true",
        help="leave identifiers out of DICOM and FHIR results, and draw pages only for DICOM files that say that no "
        "text is burned into the image",
    )
    return parser


def predict(given: argparse.Namespace) -> int:
    """Predict the files of the command line; returns the exit code. Raises StudyError before anything is written."""
    from clinic.answering.deployment import load
    from clinic.answering.network import Network
    from clinic.answering.prediction import answer_files
    from clinic.reading.files import find_files
    from clinic.reading.reader import Reader
    from clinic.writing.outputs import Outputs, prepare_folder
    from clinic.writing.tables import Tables

    files, (deployment, file) = find_files(given.input), _find_deployment(given)
    folder = prepare_folder(given.out, given.input)
    model, deployment = load(deployment, given.model or file, given.trust)
    options = {name: getattr(given, name) for name in ("pages", "dicom", "fhir", "deidentify")}
    outputs = Outputs(folder, deployment, **options)
    network, tables = Network(model), Tables(folder, deployment, files)
    with (
        Reader(deployment.image_format(outputs.preview), key=outputs.key) as reader,
        closing(answer_files(reader.read(files), deployment, network)) as outcomes,
    ):
        _write(outcomes, outputs, tables)
    print(_summary(tables))
    return SOME_FAILED if tables.failed else DONE


def _find_deployment(given: argparse.Namespace) -> "tuple[Deployment, Path]":
    """The deployment that the command line names, and its model file. Raises StudyError."""
    from clinic.answering.deployment import find_deployment, read_deployment

    if given.deployment:
        return read_deployment(given.deployment), given.deployment.with_name("model.keras")
    return find_deployment(given.study)


def _write(outcomes: "Iterable[Outcome]", outputs: "Outputs", tables: "Tables") -> None:
    """Write each file's results as soon as they are ready, and the tables even if the run fails."""
    from tqdm import tqdm

    count = len(tables.files)
    try:
        with tqdm(total=count, unit="file", desc="predicting", mininterval=1) as bar:
            for outcome in outcomes:
                for fault in tables.add(outcome, outputs.write(outcome)):
                    bar.write(_message(fault, count), file=sys.stderr)
                bar.update()
                tables.save()
    finally:
        tables.write()


def _message(fault: dict, files: int) -> str:
    return f"file {fault['file']} of {files}: {fault['fault']}"


def _summary(tables: "Tables") -> str:
    rows = tables.answered
    abstained, suspicious = sum(row["abstained"] for row in rows), sum(row["suspicious"] is True for row in rows)
    lines = [
        f"{len(rows):,} images in {len(tables.files):,} files: {suspicious:,} suspicious; the model abstains on "
        f"{abstained:,}; {sum(bool(row['warnings']) for row in rows):,} with warnings.",
        "The results are in the folder that --out names.",
        DISCLAIMER,
    ]
    if tables.failed:
        count = len({row["file"] for row in tables.failed})
        lines.insert(1, f"{count:,} files failed, at least in part. failed.csv says why.")
    return "\n".join(lines)


@contextmanager
def _end_alike() -> Iterator[None]:
    """Treat SIGTERM, sent by a container or a queue, like Ctrl-C: the run ends with its tables written."""

    def stop(*_) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would interrupt the writing
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _quiet_libraries() -> None:
    """Silence libraries whose messages could quote files, and TensorFlow's start-up notices."""
    from clinic.reading.pictures import ignore_warnings

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    ignore_warnings()
    for name in ("pydicom", "highdicom", "PIL"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
