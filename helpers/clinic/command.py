"""`python -m helpers.clinic predict image.jpg folder/ --study ham10000_cpu --out results`

Predicts files and folders of JPEG, PNG and DICOM with the model that 12_prediction of a study prepared, and writes
tables, and where asked for pages, DICOM objects and FHIR bundles. Exit codes: 0, every file was predicted; 1, some
were not, and which and why stands in failed.csv; 2, there are no results, or the run ended early: then the tables hold
what was done until then, and failed.csv the files that were not reached.
"""

import argparse
import logging
import os
import sys
from pathlib import Path

from tqdm import tqdm

from helpers.clinic import DISCLAIMER
from helpers.study import StudyError

DONE, SOME_FAILED, NO_RESULTS = 0, 1, 2


def main(words: list[str] | None = None) -> int:
    """The command line; gives the exit code."""
    given = arguments().parse_args(words)
    _silence_libraries()
    try:
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
    parser = argparse.ArgumentParser(prog="python -m helpers.clinic", description=DISCLAIMER)
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
    command.add_argument("--no-maps", action="store_true", help="leave out where the model looked")
    command.add_argument("--names", action="store_true", help="name files in tables and messages; may name patients")
    return parser


def predict(given: argparse.Namespace) -> int:
    """Predict what the command line names; gives the exit code. Raises StudyError before anything is written."""
    from helpers.clinic.deployment import find_deployment, load, read_deployment
    from helpers.clinic.intake import Reader, find_files
    from helpers.clinic.outputs import Outputs, prepare_folder
    from helpers.clinic.prediction import Network

    files = find_files(given.input)
    if given.deployment:
        deployment, file = read_deployment(given.deployment), given.deployment.with_name("model.keras")
    else:
        deployment, file = find_deployment(given.study)
    folder = prepare_folder(given.out, given.input)
    model, deployment = load(deployment, given.model or file, given.trust)
    outputs = Outputs(folder, deployment, given.pages, given.dicom, given.fhir, given.deidentify)
    if not given.no_maps:
        from helpers.clinic.maps import grad_cam

        outputs.draw_map, outputs.model = grad_cam, model
    network = Network(model)
    with Reader(deployment.wanted(outputs.preview), key=outputs.key) as reader:
        return _run(files, reader, outputs, network, given.names)


def _run(files: list, reader, outputs, logits, named: bool) -> int:
    """Predict and write file by file; gives the exit code. The tables are written however it ends."""
    from helpers.clinic.prediction import faults, not_reached, predict_files, rows, shown_name, write_tables

    table, failed, reached = [], [], 0
    try:
        with tqdm(total=len(files), unit="file", desc="predicting", mininterval=1) as bar:
            for outcome in predict_files(files, reader, outputs.deployment, logits):
                own = faults(outcome, outputs.write(outcome), named)
                table += rows(outcome, outputs.deployment, named)
                failed += own
                reached += 1
                for fault in own:
                    name = f", {shown_name(outcome.arrival.found.path)}," if named else ""
                    bar.write(f"file {fault['file']}{name} of {len(files)}: {fault['fault']}", file=sys.stderr)
                bar.update()
    finally:
        unread = (not_reached(found) for found in files[reached:])
        failed += [row for outcome in unread for row in faults(outcome, named=named)]
        write_tables(outputs.folder, outputs.deployment, table, failed)
    print(_summary(table, failed, len(files)))
    return SOME_FAILED if failed else DONE


def _summary(table: list[dict], failed: list[dict], files: int) -> str:
    silent, suspicious = sum(row["silent"] for row in table), sum(row["suspicious"] is True for row in table)
    lines = [
        f"{len(table):,} images of {files:,} files: {suspicious:,} suspicious, {silent:,} without an answer, "
        f"{sum(bool(row['warnings']) for row in table):,} with warnings.",
        "The results are in the folder that --out names.",
        DISCLAIMER,
    ]
    if failed:
        count = len({row["file"] for row in failed})
        lines.insert(1, f"{count:,} files failed, wholly or in part; failed.csv says why.")
    return "\n".join(lines)


def _silence_libraries() -> None:
    """Let no library write what it finds in files, nor TensorFlow its start-up notices."""
    from helpers.clinic.pictures import quiet

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    quiet()
    for name in ("pydicom", "highdicom", "PIL"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
