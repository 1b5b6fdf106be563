import json

import numpy as np
import optuna
import pytest
import yaml

from helpers.study import load_study
from helpers.tuning import chosen, finished, importance, open_search, proposed, search, trials_table, write_study

STUDY = {
    "study": "mine",
    "dataset": "demo",
    "filters": [16, 32],
    "lstm_units": 64,
    "learning_rate": 1e-3,
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


def test_a_proposal_changes_what_is_searched_and_nothing_else():
    values = {
        "width": 1.5,
        "augmentation_strength": 0.5,
        "lstm_units": 32,
        "rate": 2.0,
        "batch_size": 64,
        "dropout": 0.1,
    }
    tried = proposed(optuna.trial.FixedTrial(values), STUDY)
    assert tried["filters"] == [24, 48] and tried["learning_rate"] == 2e-3 and tried["batch_size"] == 64
    assert tried["augmentation"] == ["symmetries", "brightness:0.50", "zoom:0.50"]
    assert tried["dataset"] == "demo" and set(tried) == set(STUDY)


def test_what_was_found_is_a_study_file(tmp_path):
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial(
        {"width": 1.0, "augmentation_strength": 1.2, "lstm_units": 64, "rate": 1.0, "batch_size": 128, "dropout": 0.5}
    )
    study.optimize(lambda trial: float(len(proposed(trial, STUDY))), n_trials=1)
    best = chosen(study, STUDY)
    assert best == {"batch_size": 128, "dropout": 0.5, "augmentation": ["symmetries", "brightness:1.20", "zoom:1.20"]}
    write_study(tmp_path / "mine_tuned.yaml", STUDY, best)
    assert load_study(tmp_path / "mine_tuned.yaml") == STUDY | best | {"study": "mine_tuned"}
    assert yaml.safe_load((tmp_path / "mine_tuned.yaml").read_text())["learning_rate"] == 1e-3
    assert json.dumps(best) and np.isfinite(best["dropout"])
