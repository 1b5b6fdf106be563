"""The Makefile's promises, kept by a stand-in for Python that writes down how it was called."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from helpers.study import ROOT

STAND_IN = """#!/usr/bin/env bash
echo "$@" >> "{log}"
echo "$KERAS_BACKEND" > "{log}.backend"
[ "$1 $2" = "-m helpers.running.runner" ] || exit 0
[ "$3" != "$FAILING" ] || exit 1
results=${{RESULTS_DIR:-results}}/$5
mkdir -p "$results/notebooks" data/demo/cache data/ham10000/cache
touch "$results/notebooks/$3.ipynb"
[ "$3" != 02_preprocessing ] || touch data/demo/cache/64px.npy data/ham10000/cache/64px.npy
"""


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """The Makefile with empty notebooks, studies and helpers, and a stand-in for Python called `python`."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements.txt").touch()
    for folder in ("notebooks", "studies", "helpers"):
        (tmp_path / folder).mkdir()
        for path in (ROOT / folder).iterdir():
            if path.suffix in (".ipynb", ".py"):
                (tmp_path / folder / path.name).touch()
    for study, dataset in (("demo", "demo"), ("mine", "ham10000")):
        (tmp_path / "studies" / f"{study}.yaml").write_text(f"study: {study}\ndataset: {dataset}\n")
    python = tmp_path / "python"
    python.write_text(STAND_IN.format(log=tmp_path / "log"))
    python.chmod(0o755)
    for path in tmp_path.rglob("*"):
        os.utime(path, (time.time() - 100,) * 2)
    return tmp_path


def make(house: Path, *words: str, **environment: str) -> list[str]:
    """What the stand-in was asked to run, without the Makefile's own questions to it."""
    (house / "log").write_text("")
    inherited = {"JOBS": "1"} | {
        key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS", "DATA_DIR"))
    }
    command = ["make", "-s", f"PYTHON={house}/python", *words]
    done = subprocess.run(command, cwd=house, env=inherited | environment, capture_output=True, text=True)
    make.last = done
    lines = (house / "log").read_text().splitlines()
    return [line.removeprefix("-m helpers.running.runner ") for line in lines if not line.startswith(("-c ", "  sys."))]


ALL = ["01_eda", "02_preprocessing", "03_cnn_baseline", "04_cnn_lstm", "05_mobilenet", "06_augmentation"]
ALL += ["07_model_comparison", "08_leakage", "09_tuning", "10_lesion_history", "11_explanation"]
ALL += ["12_prediction", "13_unknown"]


AFTER_THE_CNN = ["03_cnn_baseline", "04_cnn_lstm", "05_mobilenet", "07_model_comparison", "09_tuning"]
AFTER_THE_CNN += ["10_lesion_history", "11_explanation", "12_prediction", "13_unknown"]


def test_all_runs_every_notebook_in_order_and_once(house):
    assert make(house, "all") == [f"{name} --study demo" for name in ALL]
    assert "Study demo is complete" in make.last.stdout
    assert make(house, "all") == []


def test_the_environment_of_jax_runs_under_jax(house, monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    ready = house / ".venv" / "requirements-jax.txt.ready"
    for wanted, chosen in (("", {}), ("jax", {}), ("torch", {"KERAS_BACKEND": "torch"})):
        assert make(house, "01_eda", **chosen) == ["01_eda --study demo"]
        assert (house / "log.backend").read_text().strip() == wanted
        shutil.rmtree(house / "build")
        ready.parent.mkdir(exist_ok=True)
        ready.touch()


def test_two_at_a_time_keep_to_what_they_read(house):
    ran = make(house, "all", JOBS="2")
    assert sorted(ran) == [f"{name} --study demo" for name in ALL]
    place = {line[:2]: number for number, line in enumerate(ran)}
    assert place["01"] < place["02"] < min(place[one] for one in ("03", "06"))
    assert place["03"] < min(place["04"], place["05"])
    assert max(place["04"], place["05"]) < min(place["07"], place["09"])
    assert place["05"] < min(place["10"], place["13"])
    assert max(place["04"], place["05"]) < place["11"] < place["12"]


def test_published_results_in_a_fresh_clone_do_not_count_as_finished(house):
    make(house, "all", "STUDY=mine")
    shutil.rmtree(house / "build")
    assert make(house, "all", "STUDY=mine") == [f"{name} --study mine" for name in ALL]


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ("notebooks/03_cnn_baseline.ipynb", AFTER_THE_CNN),
        ("notebooks/05_mobilenet.ipynb", [ALL[4], ALL[6], *ALL[8:]]),
        ("notebooks/01_eda.ipynb", ALL[:1]),
        ("studies/demo.yaml", ALL),
        ("helpers/metrics.py", ALL),
    ],
)
def test_what_depends_on_a_change_runs_again(house, changed, again):
    make(house, "all")
    time.sleep(0.01)
    (house / changed).touch()
    assert [line.split()[0] for line in make(house, "all")] == again


def test_a_lost_result_is_made_again(house):
    make(house, "all")
    (house / "results" / "demo" / "notebooks" / "07_model_comparison.ipynb").unlink()
    assert make(house, "all") == ["07_model_comparison --study demo"]


def test_another_data_folder_is_another_input(house):
    make(house, "all", "STUDY=mine", "DATA_DIR=a")
    assert make(house, "all", "STUDY=mine", "DATA_DIR=a") == []
    assert make(house, "all", "STUDY=mine") == []  # the folder is remembered
    time.sleep(0.01)
    assert [line.split()[0] for line in make(house, "all", "STUDY=mine", "DATA_DIR=b")] == ALL


def test_a_new_table_of_the_originals_is_a_new_input(house):
    (house / "data" / "ham10000").mkdir(parents=True)
    make(house, "all", "STUDY=mine")
    (house / "data" / "ham10000" / "HAM10000_metadata.csv").touch()
    assert [line.split()[0] for line in make(house, "all", "STUDY=mine")] == ALL


def test_a_deleted_pixel_cache_is_made_again(house):
    make(house, "all")
    shutil.rmtree(house / "data")
    assert [line.split()[0] for line in make(house, "all")] == ALL[1:]


def test_verify_runs_all_anew_elsewhere_and_compares(house):
    make(house, "all", "STUDY=mine", "DATA_DIR=a")
    ran = make(house, "verify", "STUDY=mine", "DATA_DIR=a")
    assert [line.split()[0] for line in ran[:-1]] == ALL
    assert ran[-1] == f"-m helpers.running.report verify --study mine {house}/build/verify/results/mine"
    assert make(house, "all", "STUDY=mine") == []
    assert make(house, "verify", "STUDY=mine", "DATA_DIR=a") == ran


def test_an_unknown_study_is_an_error(house):
    assert make(house, "all", "STUDY=nosuch") == [] and make.last.returncode != 0
    assert "no studies/nosuch.yaml. Known studies: demo mine" in make.last.stderr


def test_parameters_without_a_notebook_are_an_error(house):
    assert make(house, "all", "ARGS=-p epochs 5") == [] and "name it" in make.last.stderr


def test_a_failed_run_with_other_parameters_is_not_taken_for_finished(house):
    make(house, "all")
    make(house, "03_cnn_baseline", "ARGS=-p epochs 5", FAILING="03_cnn_baseline")
    assert [line.split()[0] for line in make(house, "all")] == AFTER_THE_CNN


def test_an_interrupted_run_goes_on_where_it_stopped(house):
    assert make(house, "all", FAILING="03_cnn_baseline") == [f"{name} --study demo" for name in ALL[:3]]
    assert make.last.returncode != 0
    assert make(house, "all") == [f"{name} --study demo" for name in ALL[2:]]


def test_parameters_go_to_the_named_notebook_alone_and_are_not_kept(house):
    named = ["03_cnn_baseline", "ARGS=-p epochs 5"]
    assert make(house, *named) == ["02_preprocessing --study demo", "03_cnn_baseline --study demo -p epochs 5"]
    assert make(house, *named) == ["03_cnn_baseline --study demo -p epochs 5"]  # always runs
    assert make(house, "03_cnn_baseline") == ["03_cnn_baseline --study demo"]  # the study's own values again
    assert make(house, "03_cnn_baseline") == []


def test_a_dry_run_shows_the_order(house):
    make(house, "-n", "all")
    places = [make.last.stdout.index(f"helpers.running.runner {name}") for name in ALL]
    assert places == sorted(places)
    make(house, "all")
    make(house, "-n", "all")
    assert "helpers.running.runner" not in make.last.stdout


def test_data_is_fetched_for_the_dataset_of_the_study(house):
    assert make(house, "data", "STUDY=mine") == ["-m helpers.data.download ham10000"]
    assert make(house, "data", "STUDY=mine", "DATA_DIR=/x") == ["-m helpers.data.download ham10000 --folder /x"]
    make(house, "-n", "data")
    assert "originals('demo')" in make.last.stdout


def test_without_the_packages_an_environment_is_made_first(house):
    (house / "requirements-gpu.txt").touch()
    (house / "python").write_text('#!/bin/sh\n[ "$1" != -c ] || exit 1\n')
    make(house, "-n", "all")
    order = [
        make.last.stdout.index(text)
        for text in ("-m venv --clear .venv", "pip install", ".venv/bin/python -m helpers.running.runner")
    ]
    assert order == sorted(order)
    (house / ".venv").mkdir()
    (house / ".venv" / "requirements.txt.ready").touch()
    make(house, "-n", "env")
    assert "-m venv" not in make.last.stdout
    make(house, "-n", "env", "REQUIREMENTS=requirements-gpu.txt")
    assert "-m venv --clear .venv" in make.last.stdout and "-r requirements-gpu.txt" in make.last.stdout


def test_the_page_is_that_of_the_study(house):
    assert make(house, "demo-app", "STUDY=mine", "ARGS=--port 1") == ["-m clinic.app --study mine --port 1"]


def test_help_lists_every_command(house):
    make(house, "help")
    for command in ("env", "data", "all", "report", "test", "references", "bench", "demo-app", "lab", "clean"):
        assert f"\n{command} " in make.last.stdout
    assert "01_eda" in make.last.stdout
