"""Gradients of a class with respect to a layer, under any backend."""

from collections.abc import Callable, Iterable

import keras
import numpy as np
from keras import layers, ops

from helpers.study import StudyError
from helpers.training.compiled import shared_network

BLOCK = 64  # images whose activations are in memory together
_cuts: dict[tuple[int, str], "Cut"] = {}


class Cut:
    """A network of `models` cut in two after one of its layers: its values, and the logits as a function of them.

    A logit is what goes into the softmax. often: whether gradients are asked for so often that it pays to compile them.
    Raises StudyError if the last layer is not a dense one with softmax.
    """

    def __init__(self, network: keras.Model, layer: layers.Layer, often: bool):
        self.softmax = network.layers[-1]
        if getattr(self.softmax, "activation", None) is not keras.activations.softmax:
            raise StudyError(f"{network.name}: its last layer is no dense layer with softmax, so it has no logits.")
        self.after = keras.Model(layer.output, self.softmax.input)
        self._forward, self._gradient = BACKENDS[keras.config.backend()](
            keras.Model(network.inputs[0], layer.output), self.after, self.softmax, often
        )

    def values(self, images: np.ndarray) -> np.ndarray:
        """What the layer makes of images uint8 [n, side, side, 3]: float32 [n, …]."""
        return _in_blocks(lambda rows: [self._forward(images[rows])], len(images))[0]

    def gradients(self, values: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The logit of one class a row, float32 [n], and its gradient by the layer's values, float32 as these [n, …].

        classes: int [n].
        """
        picked = np.eye(self.softmax.units, dtype=np.float32)[classes]
        return tuple(_in_blocks(lambda rows: self._gradient(values[rows], picked[rows]), len(values)))


def _in_blocks(compute: Callable[[np.ndarray], Iterable], count: int) -> list[np.ndarray]:
    """What `compute` gives for the rows 0 to `count`, asked for in blocks: arrays float32 [count, …]."""
    number = -(-count // BLOCK)
    # Blocks of one size, the last one filled up, since JAX compiles each size anew.
    blocks = np.resize(np.arange(count), (number, -(-count // number)))
    found = [[np.float32(ops.convert_to_numpy(part)) for part in compute(rows)] for rows in blocks]
    return [np.concatenate(parts)[:count] for parts in zip(*found, strict=True)]


def _logits(hidden, kernel, bias, picked):
    """The logits [n] of the classes that are picked, one-hot [n, classes]."""
    scores = ops.matmul(ops.cast(hidden, "float32"), kernel) + bias
    return ops.sum(scores * ops.convert_to_tensor(picked), axis=1)


def _tensorflow(
    before: keras.Model, after: keras.Model, softmax: layers.Dense, often: bool
) -> tuple[Callable, Callable]:
    import tensorflow as tf

    def gradient(values, picked):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            logits = _logits(after(values, training=False), softmax.kernel, softmax.bias, picked)
        return logits, tape.gradient(logits, values)

    if often:
        batches = [tf.TensorSpec((None, *shape[1:])) for shape in (after.input_shape, (None, softmax.units))]
        gradient = tf.function(gradient, input_signature=batches)
    # The images are few, and a graph takes longer to trace than they do step by step.
    return lambda images: before(images, training=False), lambda *pair: gradient(*map(tf.constant, pair))


def _jax(before: keras.Model, after: keras.Model, softmax: layers.Dense, often: bool) -> tuple[Callable, Callable]:
    import jax

    # The weights are arguments: as constants they would be compiled in, and changed ones not be seen.
    def arrays(*kinds):
        return [[variable.value for variable in kind] for kind in kinds]

    def total(values, weights, last, picked):
        logits = _logits(after.stateless_call(*weights, values, training=False)[0], *last, picked)
        return ops.sum(logits), logits

    gradients = jax.jit(jax.grad(total, has_aux=True))
    forwards = jax.jit(lambda weights, images: before.stateless_call(*weights, images, training=False)[0])

    def gradient(values, picked):
        weights = arrays(after.trainable_variables, after.non_trainable_variables)
        found, logits = gradients(values, weights, *arrays((softmax.kernel, softmax.bias)), picked)
        return logits, found

    return lambda images: forwards(arrays(before.trainable_variables, before.non_trainable_variables), images), gradient


def _torch(before: keras.Model, after: keras.Model, softmax: layers.Dense, often: bool) -> tuple[Callable, Callable]:
    import torch

    def forward(images):
        with torch.no_grad():
            return before(images, training=False)

    def gradient(values, picked):
        values = ops.convert_to_tensor(values).detach().requires_grad_()
        with torch.enable_grad():
            logits = _logits(after(values, training=False), softmax.kernel, softmax.bias, picked)
            (found,) = torch.autograd.grad(logits.sum(), values)
        return logits.detach(), found

    return forward, gradient


# Each gives two functions: from images to a layer's values [n, …], and from values and one-hot classes [n, k] to logits
# [n] and their gradients [n, …].
BACKENDS = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}


def cut_at(model: keras.Model, find: Callable[[keras.Model], layers.Layer], often: bool = False) -> Cut:
    """The compiled network of this architecture with this model's values, cut after the layer that `find` gives."""
    network = shared_network(model).network
    layer = find(network)
    if (key := (id(network), layer.name)) not in _cuts:
        _cuts[key] = Cut(network, layer, often)
    return _cuts[key]
