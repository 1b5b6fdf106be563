"""All tests, for `make test`: the unit tests and, beside them, the demo notebooks against their references."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import find_spec

import nbclient  # noqa: F401, imported once for all notebooks, since it takes a while
import pytest

from helpers.data.lesions import originals_folder
from helpers.running.graph import in_order, process_for
from helpers.running.lock import dataset_lock
from helpers.running.notebooks import all_notebooks
from helpers.running.steps import steps_behind
from helpers.study import ROOT

FOLDER = ROOT / "build" / "test"
UNITS = "unit tests"
COVERED = 95  # percent of the lines, where all tests can run
EXTRAS = ("jax", "tf2onnx", "pynetdicom", "sphinx")  # packages without which tests are skipped, and nothing is measured
NOT_STARTED = ("Kernel died before replying", "Kernel didn't respond")
# Set by make for the study that it was called for; the tests have studies of their own.
NOT_FOR_TESTS = ("STUDY", "DATA_DIR", "ARGS", "NAME", "JOBS", "WAIT", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS")


def run_tests() -> list[str]:
    """Run the unit tests and the notebooks, three at a time; returns those that failed.

    A notebook whose own inputs failed does not run.
    """
    for name in NOT_FOR_TESTS:
        os.environ.pop(name, None)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    print(
        "Running the unit tests and, at the same time, two or three notebooks: this takes some minutes ...", flush=True
    )
    with dataset_lock("demo"):
        print("Demo data:", originals_folder("demo"), flush=True)
    graph = {UNITS: ()} | steps_behind(all_notebooks())
    return in_order(graph, lambda task: process_for(run_test, task, preload=__name__), jobs=3, go_on=True)


def run_test(task: str) -> None:
    """Run the unit tests, or compare one demo notebook with its reference, in a process of its own."""
    if task == UNITS:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what it started is ended, too
        sys.exit(_run_units())
    sys.exit(_compare(task))


def _run_units() -> int:
    tests = ["-m", "pytest", "tests", "-n", "2", "--dist", "worksteal", "--durations=5"]
    if not all(map(find_spec, EXTRAS)):
        return _call([sys.executable, *tests])
    coverage, slipcover = ROOT / "build" / "coverage.json", [sys.executable, "-m", "slipcover"]
    measured = ["--source", "helpers,clinic", "--json", "--out", str(coverage)]
    if code := _call([*slipcover, *measured, *tests]):
        return code
    merged = ["--merge", str(coverage), "--out", str(coverage), "--skip-covered", "--fail-under", str(COVERED)]
    return _call([*slipcover, *merged])


def _compare(notebook: str) -> int:
    """Run a notebook and compare it with its reference. What it prints is shown when it has finished."""
    folders = {"BUILD_DIR": str(FOLDER), "RESULTS_DIR": str(FOLDER / "results")}
    os.environ |= folders | {"TF_CPP_MIN_LOG_LEVEL": "3", "TQDM_DISABLE": "1"}
    log, reference = FOLDER / f"{notebook}.log", ROOT / "tests" / "references" / f"{notebook}.ipynb"
    options = ["-p", "no:cacheprovider", "--nbval-lax", "--durations=3"]
    for _ in range(2):  # a kernel cannot start if another process has taken its ports since they were chosen
        with log.open("w", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
            code = int(pytest.main([*options, str(reference)]))
        text = log.read_text(encoding="utf-8", errors="replace")
        if not any(fault in text for fault in NOT_STARTED):
            break
    print("".join(text.splitlines(keepends=True)[0 if code else -6 :]), flush=True)
    return code


def _call(command: Sequence[str]) -> int:
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.STDOUT) as process:
        try:
            return process.wait()
        finally:
            process.terminate()


def main() -> int:
    """Run all tests; returns the exit code."""
    try:
        failed = run_tests()
    except KeyboardInterrupt:
        return 130
    print(f"Failed: {', '.join(failed)}. See above." if failed else "All tests passed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
