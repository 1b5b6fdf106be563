"""Shuffled batches of training images, and the weights of rare classes."""

from collections.abc import Iterator

import keras
import numpy as np

from helpers.data.pixels import gather
from helpers.data.samples import Samples
from helpers.models.recipe import Recipe
from helpers.training.compiled import untuned_dataset
from helpers.training.device import on_device
from helpers.training.mixing import draw_mixture


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
        return {"x": untuned_dataset(self._epochs, self[0]), "steps_per_epoch": len(self)}

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


def class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """Weights float32 [classes], inverse to how often a class occurs in `labels`, with mean 1 over the images."""
    counts = np.bincount(labels, minlength=classes)
    return (len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))).astype(np.float32)
