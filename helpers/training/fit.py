"""Fitting a network, with the best epoch chosen on validation."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from sklearn.metrics import balanced_accuracy_score, log_loss
from tqdm import tqdm

from helpers.data.samples import Samples
from helpers.models.recipe import Recipe
from helpers.records import atomic_path
from helpers.study import StudyError
from helpers.training.batches import Batches
from helpers.training.checkpoint import Checkpoint, SaveEpochs
from helpers.training.compiled import shared_network
from helpers.training.resizing import shrink


class Diverged(StudyError):
    """A training run whose loss or weights are no longer numbers."""


@dataclass(frozen=True)
class Fitted:
    """A finished training run: its history, one row per epoch, and the `training` part of the record."""

    history: pd.DataFrame
    training: dict


class Validation(keras.callbacks.Callback):
    """Evaluates each epoch on validation, and restores the weights of the best epoch at the end.

    Adds val_loss, val_accuracy and val_balanced_accuracy to the logs. The best epoch has the highest balanced accuracy;
    training stops after `patience` epochs without a better one. Raises Diverged if the loss or a weight is not finite.
    network: holds the weights; predict: returns its current probabilities for the validation images, float [n,
    classes]; labels: int [n].
    """

    def __init__(self, network: keras.Model, predict: Callable[[], np.ndarray], labels: np.ndarray, *, patience: int):
        super().__init__()
        self.network, self.predict, self.labels, self.patience = network, predict, labels, patience
        self.best, self.best_epoch = -1.0, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        logs["seconds"] = time.perf_counter() - self.started
        probabilities, weights = self.predict(), self.network.get_weights()
        if not all(np.isfinite(values).all() for values in (logs["loss"], probabilities, *weights)):
            remedy = "Choose a lower learning rate, or precision float32."
            raise Diverged(f"epoch {epoch + 1}: the loss is {logs['loss']:.3g}, training has diverged. {remedy}")
        chosen = probabilities.argmax(axis=1)
        balanced = float(balanced_accuracy_score(self.labels, chosen))
        logs["val_loss"] = float(log_loss(self.labels, probabilities, labels=range(probabilities.shape[1])))
        logs["val_accuracy"] = float((chosen == self.labels).mean())
        logs["val_balanced_accuracy"] = balanced
        if balanced > self.best:
            self.best, self.best_epoch, self.weights = balanced, epoch, weights
        self.model.stop_training = epoch - self.best_epoch >= self.patience

    def on_train_end(self, logs=None):
        self.network.set_weights(self.weights)


class Watch(keras.callbacks.Callback):
    """Adds the scores on further parts to the logs of each epoch, as `<part>_accuracy` and `<part>_balanced_accuracy`.

    The epoch kept does not depend on them. model: its current weights are judged; parts: `Samples` by name.
    """

    def __init__(self, model: keras.Model, parts: Mapping[str, Samples]):
        super().__init__()
        self.network, self.parts = shared_network(model), parts

    def on_epoch_end(self, epoch, logs=None):
        for part, samples in self.parts.items():
            chosen = self.network.predict(samples.pixels[samples.rows]).argmax(axis=1)
            logs[f"{part}_accuracy"] = float((chosen == samples.labels).mean())
            logs[f"{part}_balanced_accuracy"] = float(balanced_accuracy_score(samples.labels, chosen))


class ProgressBar(keras.callbacks.Callback):
    """A progress bar for each stage of a training run, one step per epoch. Place it after `Validation`."""

    def __init__(self, label: str, stages: int = 1, finished: int = 0):
        super().__init__()
        names = [f"{label}, stage {stage}" for stage in range(1, stages + 1)]
        self.labels = iter(names[finished:] if stages > 1 else [label])

    def on_train_begin(self, logs=None):
        self.label = next(self.labels)
        self.bar = tqdm(total=self.params["epochs"], desc=self.label, unit="epoch")
        self.begun = False

    def on_epoch_begin(self, epoch, logs=None):
        if epoch and not self.begun:
            tqdm.write(f"{self.label}: resumed at epoch {epoch + 1} of {self.params['epochs']}", file=sys.stderr)
            self.bar.initial = self.bar.n = epoch  # the time left is estimated from the epochs of this process
        self.begun = True

    def on_epoch_end(self, epoch, logs=None):
        balanced = logs["val_balanced_accuracy"]
        self.bar.set_postfix_str(f"loss {logs['loss']:.3f}, validation balanced accuracy {balanced:.3f}", refresh=False)
        self.bar.update()

    def on_train_end(self, logs=None):
        self.bar.close()


def fit(
    model: keras.Model,
    samples: Mapping[str, Samples],
    *,
    recipe: Recipe,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    checkpoint: Checkpoint | None = None,
) -> Fitted:
    """Train `model` by the recipe, and keep the weights of its best epoch, see `Validation`.

    samples: the parts `train` and `validation`. callbacks: of Keras; their logs include the validation scores.
    checkpoint: saves the state after each epoch; training resumes from a state that it already holds.
    """
    resized, samples = shrink(model, samples, recipe.shrink)
    network, validation = shared_network(resized), samples["validation"]
    trainer, batches = network.trainer(recipe, samples["train"])
    predict = partial(network.predict, validation.pixels[validation.rows])
    judge = Validation(network.network, predict, validation.labels, patience=recipe.patience)
    averages = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if recipe.ema else []
    saving = SaveEpochs(checkpoint or Checkpoint(), trainer, judge=judge, averages=averages)
    batches.skip_epochs(saving.resumed)
    watching = [one for one in callbacks if isinstance(one, Watch)]  # before `saving`, which saves their scores
    others = [one for one in callbacks if one not in watching]
    with network.training():
        callbacks = [saving.capture, *averages, judge, *watching, saving, *others]
        epochs = {"initial_epoch": saving.resumed, "epochs": recipe.epochs}
        trainer.fit(**batches.fit_arguments(), **epochs, callbacks=callbacks, verbose=0, shuffle=False)
    network.copy_to(model)
    return summarise(saving, model, batches)


def summarise(saving: SaveEpochs, model: keras.Model, batches: Batches) -> Fitted:
    """The history and the `training` part of the record of a finished stage.

    That part has epochs, best_epoch, seconds, images_per_second (of the median epoch) and weights (number of
    parameters).
    """
    table = epochs_table(saving.history)
    images = len(batches) * batches.recipe.batch_size
    training = {
        "epochs": len(table),
        "best_epoch": saving.judge.best_epoch + 1,
        "seconds": round(saving.seconds, 1),
        "images_per_second": round(float(images / table["seconds"].median()), 1),
        "weights": model.count_params(),
    }
    return Fitted(table, training)


def fit_stages(model: keras.Model, samples: Mapping[str, Samples], *, stages: Sequence[Recipe], **options) -> Fitted:
    """Train by one recipe after another: each stage starts from the best weights of the one before.

    options: callbacks and checkpoint, as for `fit`; the checkpoint holds the state of all stages. The history has a
    column `stage`, counted from 1; the best epoch and the speed are those of the last stage.
    """
    checkpoint = options.pop("checkpoint", None) or Checkpoint()
    fitted = [Fitted(pd.DataFrame(stage["history"]), stage["training"]) for stage in checkpoint.finished]
    for recipe in stages[len(fitted) :]:
        fitted.append(fit(model, samples, recipe=recipe, checkpoint=checkpoint, **options))
        checkpoint.finished.append({"history": fitted[-1].history.to_dict("list"), "training": fitted[-1].training})
    tables = [one.history.assign(stage=stage) for stage, one in enumerate(fitted, start=1)]
    history = pd.concat(tables, ignore_index=True).assign(epoch=lambda table: np.arange(1, len(table) + 1))
    before = len(history) - len(tables[-1])
    training = fitted[-1].training | {
        "epochs": len(history),
        "best_epoch": before + fitted[-1].training["best_epoch"],
        "seconds": round(sum(one.training["seconds"] for one in fitted), 1),
    }
    return Fitted(history, training)


def epochs_table(history: dict[str, list]) -> pd.DataFrame:
    """A history of Keras as a table, one row per epoch, counted from 1."""
    table = pd.DataFrame(history)
    table.insert(0, "epoch", np.arange(1, len(table) + 1))
    return table


def save_model(model: keras.Model, path: Path) -> None:
    """Save a model as .keras, atomically and without the optimizer's state, which is twice as large as the weights."""
    with atomic_path(path) as temporary:
        keras.Model(model.inputs, model.outputs, name=model.name).save(temporary)
