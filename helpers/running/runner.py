"""Runs a notebook of the study through papermill: `python -m helpers.running.runner 03_cnn_baseline --study demo`."""

import argparse
import logging
import os
import re
import sys
import time
from collections import ChainMap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError

from helpers.records import atomic_path
from helpers.study import (
    ROOT,
    StudyError,
    build_folder,
    check_parameters,
    declared_parameters,
    load_study,
    parse_value,
    results_folder,
)

NOTEBOOKS = ROOT / "notebooks"
SECONDS_BETWEEN_LINES = 5
NOISE = re.compile(r"\s*$|[IW]\d{4} |WARNING: All log messages before absl")  # blank lines and TensorFlow's notices


class Progress(logging.Handler):
    """Shows the progress bars of a running notebook on `terminal`, one line every few seconds.

    Papermill passes on a cell's standard error as log records.
    """

    def __init__(self, notebook: str, terminal: TextIO):
        super().__init__(logging.WARNING)
        self.notebook, self.terminal = notebook, terminal
        self.last = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        lines = [line for line in record.getMessage().replace("\r", "\n").splitlines() if not NOISE.match(line)]
        if lines and time.monotonic() - self.last > SECONDS_BETWEEN_LINES:
            self.last = time.monotonic()
            print(f"  {self.notebook} | {lines[-1]}", file=self.terminal, flush=True)


def study_parameters(study: str, notebook: str, given: dict) -> dict:
    """The parameters of a notebook: the study's values for those it declares, replaced by those `given`.

    Raises StudyError for a name in the study that no notebook declares, a name on the command line that this notebook
    does not declare, and a value of the wrong type.
    """
    source = ROOT / "studies" / f"{study}.yaml"
    values = load_study(source)
    declared = declared_parameters(NOTEBOOKS / f"{notebook}.ipynb")
    if "study" in given:
        raise StudyError("command line: choose the study with --study, not as a parameter.")
    everywhere = [declared_parameters(path) for path in sorted(NOTEBOOKS.glob("*.ipynb"))]
    check_parameters(values, dict(ChainMap(*everywhere)), str(source))
    check_parameters(given, declared, "command line")
    return {name: value for name, value in values.items() if name in declared} | given


def run_notebook(study: str, notebook: str, given: dict) -> Path:
    """Run a notebook and write it, with its outputs, to results/<study>/notebooks/; returns the path.

    Raises StudyError for bad parameters or when a cell fails. Then an older result is kept, the partial notebook stays
    in build/<study>/, and the error names the cell and the file.
    """
    parameters = study_parameters(study, notebook, given)
    partial = build_folder(study) / f"{notebook}.partial.ipynb"
    partial.parent.mkdir(parents=True, exist_ok=True)
    # The kernel starts in another folder than this process, and TensorFlow's start-up notices would fill the report.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    log = partial.with_suffix(".log")
    try:
        _execute(notebook, partial, log, parameters)
    except papermill.PapermillExecutionError as error:
        where = f"cell {error.exec_count} of {notebook}"
        raise StudyError(f"{where} failed: {error.ename}: {error.evalue}\nThe run up to there: {partial}") from error
    except DeadKernelError as error:
        fault = f"the Python process of {notebook} died, perhaps because memory ran out"
        raise StudyError(f"{fault}.\nThe run up to there: {partial}\nIts last messages: {log}") from error
    target = results_folder(study) / "notebooks" / f"{notebook}.ipynb"
    with atomic_path(target) as temporary:
        nbformat.write(_tidy(nbformat.read(partial, as_version=4)), temporary)
    partial.unlink()
    log.unlink()
    return target


def _execute(notebook: str, partial: Path, log: Path, parameters: dict) -> None:
    with _kernel_log(log) as terminal, _log_to(Progress(notebook, terminal)):
        papermill.execute_notebook(
            NOTEBOOKS / f"{notebook}.ipynb",
            partial,
            parameters,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            log_output=True,
            cwd=ROOT,
        )


@contextmanager
def _log_to(progress: Progress) -> Iterator[None]:
    """Send papermill's log records to `progress` alone."""
    logger = logging.getLogger("papermill")
    logger.propagate = False
    logger.addHandler(progress)
    try:
        yield
    finally:
        logger.removeHandler(progress)


@contextmanager
def _kernel_log(log: Path) -> Iterator[TextIO]:
    """Send what the kernel and libraries write outside of cells to the file `log`; yields the terminal."""
    terminal = os.dup(2)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 2)
    try:
        with os.fdopen(os.dup(terminal), "w") as stream:
            yield stream
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


def _tidy(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A finished notebook without progress bars, notices, and the times and paths of this machine."""
    kept = {key: value for key, value in notebook.metadata.items() if key in ("kernelspec", "language_info")}
    notebook.metadata = nbformat.NotebookNode(kept)
    for cell in notebook.cells:
        cell.metadata = nbformat.NotebookNode({k: v for k, v in cell.metadata.items() if k == "tags" and v})
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m helpers.running.runner", description=__doc__)
    parser.add_argument("notebook", help="name without suffix, such as 03_cnn_baseline")
    parser.add_argument("--study", default="demo", help="name of a file in studies/, without suffix")
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="a parameter")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    print(f"{options.notebook}: running for study {options.study}", flush=True)
    try:
        given = {name: parse_value(value) for name, value in options.p}
        target = run_notebook(options.study, options.notebook, given)
    except StudyError as error:
        print(f"{options.notebook}: {error}", file=sys.stderr)
        return 1
    print(f"{options.notebook}: done in {time.monotonic() - started:.0f} s, see {os.path.relpath(target)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
