import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import optuna
import pytest
import yaml
from tiny import CODES, make_run, make_study, use_folders

from helpers.models.networks import KINDS
from helpers.running import search as search_module
from helpers.running.cross_validation import fold_variant, parameter_variant, train_all
from helpers.running.jobs import run_jobs
from helpers.running.search import (
    UNVARIED,
    all_trials,
    as_it_is,
    begin_search,
    chosen,
    finished,
    importance,
    open_search,
    proposed,
    score,
    search,
    search_storage,
    taking_part,
    trials_table,
    write_study,
)
from helpers.study import ROOT, declared_parameters, load_study
from helpers.training.experiment import Experiment

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
VALUES = {"width": 2.0, "units": 0.5, "rate": 2.0, "batch": 2.0, "dropout": 0.1, "strength": 0.5}
TINY_NETWORK = {"filters": [4, 8], "dense_units": 4, "batch_size": 8}


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


START = {"x": 5.0, "idle": 0.5}


@pytest.mark.parametrize("before", [0, 4])
def test_a_stopped_search_goes_on_as_if_it_had_not(tmp_path, before):
    for name in ("whole", "stopped"):
        begin_search(tmp_path / name, START)
    search(tmp_path / "whole", objective, 10, 0)
    search(tmp_path / "stopped", objective, before, 0)

    def killed(trial):
        trial.suggest_float("x", -10, 10)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "stopped", killed, 10, 0)
    begin_search(tmp_path / "stopped", START)
    search(tmp_path / "stopped", objective, 10, 0)
    assert found(tmp_path / "stopped") == found(tmp_path / "whole")
    assert found(tmp_path / "whole")[0] == 5.0


def test_the_first_trial_is_tried_again_if_its_worker_was_killed_while_another_went_on(tmp_path):
    begin_search(tmp_path / "s", START)
    taken = open_search(tmp_path / "s").ask()
    assert taken.suggest_float("x", -10, 10) == 5.0
    search(tmp_path / "s", objective, 2, 0, worker=1)
    assert 5.0 not in found(tmp_path / "s")
    begin_search(tmp_path / "s", START)
    search(tmp_path / "s", objective, 4, 0)
    assert found(tmp_path / "s").count(5.0) == 1
    begin_search(tmp_path / "s", START)
    search(tmp_path / "s", objective, 6, 0)
    assert found(tmp_path / "s").count(5.0) == 1 and len(found(tmp_path / "s")) == 6


def test_two_workers_at_once_share_a_search(tmp_path):
    begin_search(tmp_path / "shared", START)
    together = Barrier(2, timeout=60)

    def slow(trial):
        if trial.number < 2:
            together.wait()
        time.sleep(0.01)
        return objective(trial)

    with ThreadPoolExecutor(2) as pool:
        workers = [pool.submit(search, tmp_path / "shared", slow, 8, 0, worker) for worker in range(2)]
        assert [worker.result() for worker in workers] == [None, None]
    assert len(found(tmp_path / "shared")) in (8, 9) and found(tmp_path / "shared").count(5.0) == 1


def test_a_second_run_helps_the_first_and_leaves_its_trial_alone(tmp_path):
    with taking_part(tmp_path / "s", START):
        ours = open_search(tmp_path / "s").ask()
        with taking_part(tmp_path / "s", START):
            search(tmp_path / "s", objective, 2, 0)
        open_search(tmp_path / "s").tell(ours, 1.0)
    assert len(finished(open_search(tmp_path / "s"))) == 3
    lost = open_search(tmp_path / "s").ask()
    with taking_part(tmp_path / "s", START):
        states = {trial.number: trial.state for trial in open_search(tmp_path / "s").trials}
    assert states[lost.number] == optuna.trial.TrialState.FAIL and states[ours.number].name == "COMPLETE"


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


def test_of_equal_trials_no_hyperparameter_is_important(tmp_path):
    search(tmp_path / "s", lambda trial: 0.5 + 0 * trial.suggest_float("x", 0, 1), 3, 0)
    assert importance(open_search(tmp_path / "s"), 0).empty


class Told(optuna.trial.FixedTrial):
    """A trial that keeps what it is told, and is to be stopped after the epochs named."""

    def __init__(self, values: dict, stop_after: tuple[int, ...] = ()):
        super().__init__(values)
        self.told, self.stop_after = [], stop_after

    def report(self, value, step):
        self.told.append(value)

    def should_prune(self):
        return len(self.told) in self.stop_after


class Untouchable:
    """Samples of which nothing may be asked."""

    def __getattribute__(self, name):
        raise AssertionError(f"the test part was asked for {name}")

    def __len__(self):
        raise AssertionError("the test part was counted")


@pytest.fixture
def scored(tmp_path, monkeypatch):
    """A function that gives the score of a trial whose epochs, stage by stage, go as it is told; nothing is trained."""
    experiment = Experiment(make_study(tmp_path, monkeypatch, "09_tuning", trial_epochs=3, head_epochs=2))
    experiment.samples["test"] = Untouchable()
    monkeypatch.setattr(search_module, "build_network", lambda *_: None)

    def scored(kind: str, trial: Told, *values: list[float]) -> float:
        def trained(model, train, validation, plan, label, callbacks):
            assert [stage.epochs for stage in plan] == [len(own) for own in values]
            assert train is experiment.samples["train"] and validation is experiment.samples["validation"]
            for own in values:
                callbacks[0].on_train_begin()
                for epoch, value in enumerate(own):
                    callbacks[0].on_epoch_end(epoch, {"val_balanced_accuracy": value})

        monkeypatch.setattr(search_module, "fit_stages", trained)
        return score(experiment, kind, trial)

    return scored


def test_the_score_is_the_best_epoch_of_the_last_stage(scored):
    trial = Told(VALUES)
    assert scored("cnn", trial, [0.2, 0.5, 0.4]) == 0.5 and trial.told == [0.2, 0.5, 0.5]
    trial = Told(VALUES)
    assert scored("mobilenet", trial, [0.9, 0.8], [0.1, 0.3, 0.2]) == 0.3 and trial.told == [0.1, 0.3, 0.3]


def test_a_trial_is_stopped_before_its_last_epoch_or_not_at_all(scored):
    trial = Told(VALUES, stop_after=(2,))
    with pytest.raises(optuna.TrialPruned):
        scored("cnn", trial, [0.2, 0.5, 0.4])
    assert trial.told == [0.2, 0.5]
    assert scored("cnn", Told(VALUES, stop_after=(3,)), [0.2, 0.5, 0.4]) == 0.5


def test_a_search_is_known_by_what_its_trials_depend_on(tmp_path, monkeypatch):
    make_study(tmp_path, monkeypatch, "09_tuning")

    def stored(kind="cnn", **given):
        return search_storage(Experiment(make_run("09_tuning", **given)), kind)

    assert stored() == stored(trials=50, workers=4, parallel="ray", tuned_epochs=9, resamples=30)
    others = [stored("mobilenet"), stored(learning_rate=1e-3), stored(trial_epochs=7), stored(seed=1)]
    assert len({stored(), *others}) == 5
    assert stored().is_relative_to(tmp_path)


def test_a_search_never_sees_the_test_part(tmp_path, monkeypatch):
    given = {"trials": 3, "trial_epochs": 2} | TINY_NETWORK
    experiment = Experiment(make_study(tmp_path, monkeypatch, "09_tuning", **given))

    class Blind(Experiment):
        def __init__(self, run):
            super().__init__(run)
            self.samples["test"] = Untouchable()

    monkeypatch.setattr(search_module, "Experiment", Blind)
    table = trials_table(all_trials(experiment, "cnn"))
    assert len(table) == 3 and table["score"].between(0, 1).all() and table.loc[0, "strength"] == UNVARIED
    assert len(trials_table(all_trials(experiment, "cnn"))) == 3  # it is finished already


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


@pytest.mark.parametrize("study", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda path: path.stem)
@pytest.mark.parametrize("kind", KINDS)
def test_the_search_begins_with_what_the_study_says(kind, study):
    parameters = declared_parameters(ROOT / "notebooks" / "09_tuning.ipynb") | load_study(study)
    assert proposed(optuna.trial.FixedTrial(as_it_is(parameters, kind)), parameters, kind) == parameters


@pytest.mark.parametrize("odd", [{"dropout": 0.7}, {"batch_size": 4, "filters": [2, 3]}, {"learning_rate": 1.2345e-3}])
def test_also_where_the_study_says_something_unusual(odd, recwarn):
    parameters = STUDY | odd | {"augmentation": ["brightness:0.3"]}
    assert proposed(optuna.trial.FixedTrial(as_it_is(parameters, "cnn")), parameters, "cnn") == parameters
    assert not recwarn.list


def test_what_was_found_is_a_study_file(tmp_path):
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial({"width": 1.0, "units": 1.0, "rate": 1.0, "batch": 2.0, "dropout": 0.5, "strength": 1.5})
    study.optimize(lambda trial: float(len(proposed(trial, STUDY, "cnn_lstm"))), n_trials=1)
    best = chosen(study, STUDY, "cnn_lstm")
    assert best == {"batch_size": 64, "dropout": 0.5, "augmentation": ["symmetries", "brightness:1.50", "zoom:1.50"]}
    write_study(tmp_path / "mine_tuned.yaml", STUDY, best)
    assert load_study(tmp_path / "mine_tuned.yaml") == STUDY | best | {"study": "mine_tuned"}
    assert yaml.safe_load((tmp_path / "mine_tuned.yaml").read_text())["learning_rate"] == 1e-3


FOLDS = [{"kind": "cnn", "fold": fold, "epochs": 2} for fold in (0, 1, 2)]


def fold_answers(folder: str, job: dict) -> np.ndarray:
    """What the network of one fold answers for its validation and test images; a job that a worker can import."""
    with pytest.MonkeyPatch.context() as patch:
        use_folders(Path(folder), patch)
        variant = fold_variant(Experiment(make_run("09_tuning", **TINY_NETWORK)), **job)
    return variant.predictions[CODES].to_numpy()


def check_that_folds_come_out_the_same(folder: Path, parallel: str) -> None:
    """Three folds side by side by two workers against the same one after another."""
    jobs = {name: [{"folder": str(folder / name), "job": job} for job in FOLDS] for name in ("here", "there")}
    with pytest.MonkeyPatch.context() as patch:
        for name in jobs:
            make_study(folder / name, patch, "09_tuning", **TINY_NETWORK)
    here, there = run_jobs(fold_answers, jobs["here"]), run_jobs(fold_answers, jobs["there"], parallel, 2)
    assert all(np.allclose(*pair, atol=1e-6) for pair in zip(here, there, strict=True))
    assert len({answers.tobytes() for answers in here}) == len(FOLDS)


def test_folds_in_two_processes_give_the_numbers_of_folds_in_one(tmp_path):
    check_that_folds_come_out_the_same(tmp_path, "processes")


def test_folds_on_a_ray_cluster_give_the_numbers_of_folds_here(tmp_path, ray_cluster):
    check_that_folds_come_out_the_same(tmp_path, "ray")


def test_variants_that_were_trained_elsewhere_are_read_back(tmp_path, monkeypatch, capsys):
    made = make_study(tmp_path, monkeypatch, "09_tuning", parallel="processes", workers=2, **TINY_NETWORK)
    asked = []

    def elsewhere(function, jobs, parallel, workers):
        asked.append((parallel, workers, len(jobs)))
        return [function(**job) for job in jobs]

    monkeypatch.setattr(search_module, "run_jobs", elsewhere)
    folds = train_all(Experiment(made), fold_variant, FOLDS[:2])
    versions = [{"kind": "cnn", "name": "wide", "changes": {"filters": [8, 8]}, "start": 3, "epochs": 1}]
    [wide] = train_all(Experiment(made), parameter_variant, versions)
    assert asked == [("processes", 2, 2), ("processes", 2, 1)]
    assert capsys.readouterr().out.count("trained before") == 3
    assert [variant.entry["fold"] for variant in folds] == [0, 1] and wide.key == "wide-seed3"
    assert wide.entry["parameters"]["filters"] == [8, 8] and wide.entry["seed"] == 3
    assert wide.model().count_params() > folds[0].model().count_params()
