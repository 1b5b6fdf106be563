"""Fitting a network, with the best epoch chosen on validation."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from sklearn.metrics import balanced_accuracy_score, log_loss
from tqdm import tqdm

from helpers.data.samples import Samples
from helpers.models.recipe import Recipe, set_trainable
from helpers.records import atomic_path
from helpers.training.batches import Batches
from helpers.training.compiled import SharedNetwork, shared_network
from helpers.training.device import on_device
from helpers.training.fused import Optimizer

WARM_UP_SHARE = 0.1  # of all steps, in which the learning rate climbs from 0


@dataclass(frozen=True)
class Fitted:
    """A finished training: its history, one row an epoch, and the `training` part of the record."""

    history: pd.DataFrame
    training: dict


class Validation(keras.callbacks.Callback):
    """Judges each epoch on validation, keeps the weights of the best, and moves a progress bar.

    Adds val_loss, val_accuracy and val_balanced_accuracy to the logs. The best epoch has the highest balanced accuracy;
    training stops when `patience` epochs bring no better one, and ends with the best weights.
    """

    def __init__(self, network: SharedNetwork, samples: Samples, epochs: int, patience: int, label: str):
        super().__init__()
        self.network, self.samples, self.patience = network, samples, patience
        self.best, self.best_epoch = -1.0, 0
        self.bar = tqdm(total=epochs, desc=label, unit="epoch")

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        logs["seconds"] = time.perf_counter() - self.started
        probabilities = self.network.predict(self.samples.pixels, self.samples.rows)
        labels, chosen = self.samples.labels, probabilities.argmax(axis=1)
        logs["val_loss"] = float(log_loss(labels, probabilities, labels=range(probabilities.shape[1])))
        logs["val_accuracy"] = float((chosen == labels).mean())
        logs["val_balanced_accuracy"] = float(balanced_accuracy_score(labels, chosen))
        if logs["val_balanced_accuracy"] > self.best:
            self.best, self.best_epoch = logs["val_balanced_accuracy"], epoch
            self.weights = self.network.network.get_weights()
        self.model.stop_training = epoch - self.best_epoch >= self.patience
        self.bar.set_postfix_str(
            f"loss {logs['loss']:.3f}, validation balanced accuracy {logs['val_balanced_accuracy']:.3f}", refresh=False
        )
        self.bar.update()

    def on_train_end(self, logs=None):
        self.network.network.set_weights(self.weights)
        self.bar.close()


def fit(
    model: keras.Model,
    train: Samples,
    validation: Samples,
    recipe: Recipe,
    label: str = "training",
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Fitted:
    """Train `model` with AdamW under a cosine schedule with warm-up, and keep its best weights, see `Validation`.

    label: what the progress bar calls it; callbacks: of Keras, whose logs hold the figures on validation as well.
    Returns the history and the record's epochs, best_epoch, seconds, images_per_second (of the median epoch), weights
    (number of parameters) and images: whether they lay on the `device` or were fed from the `host`.
    """
    set_trainable(model, recipe.trainable, recipe.batch_norm)
    started = time.perf_counter()
    network = shared_network(model)
    batches = Batches(train, model.output_shape[-1], recipe)
    trainer = network.trainer(
        train.pixels,
        _loss(recipe, batches.weights),
        Optimizer(recipe.weight_decay, recipe.ema),
        (recipe.trainable, recipe.batch_norm),
    )
    steps = recipe.epochs * len(batches)
    trainer.optimizer.restart(recipe.learning_rate, max(1, int(steps * WARM_UP_SHARE)), steps)
    averaged = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if recipe.ema else []
    judge = Validation(network, validation, recipe.epochs, recipe.patience, label)
    options = {"epochs": recipe.epochs, "callbacks": [*averaged, judge, *callbacks], "verbose": 0, "shuffle": False}
    table = pd.DataFrame(trainer.fit(**batches.for_fit(), **options).history)
    network.copy_to(model)
    table.insert(0, "epoch", np.arange(1, len(table) + 1))
    training = {
        "epochs": len(table),
        "best_epoch": judge.best_epoch + 1,
        "seconds": round(time.perf_counter() - started, 1),
        "images_per_second": round(len(batches) * recipe.batch_size / table["seconds"].median(), 1),
        "weights": model.count_params(),
        "images": "host" if on_device(train.pixels) is None else "device",
    }
    return Fitted(table, training)


def fit_stages(
    model: keras.Model,
    train: Samples,
    validation: Samples,
    stages: list[Recipe],
    label: str = "training",
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Fitted:
    """`fit` by one recipe after another, as one training: each stage starts from the best weights of the one before.

    The history has a column `stage`, counted from 1; the best epoch and the speed are those of the last stage.
    """
    labels = [label if len(stages) == 1 else f"{label}, stage {stage}" for stage in range(1, len(stages) + 1)]
    fitted = [fit(model, train, validation, *stage, callbacks) for stage in zip(stages, labels, strict=True)]
    tables = [one.history.assign(stage=stage) for stage, one in enumerate(fitted, start=1)]
    history = pd.concat(tables, ignore_index=True).assign(epoch=lambda table: np.arange(1, len(table) + 1))
    before = len(history) - len(tables[-1])
    training = fitted[-1].training | {
        "epochs": len(history),
        "best_epoch": before + fitted[-1].training["best_epoch"],
        "seconds": round(sum(one.training["seconds"] for one in fitted), 1),
    }
    return Fitted(history, training)


def save_model(model: keras.Model, path: Path) -> None:
    """Save a model as .keras, atomically and without the optimizer's state, which is twice as large as the weights."""
    with atomic_path(path) as temporary:
        keras.Model(model.inputs, model.outputs, name=model.name).save(temporary)


class AdjustedCrossentropy(keras.losses.Loss):
    """Cross-entropy with logit adjustment (Menon et al., ICLR 2021, equation 10, tau = 1).

    Before the network's probabilities are held against the truth they are divided by the class weights float32
    [classes] and scaled to sum to one, which gives the rare classes the odds that they have in training. So the network
    itself learns to answer as if all classes were equally common, and no image counts more than another.
    """

    def __init__(self, weights: np.ndarray, label_smoothing: float):
        super().__init__()
        self.log_weights, self.label_smoothing = np.log(weights), label_smoothing

    def call(self, y_true, y_pred):
        adjusted = keras.ops.log(keras.ops.maximum(y_pred, keras.config.epsilon())) - self.log_weights
        return keras.losses.categorical_crossentropy(y_true, adjusted, True, self.label_smoothing)


def _loss(recipe: Recipe, weights: np.ndarray) -> keras.losses.Loss:
    """Cross-entropy as it is, adjusted or as focal loss (Lin et al., ICCV 2017) with the class weights as its alpha."""
    if recipe.imbalance == "logit_adjustment":
        return AdjustedCrossentropy(weights, recipe.label_smoothing)
    if recipe.imbalance == "focal":
        alpha = weights.tolist()
        return keras.losses.CategoricalFocalCrossentropy(alpha, gamma=2.0, label_smoothing=recipe.label_smoothing)
    return keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
