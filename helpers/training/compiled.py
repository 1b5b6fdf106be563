"""Networks compiled once: those of one architecture share one compiled network, with its images on the device.

Compiling takes as long as some epochs of a small study. Whatever may differ between two trainings of one architecture
is therefore a variable of the compiled step and not a constant: weights, random seeds, strengths of augmentation, the
course of the learning rate. A model lends its values for the time of a training and gets them back.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import keras
import numpy as np
from keras import ops

from helpers.models.recipe import set_trainable
from helpers.training.device import SMALLEST_BATCH, on_device, place
from helpers.training.fused import FusedNormalization, Optimizer

VALUES = ("seed", "strength", "trainable")  # entries of a layer's configuration that are variables of the compiled step
BATCH_FOR_PREDICTION = 128
if TYPE_CHECKING:
    import tensorflow

_networks: dict[str, "SharedNetwork"] = {}


class Reader(keras.Model):
    """A network that fetches its images itself.

    Its input is a dictionary: `own`, int32 [n], rows of `images`; or, without `images`, the uint8 images themselves.
    For training on mixed images also `other`, `share` and `box`, see `mix_images`.
    """

    def __init__(self, network: keras.Model, images: keras.Variable | None):
        super().__init__(name="reader")
        self.network, self.images = network, images

    def call(self, batch, training=False):
        pictures = self._fetch(batch["own"])
        if "other" in batch:
            pictures = mix_images(pictures, self._fetch(batch["other"]), batch["share"], batch["box"])
        return self.network(pictures, training=training)

    def _fetch(self, batch):
        if self.images is None or keras.config.backend() != "tensorflow":
            return batch if self.images is None else ops.take(self.images, batch, axis=0)
        import tensorflow as tf

        # Gathered from the variable, and not from what was read of it: for bytes only the former has a kernel on GPUs,
        # and without one all images would be copied to the host in every step.
        return tf.gather(self.images.value, batch)


class SharedNetwork:
    """The compiled network of one architecture, and what was compiled for it: see `shared_network`."""

    def __init__(self, model: keras.Model):
        self.network = keras.models.clone_model(model, clone_function=_quick)
        self._readers, self._trainers = {}, {}

    def copy_to(self, model: keras.Model) -> None:
        """Give the present values to a model of this architecture."""
        _copy(self.network, model)

    def predict(self, pixels: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Probabilities float32 [n, classes] for the images pixels[rows]; pixels: uint8 [N, side, side, 3]."""
        images = on_device(pixels)
        if (key := _identity(images)) not in self._readers:
            self._readers[key] = Reader(self.network, images)
        # Batches of one shape: each further shape would be compiled anew, and devices share a batch evenly.
        batch = min(BATCH_FOR_PREDICTION, -(-len(rows) // SMALLEST_BATCH) * SMALLEST_BATCH)
        filled = np.resize(rows, -(-len(rows) // batch) * batch)
        own = pixels[filled] if images is None else filled.astype(np.int32)
        return predict_batches(self._readers[key], {"own": own}, batch)[: len(rows)]

    def trainer(
        self,
        pixels: np.ndarray,
        loss: keras.losses.Loss,
        optimizer: Optimizer,
        trainable: tuple[str, str],
    ) -> keras.Model:
        """The network compiled for training, as a `Reader`: compiled anew only if nothing like it was asked for before.

        The images of `pixels` are put on the device if they fit. optimizer: for its settings; the one that trains is
        the trainer's own, as if new. trainable: see `models.set_trainable`.
        """
        set_trainable(self.network, *trainable)
        images = place(pixels)
        settings = loss.get_config(), optimizer.weight_decay, optimizer.use_ema and optimizer.ema_momentum, trainable
        key = _identity(images), json.dumps(settings, sort_keys=True, default=str)
        if key not in self._trainers:
            trainer = Reader(self.network, images)
            optimizer.build(self.network.trainable_variables)
            # As an object, whose variables are there when the step is traced: TensorFlow traces again for new ones.
            accuracy = keras.metrics.CategoricalAccuracy("accuracy")
            trainer.compile(optimizer, loss, metrics=[accuracy], weighted_metrics=[])
            self._trainers[key] = trainer
        return self._trainers[key]


def shared_network(model: keras.Model) -> SharedNetwork:
    """The compiled network of this model's architecture, holding the model's values until it is lent to another."""
    key = _architecture(model)
    if key not in _networks:
        _networks[key] = SharedNetwork(model)
    _copy(model, _networks[key].network)
    return _networks[key]


def predict_batches(model: keras.Model, inputs: np.ndarray | dict[str, np.ndarray], batch: int) -> np.ndarray:
    """Keras' `predict`, for so many inputs as fill whole batches; see `untuned_dataset`."""
    if keras.config.backend() != "tensorflow":
        return model.predict(inputs, batch, verbose=0)

    def part(step: int) -> tuple:
        return (keras.tree.map_structure(lambda values: values[step * batch : (step + 1) * batch], inputs),)

    steps = len(keras.tree.flatten(inputs)[0]) // batch
    return model.predict(untuned_dataset(lambda: map(part, range(steps)), part(0)), steps=steps, verbose=0)


def untuned_dataset(batches: Callable[[], Iterator[tuple]], like: tuple) -> "tensorflow.data.Dataset":
    """A dataset of TensorFlow from what `batches` gives anew each time, read two ahead, that does not tune itself.

    like: one of the batches; the others may differ in their number of images.

    Keras would make one that tunes itself, by a thread that sleeps for 10, 20, 40 ms and so on. As of TensorFlow 2.21
    the end of such a dataset now and then waits for it to wake up: an epoch then takes up to twice as long.
    """
    import tensorflow as tf

    shapes = keras.tree.map_structure(lambda values: tf.TensorSpec((None, *values.shape[1:]), values.dtype), like)
    options = tf.data.Options()
    options.autotune.enabled = False
    return tf.data.Dataset.from_generator(batches, output_signature=shapes).prefetch(2).with_options(options)


def mix_images(own, other, share, box):
    """Images uint8 [n, side, side, 3] mixed with others: `share` float32 [n] of each, inside its `box` nothing of it.

    box: int32 [n, 4]: first row, row after the last, first column, column after the last.
    """
    place = ops.arange(own.shape[1], dtype="int32")[None]
    top, bottom, left, right = (box[:, edge, None] for edge in range(4))
    rows, columns = (place >= top) & (place < bottom), (place >= left) & (place < right)
    inside = (rows[:, :, None] & columns[:, None, :])[..., None]
    kept = ops.where(inside, 0.0, share[:, None, None, None])
    blend = kept * ops.cast(own, "float32") + (1 - kept) * ops.cast(other, "float32")
    return ops.cast(ops.round(blend), "uint8")


def _quick(layer: keras.Layer) -> keras.Layer:
    """A new layer like this one, or what computes the same faster."""
    kind = type(layer)
    if keras.config.backend() == "tensorflow" and kind is keras.layers.BatchNormalization:
        kind = FusedNormalization
    return kind.from_config(layer.get_config())


def _identity(images: keras.Variable | None) -> int | None:
    return None if images is None else id(images)


def _copy(source: keras.Model, target: keras.Model) -> None:
    """The values of all variables of one model, random states included, for another of its architecture."""
    for mine, yours in zip(source.variables, target.variables, strict=True):
        yours.assign(ops.copy(mine))  # JAX would share the memory, and a compiled step gives up what it was given


def _architecture(model: keras.Model) -> str:
    """What models must have in common to share a compiled network: their configuration less what are variables."""
    text = json.dumps(_bare(model.get_config()), sort_keys=True, default=str)
    return hashlib.sha256(f"{keras.config.backend()} {text}".encode()).hexdigest()


def _bare(value):
    if isinstance(value, dict):
        return {key: _bare(own) for key, own in value.items() if key not in VALUES}
    return [_bare(own) for own in value] if isinstance(value, list | tuple) else value
