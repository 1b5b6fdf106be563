"""Folds and repeated training runs, as jobs that can run in parallel."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import keras

from helpers.data.split import fold_split
from helpers.models.networks import KINDS, build_network, pretrained_sha256
from helpers.models.recipe import recipes
from helpers.records import Run
from helpers.running.jobs import run_jobs
from helpers.running.search_space import add_varied
from helpers.training.experiment import Experiment, Variant


def build_variant(kind: str, parameters: Mapping, classes: int) -> keras.Model:
    """A network of KINDS with layers for all augmentations that the search varies.

    Networks that differ only in the strengths of these layers share one compiled network.
    """
    return build_network(kind, parameters | {"augmentation": add_varied(parameters["augmentation"])}, classes)


def fold_experiment(experiment: Experiment, fold: int) -> Experiment:
    """The experiment with another fold as its test part, see `split.fold_split`."""
    seed = experiment.run.parameters["seed"]
    return experiment.on(fold_split(experiment.original, fold, experiment.groups(), seed=seed))


def train_fold(experiment: Experiment, kind: str, *, fold: int, epochs: int) -> Variant:
    """Train a network on four of the five folds and evaluate it on the fifth."""
    p, folded = experiment.run.parameters, fold_experiment(experiment, fold)
    images = {part: len(samples) for part, samples in folded.samples.items()}
    names = f"{kind}-fold{fold}", f"{KINDS[kind]}, fold {fold}"
    return _train(folded, kind, p, names=names, epochs=epochs, fold=fold, fold_images=images)


def train_version(experiment: Experiment, kind: str, name: str, *, changes: Mapping, epochs: int) -> Variant:
    """Train a network with some of the run's parameters changed, for example the seed."""
    p = experiment.run.parameters | dict(changes)
    names = f"{name}-seed{p['seed']}", f"{KINDS[kind]}, {name}, seed {p['seed']}"
    return _train(experiment, kind, p, names=names, epochs=epochs, parameters=p, seed=p["seed"])


def _train(experiment: Experiment, kind: str, p: Mapping, *, names: tuple[str, str], epochs: int, **about) -> Variant:
    build = partial(build_variant, kind, p, len(experiment.codes))
    about = {"weights_sha256": pretrained_sha256(kind, p), "compared": False} | about
    return experiment.train(*names, build, stages=recipes(kind, p, epochs), **about)


TRAINERS = {train.__name__: train for train in (train_fold, train_version)}


def train_all(experiment: Experiment, train: Callable[..., Variant], jobs: Sequence[dict]) -> list[Variant]:
    """The variants train(experiment, **job) of all jobs, in the order of the jobs; train: one of TRAINERS.

    The run's `parallel` and `workers` say where they are trained, see `jobs.run_jobs`. Variants trained in other
    processes are read back from the folder that all workers share.
    """
    run, p = experiment.run, experiment.run.parameters
    if p["parallel"] != "none":
        common = {"notebook": run.notebook, "parameters": p, "train": train.__name__}
        run_jobs(train_job, [common | {"job": job} for job in jobs], p["parallel"], workers=p["workers"])
    return [train(experiment, **job) for job in jobs]


def train_job(notebook: str, parameters: Mapping, train: str, *, job: Mapping) -> None:
    """Train and evaluate one variant in a worker, and save it where the notebook finds it."""
    TRAINERS[train](Experiment(Run(notebook, dict(parameters))), **job)
