"""Batches from the pixel cache, class weights, and fitting a model with the choice made on validation."""

import time
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from sklearn.metrics import balanced_accuracy_score, log_loss
from tqdm import tqdm

from helpers.images import PixelCache, gather
from helpers.study import StudyError, atomic_path

IMBALANCE = ("none", "class_weight", "balanced_batches", "focal")
WARM_UP_SHARE = 0.1  # of all steps, in which the learning rate climbs from 0
BATCH_FOR_PREDICTION = 128


@dataclass(frozen=True)
class Samples:
    """Images of one part: rows int64 [n] of `pixels` uint8 [N, side, side, 3], and their class indices int64 [n]."""

    pixels: np.ndarray
    rows: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Recipe:
    """How a model is trained. `imbalance` is one of IMBALANCE; `patience` counts epochs without a better validation."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    imbalance: str
    patience: int
    seed: int

    def __post_init__(self):
        if self.imbalance not in IMBALANCE:
            raise StudyError(f"imbalance {self.imbalance!r}: choose one of {', '.join(IMBALANCE)}.")
        for name in ("epochs", "batch_size", "learning_rate", "patience"):
            if getattr(self, name) <= 0:
                raise StudyError(f"{name} is {getattr(self, name)}; it has to be above 0.")


@dataclass(frozen=True)
class Fitted:
    """A finished training: its history, one row an epoch, and the `training` part of the record."""

    history: pd.DataFrame
    training: dict


class Batches(keras.utils.PyDataset):
    """Shuffled batches of `samples` for one epoch after another: uint8 images, one-hot labels, weights of the classes.

    An epoch has as many batches as the images fill; with `balanced_batches` its images are drawn with replacement, each
    class as often as the others. The order depends on `recipe.seed` alone.
    """

    def __init__(self, samples: Samples, classes: int, recipe: Recipe):
        super().__init__()
        self.samples, self.classes, self.recipe = samples, classes, recipe
        self.weights = class_weights(samples.labels, classes)
        self.random = np.random.default_rng(recipe.seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return max(1, len(self.samples) // self.recipe.batch_size)

    def __getitem__(self, batch: int) -> tuple[np.ndarray, ...]:
        chosen = self.order[batch * self.recipe.batch_size : (batch + 1) * self.recipe.batch_size]
        labels = self.samples.labels[chosen]
        images = gather(self.samples.pixels, self.samples.rows[chosen])
        targets = np.eye(self.classes, dtype=np.float32)[labels]
        return (images, targets, self.weights[labels]) if self.recipe.imbalance == "class_weight" else (images, targets)

    def on_epoch_end(self) -> None:
        count = len(self.samples)
        if self.recipe.imbalance == "balanced_batches":
            chance = self.weights[self.samples.labels].astype(np.float64)
            self.order = self.random.choice(count, count, p=chance / chance.sum())
        else:
            self.order = self.random.permutation(count)


class ValidationScores(keras.callbacks.Callback):
    """Adds val_loss, val_accuracy and val_balanced_accuracy to the logs of each epoch, and moves a progress bar."""

    def __init__(self, samples: Samples, epochs: int):
        super().__init__()
        self.samples = samples
        self.images = samples.pixels[samples.rows]
        self.bar = tqdm(total=epochs, desc="training", unit="epoch")

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        logs["seconds"] = time.perf_counter() - self.started
        probabilities = self.model.predict(self.images, batch_size=BATCH_FOR_PREDICTION, verbose=0)
        labels, chosen = self.samples.labels, probabilities.argmax(axis=1)
        logs["val_loss"] = float(log_loss(labels, probabilities, labels=range(probabilities.shape[1])))
        logs["val_accuracy"] = float((chosen == labels).mean())
        logs["val_balanced_accuracy"] = float(balanced_accuracy_score(labels, chosen))
        self.bar.set_postfix_str(
            f"loss {logs['loss']:.3f}, validation balanced accuracy {logs['val_balanced_accuracy']:.3f}", refresh=False
        )
        self.bar.update()

    def on_train_end(self, logs=None):
        self.bar.close()


def part_samples(split: pd.DataFrame, cache: PixelCache, codes: list[str], part: str) -> Samples:
    """The images of one part of the split (`train`, `validation`, `test`), with class indices in the order of `codes`.

    Raises StudyError if the part is empty or an image is not in the cache.
    """
    chosen = split[split["part"] == part]
    if chosen.empty:
        raise StudyError(f"The split has no images in its {part} part. Run 02_preprocessing again.")
    return Samples(cache.pixels, cache.rows(chosen["image_id"]), pd.Index(codes).get_indexer(chosen["label"]))


def class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """Weights float32 [classes], inverse to how often a class occurs in `labels`, with mean 1 over the images."""
    counts = np.bincount(labels, minlength=classes)
    return (len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))).astype(np.float32)


def fit(model: keras.Model, train: Samples, validation: Samples, recipe: Recipe) -> Fitted:
    """Train `model` with AdamW under a cosine schedule with warm-up, and keep its best weights.

    The best epoch is the one with the highest balanced accuracy on validation; training stops early when `patience`
    epochs bring no better one. Returns the history and the record's epochs, seconds, images_per_second (of the median
    epoch) and weights (number of parameters).
    """
    batches = Batches(train, model.output_shape[-1], recipe)
    model.compile(
        keras.optimizers.AdamW(_schedule(recipe, len(batches)), weight_decay=recipe.weight_decay),
        _loss(recipe, batches.weights),
        weighted_metrics=[],
        metrics=["accuracy"],
    )
    best = keras.callbacks.EarlyStopping(
        "val_balanced_accuracy", mode="max", patience=recipe.patience, restore_best_weights=True
    )
    callbacks = [ValidationScores(validation, recipe.epochs), best]
    started = time.perf_counter()
    history = model.fit(batches, epochs=recipe.epochs, callbacks=callbacks, verbose=0, shuffle=False).history
    seconds = time.perf_counter() - started
    table = pd.DataFrame({"epoch": np.arange(1, len(history["loss"]) + 1), **history})
    speed = len(batches) * recipe.batch_size / table["seconds"].median()
    training = {"epochs": len(table), "best_epoch": best.best_epoch + 1, "seconds": round(seconds, 1)}
    return Fitted(table, {**training, "images_per_second": round(speed, 1), "weights": model.count_params()})


def predict(model: keras.Model, samples: Samples) -> np.ndarray:
    """Probabilities float32 [n, classes] for the images of `samples`, block by block so that memory stays small."""
    blocks = [samples.rows[start : start + 4096] for start in range(0, len(samples), 4096)]
    images = (samples.pixels[block] for block in blocks)
    return np.concatenate([model.predict(block, batch_size=BATCH_FOR_PREDICTION, verbose=0) for block in images])


def predictions_table(split: pd.DataFrame, part: str, probabilities: np.ndarray, codes: list[str]) -> pd.DataFrame:
    """The contract's predictions: image_id, part, label, and one probability column a class, rounded to 6 digits."""
    chosen = split.loc[split["part"] == part, ["image_id", "part", "label"]].reset_index(drop=True)
    return chosen.join(pd.DataFrame(np.asarray(probabilities, np.float64).round(6), columns=codes))


def save_model(model: keras.Model, path: Path) -> None:
    """Save a model as .keras, atomically and without the optimizer's state, which is twice as large as the weights."""
    with atomic_path(path) as temporary:
        keras.Model(model.inputs, model.outputs, name=model.name).save(temporary)


def _schedule(recipe: Recipe, steps_per_epoch: int) -> keras.optimizers.schedules.LearningRateSchedule:
    steps = recipe.epochs * steps_per_epoch
    warm_up = max(1, int(steps * WARM_UP_SHARE))
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warm_up), warmup_target=recipe.learning_rate, warmup_steps=warm_up
    )


def _loss(recipe: Recipe, weights: np.ndarray) -> keras.losses.Loss:
    """Cross-entropy, or focal loss (Lin et al., ICCV 2017) with the class weights as its alpha."""
    if recipe.imbalance == "focal":
        return keras.losses.CategoricalFocalCrossentropy(alpha=weights.tolist(), gamma=2.0)
    return keras.losses.CategoricalCrossentropy()
