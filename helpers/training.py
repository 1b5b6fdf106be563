"""Batches from the pixel cache, class weights, fitting a model with the choice made on validation, and prediction."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from sklearn.metrics import balanced_accuracy_score, log_loss
from tqdm import tqdm

from helpers.compiled import Optimizer, SharedNetwork, mixed, on_device, shared, untuned
from helpers.images import PixelCache, gather
from helpers.models import set_trainable
from helpers.study import StudyError, atomic_path

IMBALANCE = ("none", "class_weight", "balanced_batches", "focal", "logit_adjustment")
MIXING = {"none": None, "mixup": 0.2, "cutmix": 1.0}  # alpha of the Beta distribution that says how much is mixed
WARM_UP_SHARE = 0.1  # of all steps, in which the learning rate climbs from 0
BLOCK = 4096  # images predicted at a time
VIEWS = (1, 8)


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
    """How a model is trained, or in one of several stages.

    imbalance: one of IMBALANCE; patience: epochs without a better validation before it stops; label_smoothing: share of
    the truth that is spread over all classes; ema: share of the average of past weights that each step keeps (those are
    the weights that are judged and kept), or 0 for none; trainable and batch_norm: see `models.set_trainable`;
    mixing: one of MIXING, see `mix`.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    imbalance: str
    patience: int
    seed: int
    label_smoothing: float = 0.0
    ema: float = 0.0
    trainable: str = "all"
    batch_norm: str = "adapt"
    mixing: str = "none"

    def __post_init__(self):
        for name, known in (("imbalance", IMBALANCE), ("mixing", MIXING)):
            if getattr(self, name) not in known:
                raise StudyError(f"{name} {getattr(self, name)!r}: choose one of {', '.join(known)}.")
        for name in ("epochs", "batch_size", "learning_rate", "patience"):
            if getattr(self, name) <= 0:
                raise StudyError(f"{name} is {getattr(self, name)}; it has to be above 0.")
        for name in ("label_smoothing", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise StudyError(f"{name} is {getattr(self, name)}; it has to be 0 or more and below 1.")


@dataclass(frozen=True)
class Fitted:
    """A finished training: its history, one row an epoch, and the `training` part of the record."""

    history: pd.DataFrame
    training: dict


class Batches(keras.utils.PyDataset):
    """Shuffled batches of `samples` for one epoch after another, as a `compiled.Reader` takes them.

    A batch is a dictionary of which images, one-hot labels float32 [n, classes], and the weights of the images in the
    loss float32 [n]. Images are given as their rows if they lie on the device, else as pixels. An epoch has as many
    batches as the images fill; with `balanced_batches` its images are drawn with replacement, each class as often as
    the others. The order depends on `recipe.seed` alone.
    """

    def __init__(self, samples: Samples, classes: int, recipe: Recipe):
        super().__init__()
        self.samples, self.classes, self.recipe = samples, classes, recipe
        self.weights = class_weights(samples.labels, classes)
        self.random = np.random.default_rng(recipe.seed)
        self.epoch = -1
        self.on_epoch_end()

    def __len__(self) -> int:
        return max(1, len(self.samples) // self.recipe.batch_size)

    def __getitem__(self, batch: int) -> tuple[dict, np.ndarray, np.ndarray]:
        chosen = self.order[batch * self.recipe.batch_size : (batch + 1) * self.recipe.batch_size]
        labels = self.samples.labels[chosen]
        targets = np.eye(self.classes, dtype=np.float32)[labels]
        weighted = self.recipe.imbalance == "class_weight"
        weights = self.weights[labels] if weighted else np.ones(len(labels), np.float32)
        if self.recipe.mixing == "none":
            return {"own": self._images(chosen)}, targets, weights
        # The weights are mixed with the labels that they belong to. Keras may ask for a batch twice: same answer.
        mixture = draw_mixture(
            self.recipe.mixing,
            len(chosen),
            self.samples.pixels.shape[1],
            np.random.default_rng([self.recipe.seed, self.epoch, batch]),
        )
        targets = mixture.of_targets(targets * weights[:, None])
        weights = targets.sum(axis=1)
        images = {"own": self._images(chosen), "other": self._images(chosen[mixture.other])}
        return images | mixture.of_images(), targets / weights[:, None], weights

    def _images(self, chosen: np.ndarray) -> np.ndarray:
        rows = self.samples.rows[chosen]
        return gather(self.samples.pixels, rows) if on_device(self.samples.pixels) is None else rows.astype(np.int32)

    def for_fit(self) -> dict:
        """What `fit` is given for them, under this backend; see `compiled.untuned`."""
        if keras.config.backend() != "tensorflow":
            return {"x": self}
        return {"x": untuned(self._epochs, self[0]), "steps_per_epoch": len(self)}

    def _epochs(self) -> Iterator[tuple]:
        """One epoch after another, without end, each in a new order, as Keras has it: the first one too."""
        while True:
            self.on_epoch_end()
            yield from (self[batch] for batch in range(len(self)))

    def on_epoch_end(self) -> None:
        self.epoch += 1
        count = len(self.samples)
        if self.recipe.imbalance == "balanced_batches":
            chance = self.weights[self.samples.labels].astype(np.float64)
            self.order = self.random.choice(count, count, p=chance / chance.sum())
        else:
            self.order = self.random.permutation(count)


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


@dataclass(frozen=True)
class Mixture:
    """How the images of a batch are mixed: each with the one at its place in `other`, int64 [n].

    share: of an image's own pixels outside of `box`, see `compiled.mixed`; kept: of its own target.
    """

    other: np.ndarray
    share: float
    box: tuple[int, int, int, int]
    kept: float

    def of_images(self) -> dict[str, np.ndarray]:
        """`share` and `box`, once for each image, as a `compiled.Reader` takes them."""
        count = len(self.other)
        return {"share": np.full(count, self.share, np.float32), "box": np.tile(np.int32(self.box), (count, 1))}

    def of_targets(self, targets: np.ndarray) -> np.ndarray:
        """The targets float32 [n, k] in the proportion in which the images are mixed."""
        return np.float32(self.kept) * targets + np.float32(1 - self.kept) * targets[self.other]


def part_samples(split: pd.DataFrame, cache: PixelCache, codes: list[str], part: str) -> Samples:
    """The images of one part of the split (`train`, `validation`, `test`), with class indices in the order of `codes`.

    Raises StudyError if the part is empty or an image is not in the cache.
    """
    chosen = split[split["part"] == part]
    if chosen.empty:
        raise StudyError(f"The split has no images in its {part} part. Run 02_preprocessing again.")
    return Samples(cache.pixels, cache.rows(chosen["image_id"]), pd.Index(codes).get_indexer(chosen["label"]))


def draw_mixture(mixing: str, count: int, side: int, random: np.random.Generator) -> Mixture:
    """Which images of a batch of `count` are mixed, and how.

    mixing: `mixup` adds two images up (Zhang et al., ICLR 2018), `cutmix` puts a rectangle of one into the other, in
    the same place (Yun et al., ICCV 2019). The proportion, one a batch, is drawn from Beta(alpha, alpha) with the
    papers' alpha for ImageNet; that of `cutmix` is then the share of pixels left.
    """
    share = random.beta(MIXING[mixing], MIXING[mixing])
    other = random.permutation(count)
    if mixing == "mixup":
        return Mixture(other, share, (0, 0, 0, 0), share)
    centre, half = random.integers(0, side, 2), side * np.sqrt(1 - share) / 2
    edges = [np.clip([c - half, c + half], 0, side).astype(int) for c in centre]
    area = np.prod([after - first for first, after in edges])
    return Mixture(other, 1.0, tuple(int(edge) for pair in edges for edge in pair), 1 - area / side**2)


def mix(
    images: np.ndarray, targets: np.ndarray, mixing: str, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A batch as training sees it: images uint8 [n, side, side, 3] and targets float32 [n, k], see `draw_mixture`."""
    mixture = draw_mixture(mixing, len(images), images.shape[1], random)
    seen = mixed(images, images[mixture.other], **mixture.of_images())
    return keras.ops.convert_to_numpy(seen), mixture.of_targets(targets)


def class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """Weights float32 [classes], inverse to how often a class occurs in `labels`, with mean 1 over the images."""
    counts = np.bincount(labels, minlength=classes)
    return (len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))).astype(np.float32)


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
    network = shared(model)
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


def symmetries(images: np.ndarray) -> Iterator[np.ndarray]:
    """The eight turns and mirrorings of square images [n, side, side, channels], the images themselves first."""
    for mirrored in (images, images[:, :, ::-1]):
        yield from (np.rot90(mirrored, turns, axes=(1, 2)) for turns in range(4))


def predict(model: keras.Model, samples: Samples, views: int = 1) -> np.ndarray:
    """Probabilities float32 [n, classes] for the images of `samples`, block by block so that memory stays small.

    views: 1, or 8 for the mean over the turns and mirrorings of each image (test-time augmentation).
    """
    if views not in VIEWS:
        raise StudyError(f"views is {views}; it has to be 1 or 8.")
    network = shared(model)
    if views == 1 and on_device(samples.pixels) is not None:
        return network.predict(samples.pixels, samples.rows)
    blocks = []
    for start in range(0, len(samples), BLOCK):
        images = samples.pixels[samples.rows[start : start + BLOCK]]
        seen = [np.ascontiguousarray(view) for view in islice(symmetries(images), views)]
        answers = [network.predict(view, np.arange(len(view))) for view in seen]
        blocks.append(np.mean(answers, axis=0, dtype=np.float64).astype(np.float32))
    return np.concatenate(blocks)


def predictions_table(split: pd.DataFrame, part: str, probabilities: np.ndarray, codes: list[str]) -> pd.DataFrame:
    """The contract's predictions: image_id, part, label, and one probability column a class, rounded to 6 digits."""
    chosen = split.loc[split["part"] == part, ["image_id", "part", "label"]].reset_index(drop=True)
    return chosen.join(pd.DataFrame(np.asarray(probabilities, np.float64).round(6), columns=codes))


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
