"""Runs a notebook of the study through papermill: `python -m helpers.running.runner 03_cnn_baseline --study demo`."""

import argparse
import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from traitlets.config import Config

from helpers.records import TRIAL, atomic_path, cannot_write
from helpers.running.notebooks import NOTEBOOKS, study_parameters
from helpers.running.trials import trial_folder
from helpers.study import ROOT, StudyError, build_folder, exit_code, parse_value, results_folder

SECONDS_BETWEEN_LINES = 5
NOISE = re.compile(r"\s*$|[IW]\d{4} |WARNING: All log messages before absl")  # blank lines and TensorFlow's notices
NEWS = re.compile(r": resumed at epoch|: trained before|, so this model is trained again")  # of `Experiment.train`


class Progress(logging.Handler):
    """Shows the progress of a running notebook on `terminal`: news at once, of its bars one line every few seconds.

    Papermill passes on a cell's standard error as log records.
    """

    def __init__(self, notebook: str, terminal: TextIO):
        super().__init__(logging.WARNING)
        self.notebook, self.terminal = notebook, terminal
        self.last = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        lines = [line for line in record.getMessage().replace("\r", "\n").splitlines() if not NOISE.match(line)]
        shown = [line for line in lines if NEWS.search(line)]
        if lines and time.monotonic() - self.last > SECONDS_BETWEEN_LINES:
            self.last = time.monotonic()
            shown += lines[-1:] if lines[-1] not in shown else []
        for line in shown:
            print(f"  {self.notebook} | {line}", file=self.terminal, flush=True)


def run_notebook(study: str, notebook: str, given: dict, *, name: str = "") -> Path:
    """Run a notebook and write it, with its outputs, to results/<study>/notebooks/; returns the path.

    With parameters `given` it is a trial: the notebook and all that it writes go to `trial_folder`, which `name` names.
    Raises StudyError for bad parameters or when a cell fails. Then an older result is kept, the partial notebook stays
    in build/<study>/, and the error names the cell and the file.
    """
    parameters = study_parameters(study, notebook, given)
    trial = trial_folder(notebook, given, name) if given or name else ""
    os.environ[TRIAL] = trial
    partial = build_folder(study) / trial / f"{notebook}.partial.ipynb"
    partial.parent.mkdir(parents=True, exist_ok=True)
    _execute_or_explain(notebook, partial, parameters)
    target = results_folder(study) / (trial or "notebooks") / f"{notebook}.ipynb"
    with atomic_path(target) as temporary:
        nbformat.write(_tidy(nbformat.read(partial, as_version=4)), temporary)
    partial.unlink()
    partial.with_suffix(".log").unlink()
    return target


def _execute_or_explain(notebook: str, partial: Path, parameters: dict) -> None:
    """Execute a notebook into `partial`. Raises StudyError that names the cell that failed, and the file."""
    # The kernel starts in another folder than this process, and TensorFlow's start-up notices would fill the report.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    log = partial.with_suffix(".log")
    try:
        _execute(notebook, partial, log, parameters=parameters)
    except papermill.PapermillExecutionError as error:
        where = f"cell {error.exec_count} of {notebook}"
        raise StudyError(f"{where} failed: {error.ename}: {error.evalue}\nThe run up to there: {partial}") from error
    except OSError as error:  # papermill saves the notebook after each cell
        raise cannot_write(partial, error) from error
    except DeadKernelError as error:
        fault = f"the Python process of {notebook} died, perhaps because memory ran out"
        raise StudyError(f"{fault}.\nThe run up to there: {partial}\nIts last messages: {log}") from error


def _execute(notebook: str, partial: Path, log: Path, *, parameters: dict) -> None:
    with _kernel_log(log) as terminal, _log_to(Progress(notebook, terminal)), TemporaryDirectory() as folder:
        # Files for sockets: another process may take a port between its choice and the start of the kernel.
        sockets = {"transport": "ipc", "ip": f"{folder}/kernel"}
        papermill.execute_notebook(
            NOTEBOOKS / f"{notebook}.ipynb",
            partial,
            parameters,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            log_output=True,
            cwd=ROOT,
            config=Config({"KernelManager": sockets}),
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
        if "injected-parameters" in cell.metadata.get("tags", []) and "id" in cell:
            cell.id = "injected-parameters"  # papermill draws one at random, so that no two runs would be alike
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m helpers.running.runner", description=__doc__)
    parser.add_argument("notebook", help="name without suffix, such as 03_cnn_baseline")
    parser.add_argument("--study", default="demo", help="name of a file in studies/, without suffix")
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="a parameter")
    parser.add_argument("--name", default="", help="name of the trial (default: its parameters)")
    options = parser.parse_args(arguments)
    return exit_code(lambda: report_run(options))


def report_run(options: argparse.Namespace) -> None:
    """Run the notebook that the command line names, and say when it begins and has ended."""
    started = time.monotonic()
    print(f"{options.notebook}: running for study {options.study}", flush=True)
    given = {name: parse_value(value) for name, value in options.p}
    target = run_notebook(options.study, options.notebook, given, name=options.name)
    print(f"{options.notebook}: done in {time.monotonic() - started:.0f} s, see {os.path.relpath(target)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
