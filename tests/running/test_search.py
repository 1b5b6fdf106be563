"""Cross-validation and the search for hyperparameters, on objectives that train nothing and on the tiny study."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import optuna
import pytest
from tiny import CODES, make_run, make_study, use_folders

from helpers.models.networks import KINDS
from helpers.running import cross_validation, search
from helpers.running.cross_validation import train_all, train_fold, train_version
from helpers.running.jobs import run_jobs
from helpers.running.search import (
    add_trials,
    begin_search,
    best_changes,
    finished_trials,
    open_search,
    score_trial,
    search_hyperparameters,
    search_storage,
    trials_table,
    write_study,
)
from helpers.running.search_space import UNCHANGED, add_varied, study_values, trial_parameters
from helpers.study import ROOT, StudyError, declared_parameters, load_study
from helpers.training.experiment import Experiment
from helpers.training.fit import Diverged

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
    "hyperparameters": ["width", "units", "rate", "batch", "dropout", "strength"],
}
VALUES = {"width": 2.0, "units": 0.5, "rate": 2.0, "batch": 2.0, "dropout": 0.1, "strength": 0.5}
START = {"x": 5.0, "idle": 0.5}
TINY_NETWORK = {"filters": [4, 8], "dense_units": 4, "batch_size": 8}


def objective(trial: optuna.Trial) -> float:
    """A parabola with its top at x = 2, reported for four epochs."""
    x = trial.suggest_float("x", -10, 10)
    trial.suggest_float("idle", 0, 1)
    for epoch in range(4):
        trial.report(-((x - 2) ** 2), epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return -((x - 2) ** 2)


def add(path: Path, trials: int, seed: int = 0, worker: int = 0, objective=objective) -> list[float]:
    """Add trials to a search; returns the x of all that are finished."""
    add_trials(path, objective, trials, seeds=(seed, worker))
    return [trial.params["x"] for trial in finished_trials(open_search(path))]


def diverge_above_zero(trial: optuna.Trial) -> float:
    if (x := trial.suggest_float("x", -10, 10)) > 0:
        raise Diverged(f"epoch 1: the loss is nan at {x:.1f}")
    return x


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "search.log"


def test_the_same_seed_makes_the_same_proposals_and_another_others(tmp_path):
    first, again, other = (add(tmp_path / name, 12, seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert first == again != other and len(first) == 12


@pytest.mark.parametrize("before", [0, 4])
def test_a_stopped_search_goes_on_as_if_it_had_not(tmp_path, before):
    def stop(trial):
        trial.suggest_float("x", -10, 10)
        raise KeyboardInterrupt

    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for path in (whole, stopped):
        begin_search(path, START)
    add(stopped, before)
    with pytest.raises(KeyboardInterrupt):
        add(stopped, 10, objective=stop)
    begin_search(stopped, START)
    assert add(stopped, 10) == add(whole, 10) and add(whole, 10)[0] == 5.0


def test_the_first_trial_is_repeated_if_its_worker_was_killed(path):
    begin_search(path, START)
    assert open_search(path).ask().suggest_float("x", -10, 10) == 5.0  # and is never told
    assert 5.0 not in add(path, 2, worker=1)
    for trials in (4, 6):
        begin_search(path, START)
        found = add(path, trials)
        assert found.count(5.0) == 1 and len(found) == trials


def test_a_trial_that_diverges_fails_with_its_reason_and_the_search_goes_on(path):
    begin_search(path, START)
    assert len(add(path, 6, objective=diverge_above_zero)) == 6
    begin_search(path, START)  # its first trial is done, although it failed
    assert len(add(path, 7, objective=diverge_above_zero)) == 7
    table = trials_table(open_search(path))
    assert table["x"].tolist().count(5.0) == 1 and table.loc[0, "reason"] == "epoch 1: the loss is nan at 5.0"
    assert ((table["state"] == "fail") == (table["x"] > 0)).all() and (table["state"] == "complete").any()
    assert open_search(path).best_value < 0


def test_a_search_without_a_single_score_says_why(tmp_path, monkeypatch):
    experiment = Experiment(make_study(tmp_path, monkeypatch, "09_tuning", trials=2))

    def diverge(*_):
        raise Diverged("epoch 1: the loss is nan")

    monkeypatch.setattr(search, "score_trial", diverge)
    with pytest.raises(StudyError, match="none of 2 trials was trained to its end. The last: epoch 1: the loss is nan"):
        search_hyperparameters(experiment, "cnn")


def test_two_workers_at_once_share_a_search(path):
    begin_search(path, START)
    together = Barrier(2, timeout=60)

    def wait_for_the_other(trial):
        if trial.number < 2:
            together.wait()
        return objective(trial)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda worker: add(path, 8, worker=worker, objective=wait_for_the_other), range(2)))
    assert len(found := add(path, 8)) in (8, 9) and found.count(5.0) == 1


def test_the_table_of_a_search(path):
    add(path, 30)
    study = open_search(path)
    table = trials_table(study)
    assert list(table.columns) == ["trial", "score", "state", "epochs", "x", "idle"] and len(table) == 30
    assert set(table["state"]) == {"complete", "pruned"}  # a median pruner stops some of thirty
    assert (table.loc[table["state"] == "pruned", "epochs"] < 4).all()
    assert table["score"].max() == pytest.approx(study.best_value)


class Recorder(optuna.trial.FixedTrial):
    """A trial that records what is reported to it, and is to be stopped after so many epochs."""

    def __init__(self, values: dict, stop_after: int = 0):
        super().__init__(values)
        self.reports, self.stop_after = [], stop_after

    def report(self, value, step):
        self.reports.append(value)

    def should_prune(self):
        return len(self.reports) == self.stop_after


class Untouchable:
    """Samples that fail the test if they are used."""

    def __getattribute__(self, name):
        raise AssertionError(f"the test part was asked for {name}")

    def __len__(self):
        raise AssertionError("the test part was counted")


@pytest.fixture
def score(tmp_path, monkeypatch):
    """A function that scores a trial whose epochs, stage by stage, have the given figures. Nothing is trained."""
    experiment = Experiment(make_study(tmp_path, monkeypatch, "09_tuning", trial_epochs=3, head_epochs=2))
    experiment.samples["test"] = Untouchable()
    monkeypatch.setattr(search, "build_variant", lambda *_: None)

    def score(kind: str, trial: Recorder, *values: list[float]) -> float:
        def train(model, samples, *, stages, callbacks):
            assert [stage.epochs for stage in stages] == list(map(len, values))
            assert samples is experiment.samples
            for stage in values:
                callbacks[-1].on_train_begin()
                for epoch, value in enumerate(stage):
                    callbacks[-1].on_epoch_end(epoch, {"val_balanced_accuracy": value})

        monkeypatch.setattr(search, "fit_stages", train)
        return score_trial(experiment, kind, trial)

    return score


@pytest.mark.parametrize(
    ("kind", "stages", "reports"),
    [("cnn", [[0.2, 0.5, 0.4]], [0.2, 0.5, 0.5]), ("mobilenet", [[0.9, 0.8], [0.1, 0.3, 0.2]], [0.1, 0.3, 0.3])],
)
def test_the_score_is_the_best_epoch_of_the_last_stage(score, kind, stages, reports):
    trial = Recorder(VALUES)
    assert score(kind, trial, *stages) == max(reports) and trial.reports == reports


def test_a_trial_is_stopped_before_its_last_epoch_or_not_at_all(score):
    trial = Recorder(VALUES, stop_after=2)
    with pytest.raises(optuna.TrialPruned):
        score("cnn", trial, [0.2, 0.5, 0.4])
    assert trial.reports == [0.2, 0.5]
    assert score("cnn", Recorder(VALUES, stop_after=3), [0.2, 0.5, 0.4]) == 0.5


def test_a_search_is_identified_by_what_its_trials_depend_on(tmp_path, monkeypatch):
    make_study(tmp_path, monkeypatch, "09_tuning")

    def storage(kind="cnn", **given):
        return search_storage(Experiment(make_run("09_tuning", **given)), kind)

    assert storage() == storage(trials=50, workers=4, parallel="processes", tuned_epochs=9, resamples=30)
    others = [storage("mobilenet"), storage(learning_rate=1e-3), storage(trial_epochs=7), storage(seed=1)]
    assert len({storage(), *others}) == 5
    assert storage().is_relative_to(tmp_path)


@pytest.mark.slow
def test_a_search_never_sees_the_test_part(tmp_path, monkeypatch):
    given = {"trials": 2, "trial_epochs": 2} | TINY_NETWORK
    experiment = Experiment(make_study(tmp_path, monkeypatch, "09_tuning", **given))

    class Blind(Experiment):
        def __init__(self, run):
            super().__init__(run)
            self.samples["test"] = Untouchable()

    monkeypatch.setattr(search, "Experiment", Blind)
    table = trials_table(search_hyperparameters(experiment, "cnn"))
    assert len(table) == 2 and table["score"].notna().all() and table.loc[0, "strength"] == UNCHANGED
    assert trials_table(search_hyperparameters(experiment, "cnn")).equals(table)  # it is finished already


def test_a_trial_changes_what_is_searched_and_nothing_else():
    assert trial_parameters(VALUES, STUDY, "cnn_lstm") == STUDY | {
        "filters": [32, 64],
        "lstm_units": 32,
        "learning_rate": 2e-3,
        "batch_size": 64,
        "dropout": 0.1,
        "augmentation": ["symmetries", "brightness:0.50", "zoom:0.50"],
    }
    assert trial_parameters({"strength": 0.0}, STUDY, "cnn")["augmentation"] == ["symmetries"]
    assert trial_parameters({"rate": 2.0}, STUDY, "mobilenet")["fine_tuning_rate"] == 1e-3
    assert add_varied(["symmetries", "zoom:0.5"]) == ["symmetries", "zoom:0.5", "brightness:0"]


def test_only_what_a_network_has_and_a_study_names_is_searched():
    assert list(study_values(STUDY, "cnn")) == ["width", "rate", "batch", "dropout", "strength"]
    assert list(study_values(STUDY, "mobilenet")) == ["rate", "batch", "dropout", "strength"]
    assert list(study_values(STUDY | {"hyperparameters": ["units", "rate"]}, "cnn_lstm")) == ["units", "rate"]
    with pytest.raises(StudyError, match="'depth' is unknown; choose from width, units"):
        study_values(STUDY | {"hyperparameters": ["depth"]}, "cnn")


@pytest.mark.parametrize("kind", KINDS)
def test_the_search_begins_with_what_the_study_says(kind):
    """Also where a study says something unusual."""
    declared = declared_parameters(ROOT / "notebooks" / "09_tuning.ipynb")
    studies = [declared | load_study(path) for path in (ROOT / "studies").glob("*.yaml")]
    odd = [{"dropout": 0.7}, {"batch_size": 4, "filters": [2, 3]}, {"learning_rate": 1.2345e-3}]
    for parameters in [*studies, *(STUDY | {"augmentation": ["brightness:0.3"]} | one for one in odd)]:
        assert trial_parameters(study_values(parameters, kind), parameters, kind) == parameters


def test_the_best_trial_becomes_a_study_file(tmp_path):
    study = optuna.create_study(direction="maximize")
    space = {name: optuna.distributions.CategoricalDistribution((value,)) for name, value in VALUES.items()}
    study.add_trial(optuna.create_trial(params=VALUES, distributions=space, value=0.5))
    best = best_changes(study, STUDY | {"batch_size": 64, "dropout": 0.1}, "cnn")
    assert best == {
        "filters": [32, 64],
        "batch_size": 128,
        "learning_rate": 2e-3,
        "lstm_units": 32,
        "augmentation": ["symmetries", "brightness:0.50", "zoom:0.50"],
    }
    write_study(tmp_path / "mine_tuned.yaml", STUDY, best)
    assert load_study(tmp_path / "mine_tuned.yaml") == STUDY | best | {"study": "mine_tuned"}


FOLDS = [{"kind": "cnn", "fold": fold, "epochs": 2} for fold in (0, 1)]


def fold_answers(folder: str, job: dict) -> np.ndarray:
    """The probabilities of one fold's network for its validation and test images; a job that a worker can import."""
    with pytest.MonkeyPatch.context() as patch:
        use_folders(Path(folder), patch)
        variant = train_fold(Experiment(make_run("09_tuning", **TINY_NETWORK)), **job)
    return variant.predictions[CODES].to_numpy()


@pytest.mark.slow
def test_folds_in_two_processes_give_the_numbers_of_folds_in_one(tmp_path):
    jobs = {name: [{"folder": str(tmp_path / name), "job": job} for job in FOLDS] for name in ("here", "there")}
    with pytest.MonkeyPatch.context() as patch:
        for name in jobs:
            make_study(tmp_path / name, patch, "09_tuning", **TINY_NETWORK)
    here, there = run_jobs(fold_answers, jobs["here"]), run_jobs(fold_answers, jobs["there"], "processes", workers=2)
    assert all(np.allclose(*pair, atol=1e-6) for pair in zip(here, there, strict=True))


@pytest.mark.slow
def test_variants_that_were_trained_elsewhere_are_read_back(tmp_path, monkeypatch, capsys):
    run = make_study(tmp_path, monkeypatch, "09_tuning", parallel="processes", workers=2, **TINY_NETWORK)
    calls = []

    def run_here(function, jobs, parallel, *, workers):
        calls.append((parallel, workers, len(jobs)))
        return [function(**job) for job in jobs]

    monkeypatch.setattr(cross_validation, "run_jobs", run_here)
    [fold] = train_all(Experiment(run), train_fold, FOLDS[1:])
    versions = [{"kind": "cnn", "name": "wide", "changes": {"filters": [8, 8], "seed": 3}, "epochs": 1}]
    [wide] = train_all(Experiment(run), train_version, versions)
    assert calls == [("processes", 2, 1)] * 2
    assert capsys.readouterr().err.count("trained before") == 2
    assert fold.entry["fold"] == 1 and wide.key == "wide-seed3"
    assert wide.entry["parameters"]["filters"] == [8, 8] and wide.entry["seed"] == 3
    assert wide.model().count_params() > fold.model().count_params()
