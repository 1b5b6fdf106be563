"""The promises of the Makefile. A script stands in for Python and writes down how it was called."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from helpers.study import ROOT

STAND_IN = """#!/usr/bin/env bash
echo "$@" >> log
env > log.environment
"""
ALL = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
MAKEFILE = (ROOT / "Makefile").read_text()
STEPS = "-m helpers.running.steps"
PYTHON = "my python"


@dataclass
class Made:
    """What make printed, its exit status, and the calls of Python, without make's own questions to it."""

    output: str
    errors: str
    status: int
    calls: list[str]


def make(house: Path, *words: str, **environment: str) -> Made:
    (house / "log").write_text("")
    ours = ("MAKE", "MFLAGS", "DATA_DIR", "STUDY", "JOBS", "PYTHONPATH", "REQUIREMENTS")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
    command = ["make", "-s", f"PYTHON=./{PYTHON}", *words]
    done = subprocess.run(command, cwd=house, env=kept | environment, capture_output=True, text=True, timeout=120)
    lines = (house / "log").read_text().splitlines()
    calls = [line for line in lines if not line.startswith(("-c ", "helpers/running/preflight.py "))]
    return Made(done.stdout, done.stderr, done.returncode, calls)


@pytest.fixture
def new(tmp_path) -> Path:
    """The Makefile with empty notebooks and the stand-in for Python, in a folder with an awkward name."""
    house = tmp_path / "a & b ü"
    (house / "notebooks").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", house)
    (house / "requirements.txt").touch()
    for name in ALL:
        (house / "notebooks" / f"{name}.ipynb").touch()
    (house / PYTHON).write_text(STAND_IN)
    (house / PYTHON).chmod(0o755)
    return house


@pytest.mark.parametrize(
    ("words", "calls"),
    [
        (["data", "STUDY=real"], [f"{STEPS} data --study real"]),
        (["all"], [f"{STEPS} run all --study demo"]),
        (["all", "STUDY=real", "JOBS=2", "WAIT=no"], [f"{STEPS} run all --study real --jobs 2 --no-wait"]),
        (["03_cnn_baseline"], [f"{STEPS} run 03_cnn_baseline --study demo"]),
        (["check", "STUDY=real"], ["-m helpers.running.check --study real"]),
        (["test"], ["-m helpers.running.suite"]),
        (["test-fast"], ["-m pytest tests -m not slow -n 2 --dist worksteal -q"]),
        (["export", "STUDY=real"], ["-m helpers.export --study real"]),
        (["demo-app", "STUDY=real", "ARGS=--port 1"], ["-m clinic.app --study real --port 1"]),
        (["clean", "WAIT=no"], ["-m helpers.running.clean --no-wait"]),
        (["clean-trained", "STUDY=real"], ["-m helpers.running.clean --trained real"]),
        (
            ["compare", "RUNS=03_x trials/03_x/a=1,b=2+3"],
            ["-m helpers.running.compare --study demo 03_x trials/03_x/a=1,b=2+3"],
        ),
        (["bench"], ["benchmarks/throughput.py --study demo", "benchmarks/devices.py"]),
        (["bench", "KERAS_BACKEND=jax"], ["benchmarks/throughput.py --study demo"]),
        (["lab"], ["-m jupyterlab notebooks"]),
        (
            ["report", "STUDY=real"],
            [f"-m helpers.running.report {part}" for part in ("card --study real", "readme", "pages --study real")],
        ),
        (
            ["verify", "STUDY=real"],
            [
                f"{STEPS} run all --study real --into build/verify",
                "-m helpers.running.report verify --study real build/verify/results/real",
            ],
        ),
        (
            ["references", "STUDY=real"],
            [
                f"{STEPS} run all --study demo --into build/references",
                "-m helpers.running.report references build/references/results/demo/notebooks",
            ],
        ),
    ],
)
def test_commands_become_calls(new, words, calls):
    made = make(new, *words)
    assert made.calls == calls and made.status == 0, made.errors


def test_parameters_reach_the_notebook_as_they_were_quoted(new):
    made = make(new, "03_cnn_baseline", 'ARGS=-p filters "[16, 32]"')
    assert made.calls == [f"{STEPS} run 03_cnn_baseline --study demo -p filters [16, 32]"]


def environment(house: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (house / "log.environment").read_text().splitlines() if "=" in line)


def test_the_folder_of_the_originals_is_passed_on_and_remembered(new):
    make(new, "all", "DATA_DIR=/x/a & ü b")
    assert environment(new)["DATA_DIR"] == "/x/a & ü b"
    (new / "build" / "demo").mkdir(parents=True)
    (new / "build" / "demo" / "data_dir").write_text("/y/c & d\n")
    make(new, "all")
    assert environment(new)["DATA_DIR"] == "/y/c & d"
    make(new, "all", DATA_DIR="/z")
    assert environment(new)["DATA_DIR"] == "/z"


def test_without_the_packages_an_environment_is_made_first(new):
    (new / "requirements-gpu.txt").touch()
    (new / PYTHON).write_text('#!/bin/sh\n[ "$1" != helpers/running/preflight.py ] || exit 1\n')
    plan = make(new, "-n", "all").output
    steps = ("-m venv --clear .venv", "pip install", '".venv/bin/python" -m helpers.running.steps')
    assert (order := [plan.index(step) for step in steps]) == sorted(order)
    (new / ".venv").mkdir()
    (new / ".venv" / "requirements.txt.ready").touch()
    assert "-m venv" not in make(new, "-n", "env").output
    other = make(new, "-n", "env", "REQUIREMENTS=requirements-gpu.txt").output
    assert "-m venv --clear .venv" in other and "-r requirements-gpu.txt" in other


@pytest.mark.parametrize(("chosen", "backend"), [({}, "jax"), ({"KERAS_BACKEND": "torch"}, "torch")])
def test_the_environment_of_jax_runs_under_jax(new, monkeypatch, chosen, backend):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    (new / ".venv").mkdir()
    (new / ".venv" / "requirements-jax.txt.ready").touch()
    make(new, "01_eda", **chosen)
    assert environment(new)["KERAS_BACKEND"] == backend


def test_help_lists_every_command_and_notebook(new):
    text = make(new, "help").output
    commands = re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE)
    assert all(f"\n{name} " in text for name in set(commands) - {"python"}) and " ".join(ALL) in text


@pytest.mark.parametrize("words", [["-n", "help"], ["help"], ["-n", "all"]])
def test_asking_writes_nothing(new, words):
    before = sorted(new.rglob("*"))
    make(new, *words, "DATA_DIR=/x")
    written = set(new.rglob("*")) - set(before)
    assert {path.name for path in written} <= {"log", "log.environment"}  # of the stand-in


def test_it_is_short_and_needs_nothing_that_macos_lacks():
    """GNU make 3.81 and BSD's tools."""
    assert len(MAKEFILE.splitlines()) <= 130
    later = (".ONESHELL", "$(file ", "::=", "!=", "&:", "$(intcmp", "private ", "--output-sync", "undefine ")
    gnu = ("sed -", "grep -P", "readlink -f", "date -d", "xargs -r", "cp -r ", "nproc", "stat -c")
    assert not [word for word in (*later, *gnu) if word in MAKEFILE]
