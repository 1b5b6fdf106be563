import os
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import optuna
import pytest
import yaml
from tiny import CODES, make_run, make_study, use_folders

from helpers import tuning
from helpers.arms import Experiment
from helpers.jobs import run_jobs
from helpers.study import load_study
from helpers.tuning import (
    all_arms,
    as_it_is,
    chosen,
    finished,
    fold_arm,
    importance,
    open_search,
    proposed,
    search,
    trials_table,
    version_arm,
    write_study,
)

STUDY = {
    "study": "mine",
    "dataset": "demo",
    "filters": [16, 32],
    "lstm_units": 64,
    "learning_rate": 1e-3,
    "fine_tuning_rate": 5e-4,
    "batch_size": 32,
    "dropout": 0.3,
    "augmentation": ["symmetries", "zoom"],
}


def objective(trial: optuna.Trial) -> float:
    """A hill with its top at x = 2, which two epochs tell."""
    x = trial.suggest_float("x", -10, 10)
    trial.suggest_float("idle", 0, 1)
    for epoch in range(4):
        trial.report(-((x - 2) ** 2), epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return -((x - 2) ** 2)


def found(path) -> list[float]:
    return [trial.params["x"] for trial in finished(open_search(path))]


def test_the_same_seed_makes_the_same_proposals_and_another_others(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        search(tmp_path / name, objective, 12, seed)
    assert found(tmp_path / "a") == found(tmp_path / "b") != found(tmp_path / "c")
    assert len(found(tmp_path / "a")) == 12


def test_a_stopped_search_goes_on_as_if_it_had_not(tmp_path):
    search(tmp_path / "whole", objective, 10, 0)
    search(tmp_path / "stopped", objective, 4, 0)

    def killed(trial):
        trial.suggest_float("x", -10, 10)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "stopped", killed, 10, 0)
    search(tmp_path / "stopped", objective, 10, 0)
    assert found(tmp_path / "stopped") == found(tmp_path / "whole")


def test_two_workers_share_a_search(tmp_path):
    search(tmp_path / "shared", objective, 5, 0, worker=0, workers=2)
    search(tmp_path / "shared", objective, 8, 0, worker=1, workers=2)
    assert len(found(tmp_path / "shared")) == 8


def test_the_table_and_what_mattered(tmp_path):
    search(tmp_path / "s", objective, 30, 0)
    study = open_search(tmp_path / "s")
    table = trials_table(study)
    assert list(table.columns) == ["trial", "score", "state", "epochs", "x", "idle"] and len(table) == 30
    assert set(table["state"]) == {"complete", "pruned"}  # a median pruner stops some of thirty
    assert (table.loc[table["state"] == "pruned", "epochs"] < 4).all()
    assert table["score"].max() == pytest.approx(study.best_value)
    shares = importance(study, 0)
    assert shares.index[0] == "x" and shares["x"] > 0.8 and shares.sum() == pytest.approx(1)


VALUES = {"width": 2.0, "units": 0.5, "rate": 2.0, "batch": 2.0, "dropout": 0.1, "strength": 0.5}


def test_a_proposal_changes_what_is_searched_and_nothing_else():
    tried = proposed(optuna.trial.FixedTrial(VALUES), STUDY, "cnn_lstm")
    assert tried["filters"] == [32, 64] and tried["learning_rate"] == 2e-3 and tried["batch_size"] == 64
    assert tried["augmentation"] == ["symmetries", "brightness:0.50", "zoom:0.50"] and tried["lstm_units"] == 32
    assert tried["dataset"] == "demo" and set(tried) == set(STUDY)


@pytest.mark.parametrize(
    ("kind", "kept"),
    [
        ("cnn", {"lstm_units", "fine_tuning_rate"}),
        ("mobilenet", {"lstm_units", "filters"}),
        ("cnn_lstm", {"fine_tuning_rate"}),
    ],
)
def test_only_what_a_network_has_is_searched(kind, kept):
    tried = proposed(optuna.trial.FixedTrial(VALUES), STUDY, kind)
    assert {name for name in ("lstm_units", "filters", "fine_tuning_rate") if tried[name] == STUDY[name]} == kept
    assert tried["learning_rate"] == 2e-3


@pytest.mark.parametrize("kind", ["cnn", "cnn_lstm", "mobilenet"])
def test_the_search_begins_with_what_the_study_says(kind):
    study = STUDY | {"augmentation": ["symmetries"]}
    assert proposed(optuna.trial.FixedTrial(as_it_is(study, kind)), study, kind) == study


def test_what_was_found_is_a_study_file(tmp_path):
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial({"width": 1.0, "units": 1.0, "rate": 1.0, "batch": 2.0, "dropout": 0.5, "strength": 1.2})
    study.optimize(lambda trial: float(len(proposed(trial, STUDY, "cnn_lstm"))), n_trials=1)
    best = chosen(study, STUDY, "cnn_lstm")
    assert best == {"batch_size": 64, "dropout": 0.5, "augmentation": ["symmetries", "brightness:1.20", "zoom:1.20"]}
    write_study(tmp_path / "mine_tuned.yaml", STUDY, best)
    assert load_study(tmp_path / "mine_tuned.yaml") == STUDY | best | {"study": "mine_tuned"}
    assert yaml.safe_load((tmp_path / "mine_tuned.yaml").read_text())["learning_rate"] == 1e-3


TINY_NETWORK = {"filters": [4, 8], "dense_units": 4, "batch_size": 8}
FOLDS = [{"kind": "cnn", "fold": fold, "epochs": 2} for fold in (0, 1, 2)]


def fold_answers(folder: str, job: dict) -> np.ndarray:
    """What the network of one fold answers for its validation and test images; a job that a worker can import."""
    with pytest.MonkeyPatch.context() as patch:
        use_folders(Path(folder), patch)
        arm = fold_arm(Experiment(make_run("09_tuning", **TINY_NETWORK)), **job)
    return arm.predictions[CODES].to_numpy()


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_folds_on_a_ray_cluster_of_two_workers_give_the_numbers_of_folds_without(tmp_path, monkeypatch):
    import ray

    for name in ("here", "there"):
        make_study(tmp_path / name, monkeypatch, "09_tuning", **TINY_NETWORK)
    jobs = {name: [{"folder": str(tmp_path / name), "job": job} for job in FOLDS] for name in ("here", "there")}
    ray.init(num_cpus=2, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}})
    try:
        there = run_jobs(fold_answers, jobs["there"], "ray", 2)
    finally:
        ray.shutdown()
    here = run_jobs(fold_answers, jobs["here"])
    assert all(np.allclose(*pair, atol=1e-6) for pair in zip(here, there, strict=True))
    assert len({answers.tobytes() for answers in here}) == len(FOLDS)


def test_arms_that_were_trained_elsewhere_are_read_back(tmp_path, monkeypatch, capsys):
    made = make_study(tmp_path, monkeypatch, "09_tuning", parallel="processes", workers=2, **TINY_NETWORK)
    asked = []

    def elsewhere(function, jobs, parallel, workers):
        asked.append((parallel, workers, len(jobs)))
        return [function(**job) for job in jobs]

    monkeypatch.setattr(tuning, "run_jobs", elsewhere)
    folds = all_arms(Experiment(made), fold_arm, FOLDS[:2])
    versions = [{"kind": "cnn", "name": "wide", "changes": {"filters": [8, 8]}, "start": 3, "epochs": 1}]
    [wide] = all_arms(Experiment(made), version_arm, versions)
    assert asked == [("processes", 2, 2), ("processes", 2, 1)]
    assert capsys.readouterr().out.count("trained before") == 3
    assert [arm.entry["fold"] for arm in folds] == [0, 1] and wide.key == "wide-seed3"
    assert wide.entry["parameters"]["filters"] == [8, 8] and wide.entry["seed"] == 3
    assert wide.model().count_params() > folds[0].model().count_params()
