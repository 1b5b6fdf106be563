"""`python -m clinic predict image.jpg folder/ --study ham10000_cpu --out results`

Predicts files and folders of JPEG, PNG and DICOM with the model that 13_prediction of a study prepared, and writes
tables and, on request, pages, DICOM objects and FHIR bundles. Exit codes: 0, every file was predicted. 1, some
were not; failed.csv says which and why. 2, there are no results, or the run ended early. In that case the tables hold
what was finished, failed.csv lists the files that were not reached, and the same command goes on with these.
"""

import argparse
import logging
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from clinic import DISCLAIMER
from helpers.study import StudyError

if TYPE_CHECKING:  # so that `--help` does not wait for slow imports
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
    except (KeyboardInterrupt, Exception) as error:
        if given.verbose:
            traceback.print_exc()
        print(f"No complete results: {_reason(error).removesuffix('.')}.", file=sys.stderr)
    return NO_RESULTS


def _reason(error: BaseException) -> str:
    """Why a run ended early, without words that could name a patient."""
    if isinstance(error, KeyboardInterrupt):
        return "it was stopped; the same command goes on"
    if isinstance(error, StudyError):
        return str(error)
    if isinstance(error, OSError):  # its message names the file
        return error.strerror or type(error).__name__
    return f"the program failed ({type(error).__name__}); --verbose shows where"


def arguments() -> argparse.ArgumentParser:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(prog="python -m clinic", description=DISCLAIMER)
    command = parser.add_subparsers(dest="command", required=True).add_parser(
        "predict", help="predict files and folders of JPEG, PNG and DICOM", description=DISCLAIMER
    )
    command.add_argument("input", nargs="+", type=Path, help="image, DICOM object, or folder of them")
    command.add_argument("--out", type=Path, required=True, help="new or empty folder for the results")
    command.add_argument("--study", default="", help="study whose 13_prediction prepared the model (the published one)")
    command.add_argument("--deployment", type=Path, help="deployment.json beside its model, in place of a study")
    command.add_argument("--model", type=Path, help="model.onnx or, by Keras, model.keras; the ONNX file if both exist")
    command.add_argument("--pages", choices=("png", "pdf"), default="", help="write a page about each image")
    command.add_argument("--dicom", action="store_true", help="write a structured report about each DICOM file")
    command.add_argument("--fhir", action="store_true", help="write a FHIR R4 bundle about each image")
    command.add_argument("--previous", type=Path, help="results of an earlier run, for reports to name as predecessors")
    command.add_argument("--verbose", action="store_true", help="show where in the program an error arose")
    command.add_argument(
        "--deidentify",
        action="store_true",
        help="leave identifiers out of DICOM and FHIR results, and draw pages only for DICOM files that say that no "
        "text is burned into the image",
    )
    return parser


def predict(given: argparse.Namespace) -> int:
    """Predict the files of the command line; returns the exit code. Raises StudyError before anything is written."""
    from clinic.answering.deployment import PUBLISHED
    from clinic.answering.prediction import answer_files
    from clinic.answering.runtime import open_model
    from clinic.reading.files import find_files
    from clinic.reading.reader import Reader
    from clinic.writing.outputs import Outputs, prepare_folder
    from clinic.writing.tables import Tables

    files = find_files(given.input)
    deployment, network = open_model(given.study or PUBLISHED, given.deployment, given.model)
    folder = prepare_folder(given.out, given.input)
    options = {name: getattr(given, name) for name in ("pages", "dicom", "fhir", "deidentify")}
    outputs = Outputs(folder, deployment, **options, previous=given.previous)
    stated = " ".join(f"{name} {value}".removesuffix(" True") for name, value in options.items() if value)
    tables = Tables(folder, deployment, files, stated, given.deidentify)
    with (
        Reader(deployment.image_format(outputs.preview), key=outputs.key) as reader,
        closing(answer_files(reader.read(tables.remaining), deployment, network)) as outcomes,
    ):
        _write(outcomes, outputs, tables)
    print(_summary(tables))
    if given.dicom and not any((folder / "dicom").glob("*")):
        print("--dicom: none of these files is a DICOM object, so there is no study to report to.")
    return SOME_FAILED if tables.counts["failed"] else DONE


def _write(outcomes: "Iterable[Outcome]", outputs: "Outputs", tables: "Tables") -> None:
    """Write each file's results as soon as they are ready, and the tables even if the run fails."""
    from tqdm import tqdm

    count, done = len(tables.files), len(tables.files) - len(tables.remaining)
    try:
        with tqdm(total=count, initial=done, unit="file", desc="predicting", mininterval=1) as bar:
            for outcome in outcomes:
                for fault in tables.add(outcome, outputs.write(outcome)):
                    bar.write(_message(fault, count), file=sys.stderr)
                bar.update()
    finally:
        tables.write()


def _message(fault: dict, files: int) -> str:
    return f"file {fault['file']} of {files}: {fault['fault']}"


def _summary(tables: "Tables") -> str:
    counts = tables.counts
    lines = [
        f"{counts['images']:,} images in {len(tables.files):,} files: {counts['suspicious']:,} suspicious; "
        f"no answer on {counts['no answer']:,}; {counts['warnings']:,} with warnings.",
        "The results are in the folder that --out names.",
        DISCLAIMER,
    ]
    if counts["failed"]:
        lines.insert(1, f"{counts['failed']:,} files failed, at least in part. failed.csv says why.")
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
    """Silence libraries whose messages could quote files."""
    from clinic.reading.pictures import ignore_warnings

    ignore_warnings()
    for name in ("pydicom", "highdicom", "PIL"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
