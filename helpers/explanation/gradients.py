"""Gradients of a class's logit with respect to a layer, under TensorFlow and JAX."""

from collections.abc import Callable, Iterable

import keras
import numpy as np
from keras import layers, ops

from helpers.study import StudyError, check_choice
from helpers.training.compiled import shared_network

BLOCK = 64  # images whose activations are in memory together
_cuts: dict[tuple[int, str], "Cut"] = {}


class Cut:
    """A network cut in two after one of its layers: that layer's values, and logits as a function of them.

    A logit is the input of the softmax. Raises StudyError if the last layer is not a dense one with softmax.
    """

    def __init__(self, network: keras.Model, layer: layers.Layer):
        self.softmax = network.layers[-1]
        if getattr(self.softmax, "activation", None) is not keras.activations.softmax:
            raise StudyError(f"{network.name}: its last layer is not a dense layer with softmax, so it has no logits.")
        self.before = keras.Model(network.inputs[0], layer.output)
        self.after = keras.Model(layer.output, self.softmax.input)
        check_choice("The backend of explanations", keras.config.backend(), BACKENDS)
        self._forward, self._gradient = BACKENDS[keras.config.backend()](self)

    def logits(self, values, picked):
        """The logits [n] of the picked classes, one-hot [n, classes], as a tensor of the backend."""
        last = self.softmax.kernel, self.softmax.bias
        return _logits(self.after(values, training=False), last, picked)

    def values(self, images: np.ndarray) -> np.ndarray:
        """The layer's output for images uint8 [n, side, side, 3]: float32 [n, …]."""
        return _in_blocks(lambda rows: [self._forward(images[rows])], len(images))[0]

    def gradients(self, values: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each row's logit for its class, float32 [n], and its gradient by the layer's values, float32 [n, …].

        classes: int [n].
        """
        picked = np.eye(self.softmax.units, dtype=np.float32)[classes]
        return tuple(_in_blocks(lambda rows: self._gradient(values[rows], picked[rows]), len(values)))


def _in_blocks(compute: Callable[[np.ndarray], Iterable], count: int) -> list[np.ndarray]:
    """The results of `compute` for the rows 0 to `count`, block by block: arrays float32 [count, …]."""
    number = -(-count // BLOCK)
    # All blocks have one size, with the last one filled up, since JAX compiles again for each new size.
    blocks = np.resize(np.arange(count), (number, -(-count // number)))
    found = [[np.float32(ops.convert_to_numpy(part)) for part in compute(rows)] for rows in blocks]
    return [np.concatenate(parts)[:count] for parts in zip(*found, strict=True)]


def _logits(hidden, last, picked):
    """The logits [n] of the picked classes, one-hot [n, classes]; last: kernel and bias of the softmax."""
    kernel, bias = last
    scores = ops.matmul(ops.cast(hidden, "float32"), kernel) + bias
    return ops.sum(scores * ops.convert_to_tensor(picked), axis=1)


def _tensorflow(cut: Cut) -> tuple[Callable, Callable]:
    import tensorflow as tf

    def gradient(values, picked):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            logits = cut.logits(values, picked)
        return logits, tape.gradient(logits, values)

    shapes = cut.after.input_shape, (None, cut.softmax.units)
    compiled = tf.function(gradient, input_signature=[tf.TensorSpec((None, *shape[1:])) for shape in shapes])
    return lambda images: cut.before(images, training=False), lambda *pair: compiled(*map(tf.constant, pair))


def _jax(cut: Cut) -> tuple[Callable, Callable]:
    import jax

    # The weights are arguments: as constants they would be compiled in, and later changes would be ignored.
    def weights(model):
        return [
            [variable.value for variable in kind] for kind in (model.trainable_variables, model.non_trainable_variables)
        ]

    def total(values, learnt, picked):
        body, last = learnt
        logits = _logits(cut.after.stateless_call(*body, values, training=False)[0], last, picked)
        return ops.sum(logits), logits

    gradients = jax.jit(jax.grad(total, has_aux=True))
    forward = jax.jit(lambda weights, images: cut.before.stateless_call(*weights, images, training=False)[0])

    def gradient(values, picked):
        last = cut.softmax.kernel.value, cut.softmax.bias.value
        found, logits = gradients(values, (weights(cut.after), last), picked)
        return logits, found

    return lambda images: forward(weights(cut.before), images), gradient


# Each returns two functions: one from images to the layer's values [n, …], and one from values and one-hot classes
# [n, k] to logits [n] and their gradients [n, …].
BACKENDS = {"tensorflow": _tensorflow, "jax": _jax}


def cut_at(model: keras.Model, find: Callable[[keras.Model], layers.Layer]) -> Cut:
    """The compiled network of this architecture with this model's values, cut after the layer that `find` returns."""
    network = shared_network(model).network
    layer = find(network)
    if (key := (id(network), layer.name)) not in _cuts:
        _cuts[key] = Cut(network, layer)
    return _cuts[key]
