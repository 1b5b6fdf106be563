"""Networks compiled once: all models of one architecture share a compiled network, with its images on the device.

Compiling takes as long as several epochs of a small study. So whatever may differ between two training runs of an
architecture is a variable of the compiled step, not a constant: weights, random seeds, augmentation strengths, the
learning-rate schedule. A model's values are copied in before training and copied back afterwards.
"""

import hashlib
import json

import keras
import numpy as np
from keras import ops

from helpers.data.samples import Samples
from helpers.models.recipe import Recipe, set_trainable
from helpers.training.batches import predict_batches, steps_per_epoch
from helpers.training.device import SMALLEST_BATCH, device_images, place_images
from helpers.training.fused import adamw, fast_layer
from helpers.training.losses import class_weights, training_loss
from helpers.training.mixing import mix_images

VARIABLES = ("seed", "strength", "trainable")  # configuration entries that are variables of the compiled step
BATCH_FOR_PREDICTION = 128

_networks: dict[str, "SharedNetwork"] = {}


class Reader(keras.Model):
    """A network that fetches its images itself.

    Its input is a dictionary: `image`, int32 [n], rows of `images`; or, without `images`, the uint8 images themselves.
    For training on mixed images also `partner`, `coefficient` and `box`, see `mix_images`.
    """

    def __init__(self, network: keras.Model, images: keras.Variable | None):
        super().__init__(name="reader")
        self.network, self.images = network, images

    def call(self, batch, training=False):
        pictures = self._fetch(batch["image"])
        if "partner" in batch:
            partners = self._fetch(batch["partner"])
            pictures = mix_images(pictures, partners, coefficient=batch["coefficient"], box=batch["box"])
        return self.network(pictures, training=training)

    def _fetch(self, batch):
        if self.images is None or keras.config.backend() != "tensorflow":
            return batch if self.images is None else ops.take(self.images, batch, axis=0)
        import tensorflow as tf

        # Gather from the variable itself, not from its value: only the former has a GPU kernel for bytes. Without it,
        # every step would copy all images to the host.
        return tf.gather(self.images.value, batch)


class SharedNetwork:
    """The compiled network of one architecture, for training by several recipes and for prediction.

    network: a copy of `model` with its own weights, in which some layers are replaced by faster equivalents.
    """

    def __init__(self, model: keras.Model):
        self.network = keras.models.clone_model(model, clone_function=fast_layer)
        self._readers, self._trainers = {}, {}

    def copy_to(self, model: keras.Model) -> None:
        """Copy the current values, and which layers are trainable, to a model of this architecture."""
        for layer, source in zip(model.layers, self.network.layers, strict=True):
            layer.trainable = source.trainable
        _copy_values(self.network, model)

    def predict(self, pixels: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Probabilities float32 [n, classes] for the images pixels[rows]; pixels: uint8 [N, side, side, 3]."""
        images = device_images(pixels)
        if (key := _identity(images)) not in self._readers:
            self._readers[key] = Reader(self.network, images)
        # All batches have one shape, since each new shape is compiled, and a size that divides evenly among devices.
        batch = min(BATCH_FOR_PREDICTION, -(-len(rows) // SMALLEST_BATCH) * SMALLEST_BATCH)
        filled = np.resize(rows, -(-len(rows) // batch) * batch)
        inputs = pixels[filled] if images is None else filled.astype(np.int32)
        return predict_batches(self._readers[key], {"image": inputs}, batch)[: len(rows)]

    def trainer(self, recipe: Recipe, train: Samples) -> Reader:
        """The network compiled for training on `train` by the recipe, with a reset optimizer.

        The images are put on the device if they fit. The network is compiled again only if no earlier training run had
        the same images, loss and optimizer settings.
        """
        set_trainable(self.network, recipe.trainable, recipe.batch_norm)
        loss = training_loss(recipe, class_weights(train.labels, self.network.output_shape[-1]))
        images = place_images(train.pixels)
        settings = loss.get_config(), recipe.weight_decay, recipe.ema, recipe.trainable, recipe.batch_norm
        key = _identity(images), json.dumps(settings, sort_keys=True)
        if key not in self._trainers:
            trainer = Reader(self.network, images)
            optimizer = adamw(recipe.weight_decay, recipe.ema)
            # Create all variables before the step is traced, since TensorFlow traces again for new ones.
            optimizer.build(self.network.trainable_variables)
            accuracy = keras.metrics.CategoricalAccuracy("accuracy")
            trainer.compile(optimizer, loss, metrics=[accuracy], weighted_metrics=[])
            self._trainers[key] = trainer
        steps = recipe.epochs * steps_per_epoch(train, recipe)
        self._trainers[key].optimizer.restart(recipe.learning_rate, steps)
        return self._trainers[key]


def shared_network(model: keras.Model) -> SharedNetwork:
    """The compiled network of this model's architecture, holding the model's values until another model takes over."""
    key = _architecture(model)
    if key not in _networks:
        _networks[key] = SharedNetwork(model)
    _copy_values(model, _networks[key].network)
    return _networks[key]


def _identity(images: keras.Variable | None) -> int | None:
    return None if images is None else id(images)


def _copy_values(source: keras.Model, target: keras.Model) -> None:
    """Copy the values of all variables, random states included, to another model of the same architecture."""
    # Uncopied, JAX would share the memory, and a compiled step frees its inputs. TensorFlow copies by itself.
    copied = ops.copy if keras.config.backend() == "jax" else ops.convert_to_tensor
    for variable, twin in zip(source.variables, target.variables, strict=True):
        twin.assign(copied(variable))


def _architecture(model: keras.Model) -> str:
    """A hash of what models must have in common to share a compiled network: the configuration without VARIABLES."""
    text = json.dumps(_constants(model.get_config()), sort_keys=True, default=str)
    return hashlib.sha256(f"{keras.config.backend()} {text}".encode()).hexdigest()


def _constants(config):
    if isinstance(config, dict):
        return {key: _constants(value) for key, value in config.items() if key not in VARIABLES}
    return [_constants(value) for value in config] if isinstance(config, list | tuple) else config
