"""Shuffled batches of training images, and batches for prediction."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import keras
import numpy as np

from helpers.data.samples import Samples
from helpers.models.recipe import Recipe
from helpers.training.device import SMALLEST_BATCH
from helpers.training.losses import class_weights
from helpers.training.mixing import draw_mixture

if TYPE_CHECKING:
    import tensorflow

BATCH_FOR_PREDICTION = 128


class Batches(keras.utils.PyDataset):
    """Shuffled batches of `samples`, epoch after epoch, as `compiled.Mixed` takes them.

    A batch has three parts: a dictionary of images, one-hot labels float32 [n, classes], and the images' weights in the
    loss, float32 [n]. An epoch has as many batches as the images fill. With `balanced_batches` its images are drawn
    with replacement, so that all classes are equally frequent. The order depends only on `recipe.seed`.
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
            return {"image": self._images(chosen)}, targets, weights
        return self._mix(batch, chosen, targets * weights[:, None])

    def _mix(self, batch: int, chosen: np.ndarray, targets: np.ndarray) -> tuple[dict, np.ndarray, np.ndarray]:
        # Weights are mixed together with their labels. Keras may ask for a batch twice, so the seed names the batch.
        random = np.random.default_rng([self.recipe.seed, self.epoch, batch])
        mixture = draw_mixture(self.recipe.mixing, len(chosen), self.samples.pixels.shape[1], random=random)
        targets = mixture.mix_targets(targets)
        weights = targets.sum(axis=1)
        images = {"image": self._images(chosen), "partner": self._images(chosen[mixture.partners])}
        return images | mixture.per_image(), targets / weights[:, None], weights

    def _images(self, chosen: np.ndarray) -> np.ndarray:
        return self.samples.pixels[self.samples.rows[chosen]]

    def skip_epochs(self, count: int) -> None:
        """Skip the shuffled orders of `count` epochs, which a resumed training run has already seen."""
        for _ in range(count):
            self.on_epoch_end()

    def fit_arguments(self) -> dict:
        """The arguments that pass these batches to Keras' `fit` under the current backend."""
        if keras.config.backend() != "tensorflow":
            return {"x": self}
        return {"x": untuned_dataset(self._epochs, self[0]), "steps_per_epoch": len(self)}

    def _epochs(self) -> Iterator[tuple]:
        """An endless stream of batches, epoch after epoch. As in Keras, the first epoch is shuffled anew too."""
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


def predict_batches(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The output of `model` for images uint8 [n, side, side, 3].

    All batches have one shape, since each new shape is compiled, and a size that divides evenly among devices. Keras'
    `predict` takes longer, to set up its dataset.
    """
    count = len(images)
    batch = min(BATCH_FOR_PREDICTION, -(-count // SMALLEST_BATCH) * SMALLEST_BATCH)
    parts = (images[np.arange(first, first + batch) % count] for first in range(0, count, batch))
    return np.concatenate([model.predict_on_batch(part) for part in parts])[:count]


def untuned_dataset(batches: Callable[[], Iterator[tuple]], like: tuple) -> "tensorflow.data.Dataset":
    """A TensorFlow dataset that reads two batches ahead and does not tune itself.

    batches: returns a new iterator over the batches at each call; like: an example batch, others may differ in size.

    Keras would build a dataset that tunes itself. Its tuning thread sleeps for 10, 20, 40 ms and so on. In TensorFlow
    2.21 the end of an epoch sometimes waits for this thread to wake up, and the epoch takes up to twice as long.
    """
    import tensorflow as tf

    shapes = keras.tree.map_structure(lambda values: tf.TensorSpec((None, *values.shape[1:]), values.dtype), like)
    options = tf.data.Options()
    options.autotune.enabled = False
    return tf.data.Dataset.from_generator(batches, output_signature=shapes).prefetch(2).with_options(options)
