"""Cross-validation and the search for hyperparameters, as jobs that can run side by side and be taken up again."""

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import optuna
import pandas as pd
import yaml

from helpers.models.networks import build_network
from helpers.models.recipe import Recipe, recipes
from helpers.records import Run, atomic_path, describe_split
from helpers.running.jobs import run_jobs
from helpers.study import build_folder
from helpers.training.experiment import TRAINING_VERSION, Experiment
from helpers.training.fit import fit_stages

optuna.logging.set_verbosity(optuna.logging.WARNING)

SEARCH_VERSION = 1  # counts changes of what a trial is: trials before belong to another search
STARTUP = 5  # trials drawn at random, before the sampler goes by those that went well
PATIENCE = 3  # a trial may train for one part in so many of its epochs before it is compared with the others
FIRST = "first"  # mark of the trial that a search begins with
# What is searched: widths, units, rates and sizes of batches as multiples of what the study file says.
MULTIPLES = (0.5, 1.0, 2.0)
RATE = (0.25, 4.0)
DROPOUT = 0.6  # at most, or what the study has
VARIED = ("brightness", "zoom")  # augmentations whose strength is searched, beside the study's own
UNVARIED = "as it is"  # the study's own augmentations at their own strengths, these two among them where it has them
STRENGTHS = (UNVARIED, 0.0, 0.5, 1.0, 1.5)


def search_storage(experiment: Experiment, kind: str) -> Path:
    """The file that holds the trials of a search; workers share it, and a search that was stopped goes on from it.

    Another network, split, cache, code or parameter that a trial depends on makes it another search.
    """
    run, apart = (
        experiment.run,
        ("trials", "workers", "parallel", "kinds", "fold_epochs", "tuned_epochs", "seeds", "resamples"),
    )
    content = [{name: value for name, value in run.parameters.items() if name not in apart}]
    content += [experiment.cache.fingerprint, describe_split(experiment.original)["sha256"]]
    content += [TRAINING_VERSION, SEARCH_VERSION]
    fingerprint = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    return build_folder(run.study) / "search" / f"{run.notebook}-{kind}-{fingerprint}.log"


def open_search(path: Path) -> optuna.Study:
    """The search that `path` holds, made if there is none: higher is better."""
    path.parent.mkdir(parents=True, exist_ok=True)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    return optuna.create_study(storage=storage, study_name="search", direction="maximize", load_if_exists=True)


def finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The trials that ended, with a score or stopped early for a poor one."""
    states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    return study.get_trials(deepcopy=False, states=states)


@contextmanager
def taking_part(path: Path, first: Mapping) -> Iterator[None]:
    """While this is open, this run takes part in the search at `path`, with whichever others do.

    Whoever comes when nobody else is there makes it ready, see `begin_search`: a trial that is running then has lost
    its worker. Others' trials are left alone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".owners").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            begin_search(path, first)
        except BlockingIOError:
            pass
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def begin_search(path: Path, first: Mapping) -> None:
    """Make the search at `path` ready for its workers, before any of them starts.

    Trials that killed workers left running are given up. first: the hyperparameters that are tried first, and again if
    that trial was given up.
    """
    study = open_search(path)
    states = optuna.trial.TrialState
    for trial in study.get_trials(deepcopy=False, states=(states.RUNNING,)):
        study.tell(trial.number, state=states.FAIL)
    alive = study.get_trials(deepcopy=False, states=(states.WAITING, states.COMPLETE, states.PRUNED))
    if not any(FIRST in trial.user_attrs for trial in alive):
        study.enqueue_trial(dict(first), user_attrs={FIRST: True})


def search(
    path: Path, objective: Callable[[optuna.Trial], float], trials: int, seed: int, worker: int = 0, patient: int = 1
) -> None:
    """Add trials to the search at `path` until it has so many, or a few more with several workers.

    patient: epochs that each trial may train before it is compared with the others. The n-th trial of a worker draws
    from a random stream of its own, so that a search which was stopped proposes what it would have proposed. That holds
    for one worker; of several, each sees what the others have finished by then.
    """
    study = open_search(path)
    while (done := len(finished(study))) < trials:
        begun = done + len(study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)))
        study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=STARTUP,
            multivariate=True,
            seed=int(np.random.SeedSequence([seed, worker, begun]).generate_state(1)[0]),
        )
        study.pruner = optuna.pruners.MedianPruner(STARTUP, patient)
        study.optimize(objective, n_trials=1)


def all_trials(experiment: Experiment, kind: str) -> optuna.Study:
    """The search for a network's hyperparameters, with all its trials, the first of which is the study file itself.

    The run's `parallel` and `workers` say where they are trained, see `jobs.run_jobs`; a second run of the same search
    helps the first.
    """
    run, p = experiment.run, experiment.run.parameters
    path = search_storage(experiment, kind)
    workers = 1 if p["parallel"] == "none" else p["workers"]
    same = {"notebook": run.notebook, "parameters": p, "kind": kind}
    with taking_part(path, as_it_is(p, kind)):
        run_jobs(run_search, [same | {"worker": worker} for worker in range(workers)], p["parallel"], workers)
    return open_search(path)


def run_search(notebook: str, parameters: Mapping, kind: str, worker: int) -> None:
    """The trials of one worker, each trained on the training part and scored on validation; a job of its own."""
    experiment = Experiment(Run(notebook, dict(parameters)))
    path, p = search_storage(experiment, kind), experiment.run.parameters
    patient = max(1, p["trial_epochs"] // PATIENCE)
    search(path, lambda trial: score(experiment, kind, trial), p["trials"], p["seed"], worker, patient)


class _Watch(keras.callbacks.Callback):
    """Tells a trial how the last stage of a training goes, epoch by epoch, and ends one that goes poorly.

    best: the highest balanced accuracy on validation in that stage.
    """

    def __init__(self, trial: optuna.Trial, plan: Sequence[Recipe]):
        super().__init__()
        self.trial, self.stages_left, self.epochs = trial, len(plan), plan[-1].epochs
        self.best = 0.0

    def on_train_begin(self, logs=None):
        self.stages_left -= 1

    def on_epoch_end(self, epoch, logs=None):
        if self.stages_left:
            return
        self.best = max(self.best, logs["val_balanced_accuracy"])
        self.trial.report(self.best, epoch)
        # After the last epoch nothing would be saved, and a trial that was trained to its end counts as such.
        if epoch + 1 < self.epochs and self.trial.should_prune():
            raise optuna.TrialPruned


def score(experiment: Experiment, kind: str, trial: optuna.Trial) -> float:
    """The best balanced accuracy on validation of a network with the trial's hyperparameters, in its last stage.

    It never sees the test part. Raises optuna.TrialPruned as soon as the trial does worse than the median of those
    before it at the same epoch.
    """
    p = experiment.run.parameters
    tried = proposed(trial, p, kind)
    experiment.start_anew(p["seed"])
    model = build_network(kind, tried, len(experiment.codes))
    plan = recipes(kind, tried, p["trial_epochs"])
    watch, samples = _Watch(trial, plan), experiment.samples
    fit_stages(model, samples["train"], samples["validation"], plan, f"trial {trial.number}", [watch])
    return watch.best


def proposed(trial: optuna.Trial | optuna.trial.FixedTrial, parameters: Mapping, kind: str) -> dict:
    """The study's parameters with those of a trial in their place: only what a network of this kind has."""
    p, found = parameters, {}
    if kind != "mobilenet":
        width = trial.suggest_categorical("width", MULTIPLES)
        found["filters"] = [_times(filters, width, 4) for filters in p["filters"]]
    if kind == "cnn_lstm":
        found["lstm_units"] = _times(p["lstm_units"], trial.suggest_categorical("units", MULTIPLES), 4)
    # A pretrained backbone has a rate of its own; the head's, at which one stage is trained, moves along with it.
    rate = trial.suggest_float("rate", *RATE, log=True)
    names = ["learning_rate"] + (["fine_tuning_rate"] if kind == "mobilenet" else [])
    found |= {name: p[name] if rate == 1 else float(f"{p[name] * rate:.3g}") for name in names}
    found["batch_size"] = _times(p["batch_size"], trial.suggest_categorical("batch", MULTIPLES), 8)
    found["dropout"] = round(trial.suggest_float("dropout", 0.0, max(DROPOUT, p["dropout"])), 3)
    strength = trial.suggest_categorical("strength", STRENGTHS)
    if strength != UNVARIED:
        kept = [name for name in p["augmentation"] if name.partition(":")[0] not in VARIED]
        found["augmentation"] = kept + ([f"{name}:{strength:.2f}" for name in VARIED] if strength else [])
    return dict(parameters) | found


def as_it_is(parameters: Mapping, kind: str) -> dict:
    """The trial that proposes what the study file says."""
    values = {"rate": 1.0, "batch": 1.0, "dropout": parameters["dropout"], "strength": UNVARIED}
    values |= {"width": 1.0} if kind != "mobilenet" else {}
    return values | ({"units": 1.0} if kind == "cnn_lstm" else {})


def _times(value: int, factor: float, least: int) -> int:
    """A whole number times a factor, not below `least`; left as it is by a factor of 1."""
    return value if factor == 1 else max(least, round(factor * value))


def chosen(study: optuna.Study, parameters: Mapping, kind: str) -> dict:
    """What the best trial of a search changes about the study's parameters."""
    found = proposed(optuna.trial.FixedTrial(study.best_trial.params), parameters, kind)
    return {name: value for name, value in found.items() if value != parameters[name]}


def trials_table(study: optuna.Study) -> pd.DataFrame:
    """One row a finished trial: trial, score, state (complete or pruned), epochs, and its hyperparameters.

    epochs: of the last stage, the one that is scored.
    """
    rows = [
        {"trial": number, "score": max(trial.intermediate_values.values(), default=np.nan)}
        | {"state": trial.state.name.lower(), "epochs": len(trial.intermediate_values), **trial.params}
        for number, trial in enumerate(finished(study))
    ]
    return pd.DataFrame(rows)


def importance(study: optuna.Study, seed: int) -> pd.Series:
    """How much each hyperparameter explains of what they explain singly (functional ANOVA, Hutter et al., ICML 2014).

    Shares of the main effects, float [hyperparameters], summing to 1, the largest first; from the trials that were
    trained to their end. Empty if no two of these differ in their scores.
    """
    if len({trial.value for trial in study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))}) < 2:
        return pd.Series(dtype=float)
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    return pd.Series(optuna.importance.get_param_importances(study, evaluator=evaluator), dtype=float)


def write_study(path: Path, source: Mapping, chosen: Mapping) -> None:
    """A study file with the values of `source`, those chosen in their place, named after its file."""
    content = {**source, **chosen, "study": path.stem}
    with atomic_path(path) as temporary:
        temporary.write_text(
            "# The hyperparameters that the search of 09_tuning chose, on validation.\n"
            + yaml.safe_dump(content, sort_keys=False)
        )
