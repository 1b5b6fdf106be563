"""Trials beside a study, and what compares them."""

import json

import numpy as np
import pytest
from tiny import make_study

from helpers.evaluation.scores import METRICS
from helpers.records import TRIAL, Run
from helpers.running import compare
from helpers.running.trials import trial_folder
from helpers.study import ROOT, StudyError, declared_parameters, parse_value
from helpers.training.experiment import Experiment

EPOCHS = declared_parameters(ROOT / "notebooks" / "03_cnn_baseline.ipynb")["epochs"]


@pytest.mark.parametrize(
    ("given", "name", "folder"),
    [
        ({"epochs": "5"}, "", "epochs=5"),
        ({"learning_rate": "3e-4", "epochs": "5"}, "", "epochs=5,learning_rate=0.0003"),
        ({"filters": "[16, 32]", "pretrained": "a b/ü.h5"}, "", "filters=16+32,pretrained=a-b-ü.h5"),
        ({"epochs": "5"}, "short", "short"),
    ],
)
def test_a_trial_is_named_by_its_parameters_or_by_its_name(given, name, folder):
    values = {key: parse_value(text) for key, text in given.items()}
    assert trial_folder("03_cnn_baseline", values, name) == f"trials/03_cnn_baseline/{folder}"


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "a b"])
def test_a_name_that_would_lead_elsewhere_is_refused(name):
    with pytest.raises(StudyError, match="use letters, digits"):
        trial_folder("03_cnn_baseline", {"epochs": 5}, name)


def test_a_run_of_a_trial_reads_the_study_and_writes_beside_it(tmp_path, monkeypatch):
    run = make_study(tmp_path, monkeypatch, "03_cnn_baseline")
    assert (run.folder, run.work) == (run.results / "03_cnn_baseline", tmp_path / "build" / "demo")
    assert run.shared_path(run.results / "split.csv") == run.results / "split.csv"
    monkeypatch.setenv(TRIAL, "trials/03_cnn_baseline/epochs=5")
    trial = Run("03_cnn_baseline", run.parameters)
    assert trial.results == run.results
    assert trial.folder == run.results / "trials" / "03_cnn_baseline" / "epochs=5"
    assert trial.work == tmp_path / "build" / "demo" / "trials" / "03_cnn_baseline" / "epochs=5"
    assert trial.shared_path(run.results / "split.csv") == trial.folder / "split.csv"


@pytest.fixture
def two_runs(tmp_path, monkeypatch):
    """A study's run of 03, and a trial of it with other parameters and predictions."""
    study = make_study(tmp_path, monkeypatch, "03_cnn_baseline")
    answer(study, 0)
    monkeypatch.setenv(TRIAL, "trials/03_cnn_baseline/epochs=5")
    answer(Run("03_cnn_baseline", study.parameters | {"epochs": 5}), 1)
    monkeypatch.setenv(TRIAL, "")
    return study.results


def answer(run, seed):
    """Write the record of a model that guesses."""
    experiment = Experiment(run)
    random = np.random.default_rng(seed)
    shares = {part: random.dirichlet(np.ones(7), len(samples)) for part, samples in experiment.samples.items()}
    experiment.write(experiment.judge("guess", "a guess", shares.get), [])


def test_the_comparison_shows_what_differs_and_paired_differences(two_runs, capsys):
    names = ["03_cnn_baseline", "trials/03_cnn_baseline/epochs=5"]
    assert compare.main(names) == 0
    said = capsys.readouterr().out
    rows = {line.split("  ")[0]: line for line in said.splitlines()}
    assert rows["epochs"].split() == ["epochs", str(EPOCHS), "5"] and "dropout" not in rows
    values = [json.loads((two_runs / name / "metrics.json").read_text())["test"] for name in names]
    for metric in METRICS:
        change = values[1][metric]["value"] - values[0][metric]["value"]
        assert f"{change:.3f} [" in rows[metric.replace("_", " ")]
    assert "On 28 test images of demo." in said


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["03_cnn_baseline"], "Name two runs or more"),
        (["03_cnn_baseline", "trials/x"], "trials/x/metrics.json: .*Name a folder in the results"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(two_runs, names, message):
    with pytest.raises(StudyError, match=message):
        compare.compare_runs("demo", names)


def test_runs_on_other_splits_are_refused(two_runs):
    path = two_runs / "trials" / "03_cnn_baseline" / "epochs=5" / "metrics.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"split": record["split"] | {"sha256": "0"}}))
    with pytest.raises(StudyError, match="differ in their split"):
        compare.compare_runs("demo", ["03_cnn_baseline", "trials/03_cnn_baseline/epochs=5"])
