"""The promises of the Makefile. A script stands in for Python and writes down how it was called."""

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from helpers.study import ROOT

STAND_IN = """#!/usr/bin/env bash
echo "$@" >> log
echo "$KERAS_BACKEND" > log.backend
[ "$1 $2" = "-m helpers.running.runner" ] || exit 0
[ "$3" != "$FAILING" ] || exit 1
results=${RESULTS_DIR:-results}/$5
mkdir -p "$results/notebooks" data/demo/cache data/ham10000/cache
touch "$results/notebooks/$3.ipynb"
[ "$3" != 02_preprocessing ] || touch data/demo/cache/64px.npy data/ham10000/cache/64px.npy
"""
ALL = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
AFTER_05 = [name for name in ALL if name[:2] in ("05", "07", "09", "10", "11", "12", "13")]
AFTER_03 = [name for name in ALL if name[:2] in ("03", "04") or name in AFTER_05]


@dataclass
class Made:
    """What make printed, its exit status, and the calls of Python, without make's own questions to it."""

    output: str
    errors: str
    status: int
    calls: list[str]

    @property
    def notebooks(self) -> list[str]:
        return [call.split()[0] for call in self.calls]


def make(house: Path, *words: str, **environment: str) -> Made:
    (house / "log").write_text("")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "DATA_DIR"))}
    command = ["make", "-s", "PYTHON=./python", *words]
    variables = {"JOBS": "1"} | kept | environment
    done = subprocess.run(command, cwd=house, env=variables, capture_output=True, text=True, timeout=120)
    lines = (house / "log").read_text().splitlines()
    calls = [
        line.removeprefix("-m helpers.running.runner ") for line in lines if not line.startswith(("-c ", "  sys."))
    ]
    return Made(done.stdout, done.stderr, done.returncode, calls)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """The Makefile with empty notebooks, studies and helpers, and the stand-in for Python."""
    house = tmp_path_factory.mktemp("built")
    shutil.copy(ROOT / "Makefile", house)
    (house / "requirements.txt").touch()
    for folder, suffix in (("notebooks", ".ipynb"), ("helpers", ".py")):
        (house / folder).mkdir()
        for path in (ROOT / folder).glob(f"*{suffix}"):
            (house / folder / path.name).touch()
    (house / "studies").mkdir()
    for study, dataset in (("demo", "demo"), ("real", "ham10000")):
        (house / "studies" / f"{study}.yaml").write_text(f"study: {study}\ndataset: {dataset}\n")
    (house / "python").write_text(STAND_IN)
    (house / "python").chmod(0o755)
    for path in house.rglob("*"):
        os.utime(path, (time.time() - 100,) * 2)
    return house


@pytest.fixture(scope="module")
def run(built, tmp_path_factory) -> Path:
    """The same after a complete run of both studies."""
    house = tmp_path_factory.mktemp("run") / "house"
    shutil.copytree(built, house)
    for study, *words in (("demo",), ("real", "DATA_DIR=a")):
        made = make(house, "all", f"STUDY={study}", *words)
        assert made.calls == [f"{name} --study {study}" for name in ALL], made.errors
        assert f"Study {study} is complete" in made.output
    return house


@pytest.fixture
def new(built, tmp_path) -> Path:
    return shutil.copytree(built, tmp_path / "house")


@pytest.fixture
def finished(run, tmp_path) -> Path:
    return shutil.copytree(run, tmp_path / "house")


def test_a_finished_study_does_not_run_again(finished):
    assert make(finished, "all").calls == make(finished, "all", "STUDY=real", "DATA_DIR=a").calls == []
    assert make(finished, "all", "STUDY=real").calls == []  # the folder is remembered
    assert "helpers.running.runner" not in make(finished, "-n", "all").output


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ("notebooks/01_eda.ipynb", ALL[:1]),
        ("notebooks/03_cnn_baseline.ipynb", AFTER_03),
        ("notebooks/05_mobilenet.ipynb", AFTER_05),
        ("studies/demo.yaml", ALL),
        ("helpers/study.py", ALL),
    ],
)
def test_what_depends_on_a_change_runs_again(finished, changed, again):
    (finished / changed).touch()
    assert make(finished, "all").notebooks == again


@pytest.mark.parametrize(
    ("lost", "again"),
    [
        ("results/demo/notebooks/07_model_comparison.ipynb", ["07_model_comparison"]),
        ("data", ALL[1:]),
        ("build", ALL),  # as in a fresh clone, with the published results
    ],
)
def test_what_was_lost_is_made_again(finished, lost, again):
    path = finished / lost
    path.unlink() if path.is_file() else shutil.rmtree(path)
    assert make(finished, "all").notebooks == again


def test_another_folder_or_table_of_the_originals_runs_everything_again(finished):
    assert make(finished, "all", "STUDY=real", "DATA_DIR=b").notebooks == ALL
    (finished / "b").mkdir()
    (finished / "b" / "HAM10000_metadata.csv").touch()
    assert make(finished, "all", "STUDY=real").notebooks == ALL


def test_two_at_a_time_keep_the_order_in_which_they_read(new):
    made = make(new, "all", JOBS="2")
    assert sorted(made.notebooks) == ALL
    place = {name[:2]: number for number, name in enumerate(made.notebooks)}
    assert place["02"] < min(place[one] for one in ("03", "06"))
    assert place["03"] < min(place["04"], place["05"])
    assert max(place["04"], place["05"]) < min(place["07"], place["09"])
    assert place["05"] < min(place["10"], place["13"])
    assert max(place["04"], place["05"]) < place["11"] < place["12"]


def test_verify_runs_everything_elsewhere_and_compares(finished):
    first = make(finished, "verify", "STUDY=real", "DATA_DIR=a")
    assert first.notebooks[:-1] == ALL
    assert first.calls[-1] == "-m helpers.running.report verify --study real build/verify/results/real"
    assert make(finished, "all", "STUDY=real").calls == []
    assert make(finished, "verify", "STUDY=real", "DATA_DIR=a").calls == first.calls


def test_references_come_from_a_new_run_of_the_demo(finished):
    made = make(finished, "references", "STUDY=real")
    assert made.calls[:-1] == [f"{name} --study demo" for name in ALL]
    assert made.calls[-1] == "-m helpers.running.report references build/references/results/demo/notebooks"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("STUDY=nosuch",), "no studies/nosuch.yaml. Known studies: demo real"),
        (("ARGS=-p epochs 5",), "ARGS are parameters of one notebook: name it"),
    ],
)
def test_a_mistake_on_the_command_line_stops_make(new, words, message):
    made = make(new, "all", *words)
    assert made.calls == [] and made.status != 0 and message in made.errors


def test_an_interrupted_run_goes_on_where_it_stopped(new):
    made = make(new, "all", FAILING="03_cnn_baseline")
    assert made.notebooks == ALL[:3] and made.status != 0
    assert make(new, "all").notebooks == ALL[2:]


def test_parameters_go_to_the_named_notebook_alone_and_are_not_kept(new):
    named = ["03_cnn_baseline", "ARGS=-p epochs 5"]
    assert make(new, *named).calls == ["02_preprocessing --study demo", "03_cnn_baseline --study demo -p epochs 5"]
    assert make(new, *named).calls == ["03_cnn_baseline --study demo -p epochs 5"]  # always runs
    assert make(new, "03_cnn_baseline").calls == ["03_cnn_baseline --study demo"]  # the study's own values again
    assert make(new, "03_cnn_baseline").calls == []
    make(new, *named, FAILING="03_cnn_baseline")
    assert make(new, "03_cnn_baseline").notebooks == ["03_cnn_baseline"]  # a failed run does not count as finished


@pytest.mark.parametrize(
    ("words", "call"),
    [
        (("data", "STUDY=real"), "-m helpers.data.download ham10000"),
        (("data", "STUDY=real", "DATA_DIR=/x"), "-m helpers.data.download ham10000 --folder /x"),
        (("demo-app", "STUDY=real", "ARGS=--port 1"), "-m clinic.app --study real --port 1"),
        (("test-fast",), "-m pytest tests -m not slow -n 2 --dist worksteal -q"),
    ],
)
def test_commands_become_calls(new, words, call):
    assert make(new, *words).calls == [call]


def test_without_the_packages_an_environment_is_made_first(new):
    (new / "requirements-gpu.txt").touch()
    (new / "python").write_text('#!/bin/sh\n[ "$1" != -c ] || exit 1\n')
    plan = make(new, "-n", "all").output
    steps = ("-m venv --clear .venv", "pip install", ".venv/bin/python -m helpers.running.runner")
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
    assert (new / "log.backend").read_text().strip() == backend


def test_help_lists_every_command_and_notebook(new):
    text = make(new, "help").output
    commands = ("env", "data", "all", "report", "verify", "test", "test-fast", "references", "bench", "demo-app", "lab")
    assert all(f"\n{command} " in text for command in (*commands, "clean")) and " ".join(ALL) in text
