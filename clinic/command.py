"""`python -m clinic predict image.jpg folder/ --study ham10000_cpu --out results`

Predicts files and folders of JPEG, PNG and DICOM with the model that 13_prediction of a study prepared, and writes
tables and, on request, pages, DICOM objects and FHIR bundles. `watch` does so for each file that appears in a folder,
and `serve` answers images that arrive by DICOM with reports; a signal ends them. Exit codes: 0, every file was
predicted. 1, some were not; failed.csv says which and why. 2, there are no results, or the run ended early. In that
case the tables hold what was finished, failed.csv lists the files that were not reached, and the same command goes on
with these.
"""

import argparse
import logging
import signal
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from clinic import DISCLAIMER
from clinic.reading.pictures import ignore_warnings
from helpers.study import StudyError

if TYPE_CHECKING:  # so that `--help` does not wait for slow imports
    from clinic.answering.deployment import Deployment
    from clinic.answering.network import Predict
    from clinic.answering.prediction import Outcome
    from clinic.reading.files import InputFile
    from clinic.writing.outputs import Outputs
    from clinic.writing.tables import Tables
    from clinic.writing.transactions import Server

LOG = logging.getLogger("clinic.command")
DONE, SOME_FAILED, NO_RESULTS = 0, 1, 2


def main(words: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    given = arguments().parse_args(words)
    ignore_warnings()
    try:
        if given.command == "predict":
            with _end_alike():
                return predict(given)
        return {"watch": watch, "serve": serve}[given.command](given)
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
    commands = parser.add_subparsers(dest="command", required=True)
    predicted = commands.add_parser("predict", help="predict files and folders", description=DISCLAIMER)
    predicted.add_argument("input", nargs="+", type=Path, help="image, DICOM object, or folder of them")
    predicted.add_argument("--previous", type=Path, help="results of an earlier run, for reports to name as former")
    hide = "leave identifiers out, and draw pages only for DICOM files that say that no text is burned into the image"
    predicted.add_argument("--deidentify", action="store_true", help=hide)
    watched = commands.add_parser("watch", help="predict the files that appear in a folder", description=DISCLAIMER)
    watched.add_argument("input", type=Path, help="the folder; links in it are not followed out of it")
    for command in (predicted, watched):
        command.add_argument("--out", type=Path, required=True, help="new or empty folder for the results")
        command.add_argument("--pages", choices=("png", "pdf"), default="", help="write a page about each image")
        command.add_argument("--dicom", action="store_true", help="write a structured report about each DICOM file")
        command.add_argument("--fhir", action="store_true", help="write a FHIR R4 bundle about each image")
        command.add_argument("--patients", metavar="URI", help="system of patient numbers, for bundles as transactions")
        command.add_argument("--orders", metavar="URI", default="", help="system of accession numbers, with --patients")
    served = commands.add_parser("serve", help="answer what arrives by DICOM with reports", description=DISCLAIMER)
    _add_node(served)
    for command in (predicted, watched, served):
        command.add_argument("--study", default="", help="whose 13_prediction prepared the model (the published one)")
        command.add_argument("--deployment", type=Path, help="deployment.json beside its model, in place of a study")
        command.add_argument("--model", type=Path, help="model.onnx, or model.keras for Keras, in place of its own")
        command.add_argument("--verbose", action="store_true", help="show where in the program an error arose")
    return parser


def _add_node(command: argparse.ArgumentParser) -> None:
    command.add_argument("--spool", type=Path, required=True, help="folder for what waits; the node's alone")
    command.add_argument("--to", required=True, metavar="TITLE@HOST:PORT", help="where the reports are sent")
    command.add_argument("--host", default="127.0.0.1", help="address to listen on; this machine alone by default")
    command.add_argument("--port", type=int, default=11112, help="port to listen on (%(default)s)")
    command.add_argument("--title", default="SKINLESION", help="the node's own AE title (%(default)s)")
    command.add_argument("--caller", action="append", default=[], help="an AE title that may connect; all without one")
    command.add_argument("--queue", type=int, default=1000, help="images that may wait (%(default)s)")


def predict(given: argparse.Namespace) -> int:
    """Predict the files of the command line; returns the exit code. Raises StudyError before anything is written."""
    from clinic.answering.prediction import answer_files
    from clinic.reading.files import find_files
    from clinic.reading.reader import Reader

    files = find_files(given.input)
    network, outputs, tables = _results(given, files)
    with (
        Reader(outputs.deployment.image_format(outputs.preview), key=outputs.key) as reader,
        closing(answer_files(reader.read(tables.remaining), outputs.deployment, network)) as outcomes,
    ):
        _write(outcomes, outputs, tables)
    print(_summary(tables))
    if given.dicom and not any((outputs.folder / "dicom").glob("*")):
        print("--dicom: none of these files is a DICOM object, so there is no study to report to.")
    return SOME_FAILED if tables.counts["failed"] else DONE


def watch(given: argparse.Namespace) -> int:
    """Predict the files that appear in a folder, until a signal ends it; returns the exit code."""
    from clinic.watch import watch

    if not given.input.is_dir():
        raise StudyError("The input to watch is not a folder. Check its path.")
    given.previous, given.deidentify = None, False
    network, outputs, tables = _results(given, None)
    with _stop_event() as ended:
        watch(given.input, network, outputs, tables=tables, ended=ended)
    print(_summary(tables))
    return DONE


def serve(given: argparse.Namespace) -> int:
    """Answer images that arrive by DICOM, until a signal ends it; returns the exit code."""
    from clinic.node.network import Node, Peer, send
    from clinic.node.reports import Reports
    from clinic.node.spool import Spool
    from clinic.node.work import Work

    destination, model = Peer.parse(given.to), _model(given)
    images, reports = Spool(given.spool / "images", given.queue), Spool(given.spool / "reports")
    with (
        _stop_event() as ended,
        Reports(*model) as answer,
        Work(images, reports, answer, partial(send, destination)) as work,
        Node((given.host, given.port), images, given.caller, partial(work.wake, "answer"), title=given.title),
    ):
        LOG.info("listening on %s:%d. %s", given.host, given.port, DISCLAIMER)
        ended.wait()
    return DONE


def _model(given: argparse.Namespace) -> "tuple[Deployment, Predict]":
    from clinic.answering.deployment import PUBLISHED
    from clinic.answering.runtime import open_model

    return open_model(given.study or PUBLISHED, given.deployment, given.model)


def _results(given: argparse.Namespace, files: "list[InputFile] | None") -> "tuple[Predict, Outputs, Tables]":
    """The network, and where its results go. files: as in `Tables`."""
    from clinic.writing.outputs import Outputs, prepare_folder
    from clinic.writing.tables import Tables

    deployment, network = _model(given)
    folder = prepare_folder(given.out, [given.input] if files is None else given.input)
    options = {name: getattr(given, name) for name in ("pages", "dicom", "fhir", "deidentify")}
    outputs = Outputs(folder, deployment, **options, previous=given.previous, server=_server(given))
    stated = " ".join(f"{name} {value}".removesuffix(" True") for name, value in options.items() if value)
    return network, outputs, Tables(folder, deployment, files, stated, given.deidentify)


def _server(given: argparse.Namespace) -> "Server | None":
    """The FHIR server that the bundles are for, if it is described. Raises StudyError."""
    if not given.patients:
        return None
    if given.deidentify or not given.fhir:
        raise StudyError("--patients goes with --fhir and without --deidentify: a transaction names its patient.")
    from clinic.writing.transactions import Server

    return Server(given.patients, given.orders)


def _write(outcomes: "Iterable[Outcome]", outputs: "Outputs", tables: "Tables") -> None:
    """Write each file's results as soon as they are ready, and the tables even if the run fails."""
    from tqdm import tqdm

    count, done = len(tables.files), len(tables.files) - len(tables.remaining)
    try:
        with tqdm(total=count, initial=done, unit="file", desc="predicting", mininterval=1) as bar:
            for outcome, unwritten in outputs.write_all(outcomes, count - done):
                for fault in tables.add(outcome, unwritten):
                    bar.write(f"file {fault['file']} of {count}: {fault['fault']}", file=sys.stderr)
                bar.update()
    finally:
        tables.write()


def _summary(tables: "Tables") -> str:
    counts = tables.counts
    lines = [
        f"{counts['images']:,} images in {counts['files']:,} files: {counts['suspicious']:,} suspicious; "
        f"no answer on {counts['no answer']:,}; {counts['warnings']:,} with warnings.",
        "The results are in the folder that --out names.",
        DISCLAIMER,
    ]
    if counts["failed"]:
        lines.insert(1, f"{counts['failed']:,} files failed, at least in part. failed.csv says why.")
    return "\n".join(lines)


@contextmanager
def _stop_event() -> "Iterator[threading.Event]":
    """An event that Ctrl-C or SIGTERM sets, and a log on the standard error of what happens until then."""
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.ERROR)
    logging.getLogger("clinic").setLevel(logging.INFO)
    ended = threading.Event()
    former = {one: signal.signal(one, lambda *_: ended.set()) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield ended
    finally:
        for one, handler in former.items():
            signal.signal(one, handler)


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
