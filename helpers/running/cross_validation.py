"""Folds and repeated trainings as jobs that can run side by side."""

from collections.abc import Callable, Mapping, Sequence

from helpers.data.split import fold_split
from helpers.models.networks import KINDS, build_network, pretrained_sha256
from helpers.models.recipe import recipes
from helpers.records import Run
from helpers.running.jobs import run_jobs
from helpers.training.experiment import Experiment, Variant


def on_fold(experiment: Experiment, fold: int) -> Experiment:
    """The experiment whose test part is another fold, see `splits.fold_split`."""
    seed = experiment.run.parameters["seed"]
    return experiment.on(fold_split(experiment.original, fold, experiment.groups(), seed=seed))


def fold_variant(experiment: Experiment, kind: str, fold: int, epochs: int) -> Variant:
    """The variant of a network on one fold of five."""
    p, own = experiment.run.parameters, on_fold(experiment, fold)
    return own.train(
        f"{kind}-fold{fold}",
        f"{KINDS[kind]}, fold {fold}",
        lambda: build_network(kind, p, len(own.codes)),
        recipes(kind, p, epochs),
        weights_sha256=pretrained_sha256(kind, p),
        compared=False,
        fold=fold,
        fold_images={part: len(images) for part, images in own.samples.items()},
    )


def parameter_variant(
    experiment: Experiment, kind: str, name: str, changes: Mapping, start: int, epochs: int
) -> Variant:
    """The variant of a network whose parameters are those of the run with some changed, trained from the seed `start`."""
    p = experiment.run.parameters | dict(changes)
    seeded = p | {"seed": start}
    return experiment.train(
        f"{name}-seed{start}",
        f"{KINDS[kind]}, {name}, seed {start}",
        lambda: build_network(kind, seeded, len(experiment.codes)),
        recipes(kind, seeded, epochs),
        weights_sha256=pretrained_sha256(kind, p),
        parameters=p,
        compared=False,
        seed=start,
    )


MAKERS = {maker.__name__: maker for maker in (fold_variant, parameter_variant)}


def train_all(experiment: Experiment, make: Callable[..., Variant], jobs: Sequence[dict]) -> list[Variant]:
    """make(experiment, **job) for each job, in their order; make: one of MAKERS.

    The run's `parallel` and `workers` say where they are trained, see `jobs.run_jobs`; what was trained elsewhere is
    read back from the folder that all share.
    """
    run, p = experiment.run, experiment.run.parameters
    if p["parallel"] != "none":
        same = {"notebook": run.notebook, "parameters": p, "make": make.__name__}
        run_jobs(train_job, [same | {"job": job} for job in jobs], p["parallel"], p["workers"])
    return [make(experiment, **job) for job in jobs]


def train_job(notebook: str, parameters: Mapping, make: str, job: Mapping) -> None:
    """Train and judge one variant, and leave it where the notebook finds it; a job of its own."""
    MAKERS[make](Experiment(Run(notebook, dict(parameters))), **job)
