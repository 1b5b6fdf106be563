"""What in an image speaks for an answer of a network of `models`: by its gradients, by hiding parts, in closed form.

A map has one number a cell, the higher the more the cell speaks for the class that was asked about. The same code runs
under every backend of Keras; only the gradient is the backend's own.
"""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice

import keras
import numpy as np
from keras import layers, ops

from helpers.compiled import BATCH_FOR_PREDICTION, shared
from helpers.images import skin_colour
from helpers.study import StudyError, set_seed

Answer = Callable[[np.ndarray], np.ndarray]  # images uint8 [n, side, side, 3] to probabilities float [n, classes]
IMAGES_A_GRADIENT = 64  # whose activations are in memory together
IMAGES_A_QUESTION = 1024  # that are put together before a network is asked: each call has its price

_cuts: dict[tuple[int, str], "Cut"] = {}


class Cut:
    """A network of `models` cut in two after one of its layers: its values, and the logits as a function of them.

    A logit is what goes into the softmax. Raises StudyError if the last layer is not a dense one with softmax.
    """

    def __init__(self, network: keras.Model, layer: layers.Layer):
        self.softmax = network.layers[-1]
        if getattr(self.softmax, "activation", None) is not keras.activations.softmax:
            raise StudyError(f"{network.name}: its last layer is no dense layer with softmax, so it has no logits.")
        self.before = keras.Model(network.inputs, layer.output)
        self.after = keras.Model(layer.output, self.softmax.input)
        self.step = STEPS[keras.config.backend()](self.after, self.softmax)

    def values(self, images: np.ndarray) -> np.ndarray:
        """What the layer makes of images uint8 [n, side, side, 3]: float32 [n, …]."""
        return np.float32(self.before.predict(images, BATCH_FOR_PREDICTION, verbose=0))

    def gradients(self, values: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The logit of one class a row, float32 [n], and its gradient by the layer's values, float32 as these [n, …].

        classes: int [n].
        """
        picked = np.eye(self.softmax.units, dtype=np.float32)[classes]
        size = min(IMAGES_A_GRADIENT, len(values))
        # Blocks of one size, the last one filled up, since each size is compiled anew.
        blocks = np.resize(np.arange(len(values)), (-(-len(values) // size), size))
        steps = [map(ops.convert_to_numpy, self.step(values[rows], picked[rows])) for rows in blocks]
        logits, gradients = (np.concatenate(parts)[: len(values)] for parts in zip(*steps, strict=True))
        return np.float32(logits), np.float32(gradients)


def _logits(hidden, kernel, bias, picked):
    """The logits [n] of the classes that are picked, one-hot [n, classes]."""
    scores = ops.matmul(ops.cast(hidden, "float32"), kernel) + bias
    return ops.sum(scores * ops.convert_to_tensor(picked), axis=1)


def _tensorflow_step(after: keras.Model, softmax: layers.Dense) -> Callable:
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def step(values, picked):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            logits = _logits(after(values, training=False), softmax.kernel, softmax.bias, picked)
        return logits, tape.gradient(logits, values)

    return lambda values, picked: step(tf.constant(values), tf.constant(picked))


def _jax_step(after: keras.Model, softmax: layers.Dense) -> Callable:
    import jax

    def total(values, variables, picked):
        hidden, _ = after.stateless_call(*variables[:2], values, training=False)
        logits = _logits(hidden, *variables[2], picked)
        return ops.sum(logits), logits

    gradient = jax.jit(jax.grad(total, has_aux=True))

    def step(values, picked):
        # The weights are arguments: as constants they would be compiled in, and changed ones not be seen.
        kinds = after.trainable_variables, after.non_trainable_variables, (softmax.kernel, softmax.bias)
        found, logits = gradient(values, [[one.value for one in kind] for kind in kinds], picked)
        return logits, found

    return step


def _torch_step(after: keras.Model, softmax: layers.Dense) -> Callable:
    import torch

    def step(values, picked):
        values = ops.convert_to_tensor(values).detach().requires_grad_()
        with torch.enable_grad():
            logits = _logits(after(values, training=False), softmax.kernel, softmax.bias, picked)
            (found,) = torch.autograd.grad(logits.sum(), values)
        return logits.detach(), found

    return step


# Each gives a function from values [n, …] and one-hot classes [n, k] to logits [n] and gradients [n, …].
STEPS = {"tensorflow": _tensorflow_step, "jax": _jax_step, "torch": _torch_step}


def last_map(network: keras.Model, cells: int = 1) -> layers.Layer:
    """The layer that gives the last feature map [n, height, width, channels] of at least `cells` cells a side.

    What only pads a map does not count. Raises StudyError if there is none.
    """
    for layer in reversed(network.layers):
        shape = getattr(layer.output, "shape", ())
        if len(shape) == 4 and min(shape[1:3]) >= cells and not isinstance(layer, layers.ZeroPadding2D):
            return layer
    raise StudyError(f"{network.name}: no layer gives a map [n, height, width, channels] of {cells} cells or more.")


def scaled(network: keras.Model) -> layers.Layer:
    """The layer that turns the bytes of an image into floating-point numbers. Raises StudyError if there is none."""
    found = next((layer for layer in network.layers if isinstance(layer, layers.Rescaling)), None)
    if found is None:
        raise StudyError(f"{network.name}: it has no layer Rescaling, from which gradients by the pixels are taken.")
    return found


def grad_cam(model: keras.Model, images: np.ndarray, classes: np.ndarray, cells: int = 1) -> np.ndarray:
    """Which cells of a feature map speak for a class: float32 [n, height, width], 0 or more.

    images: uint8 [n, side, side, 3]; classes: the one asked about for each image, int [n]; cells: that the map has a
    side at least, of such maps the last is taken. The channels of the map are added up, each times the mean of the
    logit's gradient by it (Selvaraju et al., ICCV 2017), and what speaks against the class is cut off. Raises
    StudyError if the network has no such map.
    """
    cut = _cut(model, partial(last_map, cells=cells))
    values = cut.values(images)
    _, gradients = cut.gradients(values, classes)
    return np.maximum(np.einsum("nhwc,nc->nhw", values, gradients.mean(axis=(1, 2))), 0)


def class_activation(model: keras.Model, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """What `grad_cam` gives for the last map, without a gradient and signed: float32 [n, height, width].

    Where only dense layers follow the average of the map, each cell's share of a logit can be written down from the
    weights (Zhou et al., CVPR 2016); of hidden layers with ReLU, those units count that the image has turned on. With
    one dense layer the map sums to the logit less its bias. Raises StudyError for any other head.
    """
    cut = _cut(model, last_map)
    dense = _pooled_head(model.name, cut)
    values = cut.values(images)
    vector, gates = values.mean(axis=(1, 2)), []
    for kernel, bias, relu in dense[:-1]:
        vector = vector @ kernel + bias
        gates.append((vector > 0) | (not relu))
        vector = vector * gates[-1]
    weights = dense[-1][0].T[classes]
    for (kernel, _, _), gate in zip(dense[-2::-1], gates[::-1], strict=True):
        weights = (weights * gate) @ kernel.T
    return np.einsum("nhwc,nc->nhw", values, weights) / np.prod(values.shape[1:3])


def _pooled_head(name: str, cut: Cut) -> list[tuple[np.ndarray, np.ndarray, bool]]:
    """Kernel, bias and whether there is a ReLU, for each dense layer after an average pooling."""
    kept = [one for one in cut.after.layers if not isinstance(one, layers.InputLayer | layers.Dropout)]
    pool, dense = kept[0] if kept else None, [*kept[1:], cut.softmax]
    known = (keras.activations.relu, keras.activations.linear)
    simple = all(isinstance(one, layers.Dense) for one in dense) and all(one.activation in known for one in dense[:-1])
    if not isinstance(pool, layers.GlobalAveragePooling2D) or not simple:
        raise StudyError(f"{name}: its head is more than an average and dense layers, so there is no closed form.")
    arrays = [[ops.convert_to_numpy(weight) for weight in (one.kernel, one.bias)] for one in dense]
    return [(*own, one.activation is known[0]) for own, one in zip(arrays, dense, strict=True)]


def integrated_gradients(
    model: keras.Model, images: np.ndarray, classes: np.ndarray, steps: int = 32
) -> tuple[np.ndarray, np.ndarray]:
    """How much of a logit each pixel accounts for, float32 [n, side, side], and what these sum to, float32 [n].

    On the way from a plain image in the colour of the skin to the image itself, the gradient by each pixel is averaged
    and multiplied with how far the pixel went (Sundararajan, Taly and Yan, ICML 2017); the colours of a pixel are added
    up. The second array is the logit of the image less that of the plain one: the maps sum to it but for the error of
    taking so many `steps`. Raises StudyError for a network without a layer Rescaling.
    """
    cut = _cut(model, scaled)
    start, end = (cut.values(pictures) for pictures in (plain(images), images))
    total = np.zeros_like(end)
    for step in range(steps):
        total += cut.gradients(start + (step + 0.5) / steps * (end - start), classes)[1]
    gained = cut.gradients(end, classes)[0] - cut.gradients(start, classes)[0]
    return ((end - start) * total / steps).sum(axis=3), gained


def plain(images: np.ndarray) -> np.ndarray:
    """Images with nothing on them, each in the colour of its own skin: like `images`, uint8 [n, side, side, 3]."""
    return np.broadcast_to(skin_colour(images)[:, None, None], images.shape).copy()


def answers(model: keras.Model) -> Answer:
    """What a network says of images uint8 [n, side, side, 3]: a function to probabilities float32 [n, classes]."""
    return lambda images: shared(model).predict(images, np.arange(len(images)))


def class_probabilities(answer: Answer, variants: Iterable[np.ndarray], classes: np.ndarray) -> np.ndarray:
    """The probability of each image's class in each of its variants, float [variants, n].

    variants: one after the other, each uint8 [n, side, side, 3]; several are put together into one question.
    """
    variants, rows = iter(variants), np.arange(len(classes))
    together = max(1, IMAGES_A_QUESTION // len(classes))
    found = []
    while block := list(islice(variants, together)):
        given = answer(np.concatenate(block)).reshape(len(block), len(classes), -1)
        found.append(given[:, rows, classes])
    return np.concatenate(found)


def occlusion(answer: Answer, images: np.ndarray, classes: np.ndarray, patch: int, stride: int) -> np.ndarray:
    """How much the probability of a class falls where the image is covered: float64 [n, side, side], signed.

    A square of `patch` pixels in the colour of the skin is moved over the image in steps of `stride` (Zeiler and
    Fergus, ECCV 2014); a pixel has the mean of the squares that cover it. No gradient is needed. Raises StudyError if
    the squares do not fit into the image or leave gaps between them.
    """
    side = images.shape[1]
    if not 1 <= stride <= patch <= side:
        raise StudyError(f"patch {patch}, stride {stride}: they have to be 1 <= stride <= patch <= {side} pixels.")
    starts = sorted({*range(0, side - patch + 1, stride), side - patch})
    windows = [(slice(y, y + patch), slice(x, x + patch)) for y in starts for x in starts]
    hidden = skin_colour(images)[:, None, None]

    def covered(window):
        shown = images.copy()
        shown[:, *window] = hidden
        return shown

    whole = class_probabilities(answer, [images], classes)[0]
    without = class_probabilities(answer, map(covered, windows), classes)
    falls, covers = np.zeros(images.shape[:3]), np.zeros((side, side))
    for window, probability in zip(windows, without, strict=True):
        falls[:, *window] += (whole - probability)[:, None, None]
        covers[window] += 1
    return falls / covers


def resized(maps: np.ndarray, side: int) -> np.ndarray:
    """Maps float [n, height, width] at the size of the image, [n, side, side], by bilinear interpolation."""

    def weights(cells: int) -> np.ndarray:
        place = np.clip((np.arange(side) + 0.5) * cells / side - 0.5, 0, cells - 1)
        return np.maximum(1 - np.abs(place[:, None] - np.arange(cells)), 0)

    return weights(maps.shape[1]) @ maps @ weights(maps.shape[2]).T


def learnt_layers(model: keras.Model) -> list[str]:
    """The names of the layers with weights, from the first convolution to the last layer."""
    names = [layer.name for layer in model.layers]
    after = names.index(scaled(model).name)
    return [layer.name for layer in model.layers[after:] if layer.weights]


def randomised(model: keras.Model, count: int, seed: int) -> keras.Model:
    """A copy of a network whose last `count` layers with weights are as before training, for the sanity check of maps.

    Going from the last layer to the first is the cascading randomisation of Adebayo et al. (NeurIPS 2018).
    """
    set_seed(seed)
    copy = keras.models.clone_model(model)
    names = learnt_layers(model)
    for name in names[: len(names) - count]:
        copy.get_layer(name).set_weights(model.get_layer(name).get_weights())
    return copy


def _cut(model: keras.Model, find: Callable[[keras.Model], layers.Layer]) -> Cut:
    """The compiled network of this architecture with this model's values, cut after the layer that `find` gives."""
    network = shared(model).network
    layer = find(network)
    if (key := (id(network), layer.name)) not in _cuts:
        _cuts[key] = Cut(network, layer)
    return _cuts[key]
