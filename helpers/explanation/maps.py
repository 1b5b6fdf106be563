"""Which parts of an image a network's answer rests on: by gradients or by occlusion.

A map has one number per cell. A higher number means more evidence for the class in question. Only the gradient is
computed by the backend itself.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice

import keras
import numpy as np
from keras import layers

from helpers.backend import set_seed
from helpers.data.pixels import skin_colour
from helpers.explanation.gradients import cut_at
from helpers.study import StudyError
from helpers.training.batches import BATCH_FOR_PREDICTION
from helpers.training.compiled import shared_network

Answer = Callable[[np.ndarray], np.ndarray]  # images uint8 [n, side, side, 3] to probabilities float [n, classes]
IMAGES_PER_QUESTION = 1024  # predicted in one call, since each call costs time


def last_feature_map(network: keras.Model, cells: int = 1) -> layers.Layer:
    """The layer with the last feature map [n, height, width, channels] of at least `cells` cells a side.

    Layers that only pad a map do not count. Raises StudyError if there is none.
    """
    for layer in reversed(network.layers):
        shape = getattr(layer.output, "shape", ())
        if len(shape) == 4 and min(shape[1:3]) >= cells and not isinstance(layer, layers.ZeroPadding2D):
            return layer
    raise StudyError(f"{network.name}: no layer gives a map [n, height, width, channels] of {cells} cells or more.")


def rescaling(network: keras.Model) -> layers.Layer:
    """The layer that turns the bytes of an image into floating-point numbers. Raises StudyError if there is none."""
    found = next((layer for layer in network.layers if isinstance(layer, layers.Rescaling)), None)
    if found is None:
        raise StudyError(f"{network.name}: gradients by pixels are taken after a layer Rescaling, and it has none.")
    return found


def grad_cam(model: keras.Model, images: np.ndarray, classes: np.ndarray, *, cells: int = 1) -> np.ndarray:
    """Grad-CAM: the evidence for a class in each cell of a feature map, float32 [n, height, width], 0 or more.

    images: uint8 [n, side, side, 3]; classes: one for each image, int [n]; cells: minimum per side; the last map
    of the network with so many is used. Each channel is weighted by its mean gradient of the logit, the channels are
    summed, and negative sums become 0 (Selvaraju et al., ICCV 2017). Raises StudyError if there is no such map.
    """
    cut = cut_at(model, partial(last_feature_map, cells=cells))
    values = cut.values(images)
    _, gradients = cut.gradients(values, classes)
    return np.maximum(np.einsum("nhwc,nc->nhw", values, gradients.mean(axis=(1, 2))), 0)


def integrated_gradients(
    model: keras.Model, images: np.ndarray, classes: np.ndarray, *, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """How much of a logit each pixel accounts for, float32 [n, side, side], and the expected sum, float32 [n].

    The gradient is averaged over `steps` images between a plain one in the colour of the skin and the image itself. It
    is multiplied by the change of each pixel and summed over colours (Sundararajan, Taly and Yan, ICML 2017). The
    second array is the logit of the image minus that of the plain one. The maps sum to it, except for the error from a
    finite number of `steps`. Raises StudyError for a network without a layer Rescaling.
    """
    cut = cut_at(model, rescaling)
    start, end = (cut.values(pictures) for pictures in (plain_skin(images), images))
    total = np.zeros_like(end)
    for step in range(steps):
        total += cut.gradients(start + (step + 0.5) / steps * (end - start), classes)[1]
    gained = cut.gradients(end, classes)[0] - cut.gradients(start, classes)[0]
    return ((end - start) * total / steps).sum(axis=3), gained


def plain_skin(images: np.ndarray) -> np.ndarray:
    """Plain images in the skin colour of each of `images`, uint8 [n, side, side, 3]."""
    return np.broadcast_to(skin_colour(images)[:, None, None], images.shape).copy()


def answers(model: keras.Model) -> Answer:
    """A function from images uint8 [n, side, side, 3] to the network's probabilities float32 [n, classes]."""

    def answer(images: np.ndarray) -> np.ndarray:
        filled = np.resize(np.arange(len(images)), max(len(images), BATCH_FOR_PREDICTION))  # batches of one shape
        return shared_network(model).predict(images[filled])[: len(images)]

    return answer


def class_probabilities(answer: Answer, variants: Iterable[np.ndarray], classes: np.ndarray) -> np.ndarray:
    """The probability of each image's class in each variant of the images, float [variants, n].

    variants: each uint8 [n, side, side, 3]; several are predicted in one call.
    """
    variants, rows = iter(variants), np.arange(len(classes))
    together = max(1, IMAGES_PER_QUESTION // len(classes))
    found = []
    while block := list(islice(variants, together)):
        given = answer(np.concatenate(block)).reshape(len(block), len(classes), -1)
        found.append(given[:, rows, classes])
    return np.concatenate(found)


def occlusion(answer: Answer, images: np.ndarray, classes: np.ndarray, *, patch: int, stride: int) -> np.ndarray:
    """How much the probability of a class falls when each part of the image is covered: float64 [n, side, side].

    A square of `patch` pixels in the colour of the skin moves over the image in steps of `stride` (Zeiler and Fergus,
    ECCV 2014); each pixel gets the mean over the squares that cover it. Raises StudyError if the squares do not fit
    into the image or leave gaps between them.
    """
    side = images.shape[1]
    if not 1 <= stride <= patch <= side:
        raise StudyError(f"patch {patch}, stride {stride}: they have to be 1 <= stride <= patch <= {side} pixels.")
    starts = sorted({*range(0, side - patch + 1, stride), side - patch})
    windows = [(slice(y, y + patch), slice(x, x + patch)) for y in starts for x in starts]
    skin = skin_colour(images)[:, None, None]

    def cover(window: tuple[slice, slice]) -> np.ndarray:
        shown = images.copy()
        shown[:, *window] = skin
        return shown

    whole = class_probabilities(answer, [images], classes)[0]
    falls, covers = np.zeros(images.shape[:3]), np.zeros((side, side))
    for window, probability in zip(windows, class_probabilities(answer, map(cover, windows), classes), strict=True):
        falls[:, *window] += (whole - probability)[:, None, None]
        covers[window] += 1
    return falls / covers


def resize(maps: np.ndarray, side: int) -> np.ndarray:
    """Maps float [n, height, width] at the size of the image, [n, side, side], by bilinear interpolation."""

    def weights(cells: int) -> np.ndarray:
        place = np.clip((np.arange(side) + 0.5) * cells / side - 0.5, 0, cells - 1)
        return np.maximum(1 - np.abs(place[:, None] - np.arange(cells)), 0)

    return weights(maps.shape[1]) @ maps @ weights(maps.shape[2]).T


def randomise_layers(model: keras.Model, shares: Iterable[float], seed: int) -> Iterator[keras.Model]:
    """A network with new random weights in its last layers, for each share of its layers with weights.

    This is the cascading randomisation of Adebayo et al. (NeurIPS 2018). All yielded networks are the same object with
    other weights, so use each before you ask for the next.
    """
    set_seed(seed)
    copy = keras.models.clone_model(model)
    first = model.layers.index(rescaling(model))
    learnt = [layer.name for layer in model.layers[first:] if layer.weights]
    new = {name: copy.get_layer(name).get_weights() for name in learnt}
    for share in shares:
        trained = learnt[: len(learnt) - round(share * len(learnt))]
        for name in learnt:
            copy.get_layer(name).set_weights(model.get_layer(name).get_weights() if name in trained else new[name])
        yield copy
