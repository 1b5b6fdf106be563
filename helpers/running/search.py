"""The hyperparameter search: its trials can run in parallel, and it resumes after an interruption."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import keras
import numpy as np
import optuna
import pandas as pd
import yaml
from optuna.trial import TrialState

from helpers.backend import restart_seeds
from helpers.models.recipe import Recipe, recipes
from helpers.records import Run, describe_split, write_text
from helpers.running.cross_validation import build_variant
from helpers.running.jobs import run_jobs
from helpers.running.search_space import study_values, suggest_values, trial_parameters
from helpers.study import StudyError
from helpers.training.experiment import TRAINING_VERSION, Experiment
from helpers.training.fit import Diverged, ProgressBar, fit_stages

optuna.logging.set_verbosity(optuna.logging.WARNING)

SEARCH_VERSION = 1  # increase it when the meaning of a trial changes: earlier trials then belong to another search
STARTUP = 5  # trials drawn at random before the sampler proposes values near the good ones
WARM_UP = 3  # a trial trains 1/WARM_UP of its epochs before it is compared with the others
FIRST = "first"  # marks the first trial of a search
REASON = "reason"  # says why a trial diverged
# Parameters on which a trial does not depend.
APART = ("trials", "workers", "parallel", "kinds", "fold_epochs", "tuned_epochs", "tuned_seeds", "resamples")


def search_hyperparameters(experiment: Experiment, kind: str) -> optuna.Study:
    """The finished search for the hyperparameters of a network. Its first trial has the values of the study file.

    The run's `parallel` and `workers` say where the trials are trained, see `jobs.run_jobs`. A second run resumes it.
    """
    run, p = experiment.run, experiment.run.parameters
    path = search_storage(experiment, kind)
    workers = 1 if p["parallel"] == "none" else p["workers"]
    job = {"notebook": run.notebook, "parameters": p, "kind": kind}
    begin_search(path, study_values(p, kind))
    run_jobs(search_job, [job | {"worker": worker} for worker in range(workers)], p["parallel"], workers=workers)
    study = open_search(path)
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        reason = study.trials[-1].user_attrs.get(REASON, "all were stopped early.")
        raise StudyError(f"{path}: none of {len(study.trials)} trials was trained to its end. The last: {reason}")
    return study


def search_job(notebook: str, parameters: Mapping, kind: str, *, worker: int) -> None:
    """Run the trials of one worker, each trained on the training part and scored on validation."""
    experiment = Experiment(Run(notebook, dict(parameters)))
    add_trials(
        search_storage(experiment, kind),
        lambda trial: score_trial(experiment, kind, trial),
        trials=parameters["trials"],
        seeds=(parameters["seed"], worker),
        warm_up=max(1, parameters["trial_epochs"] // WARM_UP),
    )


def search_storage(experiment: Experiment, kind: str) -> Path:
    """The file with the trials of a search. Its name depends on everything that a trial depends on."""
    run = experiment.run
    content = [{name: value for name, value in run.parameters.items() if name not in APART}]
    content += [experiment.cache.fingerprint, describe_split(experiment.original)["sha256"]]
    content += [TRAINING_VERSION, SEARCH_VERSION]
    fingerprint = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    return run.work / "search" / f"{run.notebook}-{kind}-{fingerprint}.log"


def open_search(path: Path) -> optuna.Study:
    """The search in the file `path`, created if there is none. Higher scores are better."""
    path.parent.mkdir(parents=True, exist_ok=True)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
    return optuna.create_study(storage=storage, study_name="search", direction="maximize", load_if_exists=True)


def finished_trials(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The trials that ended: completed, stopped early for a poor score, or diverged."""
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
    return [trial for trial in ended if trial.state != TrialState.FAIL or REASON in trial.user_attrs]


def begin_search(path: Path, first: Mapping) -> None:
    """Mark trials of killed workers as failed, and queue the trial `first` unless it is done or queued."""
    study = open_search(path)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    kept = [one for one in study.trials if one.state != TrialState.FAIL or REASON in one.user_attrs]
    if not any(FIRST in trial.user_attrs for trial in kept):
        study.enqueue_trial(dict(first), user_attrs={FIRST: True})


def add_trials(
    path: Path,
    objective: Callable[[optuna.Trial], float],
    trials: int,
    *,
    seeds: Sequence[int],
    warm_up: int = 1,
) -> None:
    """Add trials to the search at `path` until it has `trials` of them. Several workers may add a few more.

    seeds: of the search and of this worker; warm_up: epochs before a trial is compared with the others. Each trial has
    its own random stream, so a single worker proposes the same trials after an interruption. With several workers the
    proposals depend on which trials have finished, which differs from run to run.
    """
    study = open_search(path)
    while (done := len(finished_trials(study))) < trials:
        begun = done + len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))
        study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=STARTUP,
            multivariate=True,
            seed=int(np.random.SeedSequence([*seeds, begun]).generate_state(1)[0]),
        )
        study.pruner = optuna.pruners.MedianPruner(STARTUP, warm_up)
        study.optimize(partial(_note_divergence, objective), n_trials=1, catch=Diverged)


def _note_divergence(objective: Callable[[optuna.Trial], float], trial: optuna.Trial) -> float:
    """The score of a trial. One that diverges fails with its reason, and the search goes on."""
    try:
        return objective(trial)
    except Diverged as error:
        trial.set_user_attr(REASON, str(error))
        raise


class TrialReport(keras.callbacks.Callback):
    """Reports the last stage of a training to its trial, epoch by epoch, and stops a poor trial.

    best: the highest balanced accuracy on validation in that stage.
    """

    def __init__(self, trial: optuna.Trial, plan: Sequence[Recipe]):
        super().__init__()
        self.trial, self.stages_to_come, self.epochs = trial, len(plan), plan[-1].epochs
        self.best = 0.0

    def on_train_begin(self, logs=None):
        self.stages_to_come -= 1

    def on_epoch_end(self, epoch, logs=None):
        if self.stages_to_come:
            return
        self.best = max(self.best, logs["val_balanced_accuracy"])
        self.trial.report(self.best, epoch)
        # After the last epoch stopping saves nothing, and a fully trained trial counts as complete.
        if epoch + 1 < self.epochs and self.trial.should_prune():
            raise optuna.TrialPruned


def score_trial(experiment: Experiment, kind: str, trial: optuna.Trial) -> float:
    """Train a network with the trial's hyperparameters; returns its best balanced accuracy on validation.

    The score is that of the best epoch of the last stage. The test part is not used. Raises optuna.TrialPruned as soon
    as the trial is worse than the median of the earlier trials at the same epoch.
    """
    p = experiment.run.parameters
    p = trial_parameters(suggest_values(trial, p, kind), p, kind)
    restart_seeds(p["seed"])
    model = build_variant(kind, p, len(experiment.codes))
    plan = recipes(kind, p, p["trial_epochs"])
    report = TrialReport(trial, plan)
    callbacks = [ProgressBar(f"trial {trial.number}", len(plan)), report]
    fit_stages(model, experiment.samples, stages=plan, callbacks=callbacks)
    return report.best


def best_changes(study: optuna.Study, parameters: Mapping, kind: str) -> dict:
    """The study's parameters that the best trial changes, with their new values."""
    found = trial_parameters(study.best_trial.params, parameters, kind)
    return {name: value for name, value in found.items() if value != parameters[name]}


def trials_table(study: optuna.Study) -> pd.DataFrame:
    """One row per finished trial: trial, score, state (complete, pruned or fail), epochs, and its hyperparameters.

    epochs: of the last stage, which is the one scored. If a trial failed, a column `reason` says why.
    """
    rows = [
        {"trial": number, "score": max(trial.intermediate_values.values(), default=np.nan)}
        | {"state": trial.state.name.lower(), "epochs": len(trial.intermediate_values), **trial.params}
        | {name: trial.user_attrs[name] for name in (REASON,) if name in trial.user_attrs}
        for number, trial in enumerate(finished_trials(study))
    ]
    return pd.DataFrame(rows)


def write_study(path: Path, source: Mapping, changes: Mapping) -> None:
    """Write a study file with the values of `source` and these changes, named after its file."""
    content = yaml.safe_dump({**source, **changes, "study": path.stem}, sort_keys=False)
    write_text(path, f"# The hyperparameters that the search of 09_tuning chose, on validation.\n{content}")
