"""Networks compiled once: all models of one architecture share a compiled network.

Compiling takes as long as several epochs of a small study. So whatever may differ between two training runs of an
architecture is a variable of the compiled step, not a constant: weights, random seeds, augmentation strengths, the
learning-rate schedule. A model's values are copied in before training and copied back afterwards.
"""

import gc
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
from keras import ops

from helpers.data.samples import Samples
from helpers.models.recipe import Recipe, set_trainable
from helpers.training.batches import Batches, predict_batches
from helpers.training.fused import adamw, fast_layer
from helpers.training.losses import class_weights, training_loss
from helpers.training.mixing import mix_images

VARIABLES = ("seed", "strength", "trainable")  # configuration entries that are variables of the compiled step
MOST_NETWORKS = 8  # compiled networks that are kept; of more, the one that was used longest ago is given up

_networks: dict[str, "SharedNetwork"] = {}  # the one used last comes last


class Mixed(keras.Model):
    """A network that may be trained on mixed images.

    Its input is a dictionary: `image`, uint8 [n, side, side, 3], and for mixed images also `partner`, `coefficient` and
    `box`, see `mix_images`.
    """

    def __init__(self, network: keras.Model):
        super().__init__(name="mixed")
        self.network = network

    def call(self, batch, training=False):
        pictures = batch["image"]
        if "partner" in batch:
            pictures = mix_images(pictures, batch["partner"], coefficient=batch["coefficient"], box=batch["box"])
        return self.network(pictures, training=training)


class SharedNetwork:
    """The compiled network of one architecture, for training by several recipes and for prediction.

    network: a copy of `model` with its own weights, in which some layers are replaced by faster equivalents.
    """

    def __init__(self, model: keras.Model):
        self.network = keras.models.clone_model(model, clone_function=fast_layer)
        self.is_training = False
        self._trainers: dict[str, Mixed] = {}

    def copy_to(self, model: keras.Model) -> None:
        """Copy the current values, and which layers are trainable, to a model of this architecture."""
        for layer, source in zip(model.layers, self.network.layers, strict=True):
            layer.trainable = source.trainable
        _copy_values(self.network, model)

    def predict(self, pixels: np.ndarray) -> np.ndarray:
        """Probabilities float32 [n, classes] for images uint8 [n, side, side, 3]."""
        return predict_batches(self.network, pixels)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Keep the network for one training run while the block runs, see `shared_network`."""
        self.is_training = True
        try:
            yield
        finally:
            self.is_training = False

    def trainer(self, recipe: Recipe, train: Samples) -> tuple[Mixed, Batches]:
        """The network compiled for training by the recipe, with a reset optimizer, and the batches of `train` for it.

        The network is compiled again only if no earlier training run had the same loss and optimizer settings.
        """
        set_trainable(self.network, recipe.trainable, recipe.batch_norm)
        loss = training_loss(recipe, class_weights(train.labels, self.network.output_shape[-1]))
        settings = loss.get_config(), recipe.weight_decay, recipe.ema, recipe.trainable, recipe.batch_norm
        key = json.dumps(settings, sort_keys=True)
        if key not in self._trainers:
            trainer = Mixed(self.network)
            optimizer = adamw(recipe.weight_decay, recipe.ema)
            # Create all variables before the step is traced, since TensorFlow traces again for new ones.
            optimizer.build(self.network.trainable_variables)
            accuracy = keras.metrics.CategoricalAccuracy("accuracy")
            trainer.compile(optimizer, loss, metrics=[accuracy], weighted_metrics=[])
            self._trainers[key] = trainer
        batches = Batches(train, self.network.output_shape[-1], recipe)
        self._trainers[key].optimizer.restart(recipe.learning_rate, recipe.epochs * len(batches))
        return self._trainers[key], batches


def shared_network(model: keras.Model) -> SharedNetwork:
    """The compiled network of this model's architecture, holding the model's values until another model takes over.

    While a network is in training, callbacks that ask for it get another one, so that its weights stay.
    """
    key = _architecture(model)
    network = _networks.pop(key, None) or SharedNetwork(model)
    _networks[key] = network
    if network.is_training:
        network = SharedNetwork(model)
    while len(_networks) > MOST_NETWORKS:
        del _networks[next(iter(_networks))]
        gc.collect()
    _copy_values(model, network.network)
    return network


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
