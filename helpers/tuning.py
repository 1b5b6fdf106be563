"""Cross-validation and the search for hyperparameters, as jobs that can run side by side and be taken up again."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import optuna
import pandas as pd
import yaml

from helpers import candidates
from helpers.arms import CODE, Arm, Experiment, code_sha256
from helpers.candidates import KINDS, network, pretrained_sha256, stages
from helpers.jobs import run_jobs
from helpers.splits import fold_split
from helpers.study import Run, atomic_path, build_folder, describe_split
from helpers.training import fit_stages

optuna.logging.set_verbosity(optuna.logging.WARNING)

STARTUP = 5  # trials drawn at random, before the sampler goes by those that went well
PATIENT = 2  # epochs that each trial may train before it is compared with the others
# What is searched: widths, units, rates and sizes of batches as multiples of what the study file says.
MULTIPLES = (0.5, 1.0, 2.0)
RATE = (0.25, 4.0)
DROPOUT = (0.0, 0.6)
STRENGTH = (0.0, 1.5)
VARIED = ("brightness", "zoom")  # augmentations whose strength is searched, beside the study's own


def on_fold(experiment: Experiment, fold: int) -> Experiment:
    """The experiment whose test part is another fold, see `splits.fold_split`."""
    return experiment.on(fold_split(experiment.original, fold, experiment.groups(), experiment.run.parameters["seed"]))


def fold_arm(experiment: Experiment, kind: str, fold: int, epochs: int) -> Arm:
    """The arm of a network on one fold of five."""
    p, own = experiment.run.parameters, on_fold(experiment, fold)
    return own.train(
        f"{kind}-fold{fold}",
        f"{KINDS[kind]}, fold {fold}",
        lambda: network(kind, p, len(own.codes), p["augmentation"], p["seed"]),
        stages(kind, p, epochs, p["seed"]),
        weights_sha256=pretrained_sha256(kind, p),
        compared=False,
        fold=fold,
        fold_images={part: len(images) for part, images in own.samples.items()},
    )


def version_arm(experiment: Experiment, kind: str, name: str, changes: Mapping, start: int, epochs: int) -> Arm:
    """The arm of a network whose parameters are those of the run with some changed, trained from the seed `start`."""
    p = experiment.run.parameters | dict(changes)
    return experiment.train(
        f"{name}-seed{start}",
        f"{KINDS[kind]}, {name}, seed {start}",
        lambda: network(kind, p, len(experiment.codes), p["augmentation"], start),
        stages(kind, p, epochs, start),
        weights_sha256=pretrained_sha256(kind, p),
        parameters=p,
        compared=False,
        seed=start,
    )


MAKERS = {maker.__name__: maker for maker in (fold_arm, version_arm)}


def all_arms(experiment: Experiment, make: Callable[..., Arm], jobs: Sequence[dict]) -> list[Arm]:
    """make(experiment, **job) for each job, in their order; make: one of MAKERS.

    The run's `parallel` and `workers` say where they are trained, see `jobs.run_jobs`; what was trained elsewhere is
    read back from the folder that all share.
    """
    run, p = experiment.run, experiment.run.parameters
    if p["parallel"] != "none":
        same = {"notebook": run.notebook, "parameters": p, "make": make.__name__}
        run_jobs(train_arm, [same | {"job": job} for job in jobs], p["parallel"], p["workers"])
    return [make(experiment, **job) for job in jobs]


def train_arm(notebook: str, parameters: Mapping, make: str, job: Mapping) -> None:
    """Train and judge one arm, and leave it where the notebook finds it; a job of its own."""
    MAKERS[make](Experiment(Run(notebook, dict(parameters))), **job)


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
    content += [code_sha256(module.__file__) for module in (*CODE, candidates)] + [code_sha256(__file__)]
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


def search(
    path: Path, objective: Callable[[optuna.Trial], float], trials: int, seed: int, worker: int = 0, workers: int = 1
) -> None:
    """Add trials to the search at `path` until it has so many, or a few more with several workers.

    The n-th trial of a worker draws from a random stream of its own, so that a search which was stopped proposes what
    it would have proposed. That holds for one worker; of several, each sees what the others have finished by then.
    """
    study = open_search(path)
    if workers == 1:
        _give_up_unfinished(study)
    while (done := len(finished(study))) < trials:
        study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=STARTUP,
            multivariate=True,
            seed=int(np.random.SeedSequence([seed, worker, done]).generate_state(1)[0]),
        )
        study.pruner = optuna.pruners.MedianPruner(STARTUP, PATIENT)
        study.optimize(objective, n_trials=1)


def run_search(notebook: str, parameters: Mapping, kind: str, worker: int, workers: int) -> None:
    """The trials of one worker, each trained on the training part and scored on validation; a job of its own."""
    experiment = Experiment(Run(notebook, dict(parameters)))
    path, p = search_storage(experiment, kind), experiment.run.parameters
    if worker == 0 and not open_search(path).get_trials(deepcopy=False):
        open_search(path).enqueue_trial(as_it_is(p, kind))
    search(path, lambda trial: score(experiment, kind, trial), p["trials"], p["seed"], worker, workers)


def score(experiment: Experiment, kind: str, trial: optuna.Trial) -> float:
    """The best balanced accuracy on validation of a network with the trial's hyperparameters.

    It never sees the test part. Raises optuna.TrialPruned as soon as the
    trial does worse than the median of those before it at the same epoch.
    """
    p = experiment.run.parameters
    tried = proposed(trial, p, kind)
    experiment.start_anew(p["seed"])
    model = network(kind, tried, len(experiment.codes), tried["augmentation"], p["seed"])
    seen = []  # epochs of all stages

    def watch(epoch: int, logs: Mapping) -> None:
        seen.append(logs["val_balanced_accuracy"])
        trial.report(max(seen), len(seen) - 1)
        if trial.should_prune():
            raise optuna.TrialPruned

    watched = keras.callbacks.LambdaCallback(on_epoch_end=watch)
    plan = stages(kind, tried, p["trial_epochs"], p["seed"])
    samples = experiment.samples
    fit_stages(model, samples["train"], samples["validation"], plan, f"trial {trial.number}", [watched])
    return max(seen)


def proposed(trial: optuna.Trial | optuna.trial.FixedTrial, parameters: Mapping, kind: str) -> dict:
    """The study's parameters with those of a trial in their place: only what a network of this kind has."""
    p, found = parameters, {}
    if kind != "mobilenet":
        width = trial.suggest_categorical("width", MULTIPLES)
        found["filters"] = [max(4, round(width * filters)) for filters in p["filters"]]
    if kind == "cnn_lstm":
        found["lstm_units"] = max(4, round(trial.suggest_categorical("units", MULTIPLES) * p["lstm_units"]))
    # A pretrained trunk has a rate of its own; the head's, at which one stage is trained, moves along with it.
    rate = trial.suggest_float("rate", *RATE, log=True)
    names = ["learning_rate"] + (["fine_tuning_rate"] if kind == "mobilenet" else [])
    found |= {name: float(f"{p[name] * rate:.3g}") for name in names}
    found["batch_size"] = max(8, round(trial.suggest_categorical("batch", MULTIPLES) * p["batch_size"]))
    found["dropout"] = round(trial.suggest_float("dropout", *DROPOUT), 3)
    strength = trial.suggest_float("strength", *STRENGTH)
    kept = [name for name in p["augmentation"] if name.partition(":")[0] not in VARIED]
    found["augmentation"] = kept + ([f"{name}:{strength:.2f}" for name in VARIED] if strength else [])
    return dict(parameters) | found


def as_it_is(parameters: Mapping, kind: str) -> dict:
    """The trial that proposes what the study file says, as far as the search can."""
    values = {"rate": 1.0, "batch": 1.0, "dropout": parameters["dropout"], "strength": 0.0}
    values |= {"width": 1.0} if kind != "mobilenet" else {}
    return values | ({"units": 1.0} if kind == "cnn_lstm" else {})


def chosen(study: optuna.Study, parameters: Mapping, kind: str) -> dict:
    """What the best trial of a search changes about the study's parameters."""
    found = proposed(optuna.trial.FixedTrial(study.best_trial.params), parameters, kind)
    return {name: value for name, value in found.items() if value != parameters[name]}


def trials_table(study: optuna.Study) -> pd.DataFrame:
    """One row a finished trial: trial, score, state (complete or pruned), epochs, and its hyperparameters."""
    rows = [
        {"trial": number, "score": max(trial.intermediate_values.values(), default=np.nan)}
        | {"state": trial.state.name.lower(), "epochs": len(trial.intermediate_values), **trial.params}
        for number, trial in enumerate(finished(study))
    ]
    return pd.DataFrame(rows)


def importance(study: optuna.Study, seed: int) -> pd.Series:
    """How much each hyperparameter explains of what they explain singly (functional ANOVA, Hutter et al., ICML 2014).

    Shares of the main effects, float [hyperparameters], summing to 1, the largest first; from the trials that were
    trained to their end.
    """
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


def _give_up_unfinished(study: optuna.Study) -> None:
    """Trials that a killed search left running will never end."""
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
