"""Training on smaller images than those that a network is for, which is faster."""

from collections.abc import Mapping

import keras
import numpy as np

from helpers.data.samples import Samples
from helpers.study import StudyError

CHUNK = 256  # images that are averaged at a time


def shrink(model: keras.Model, samples: Mapping[str, Samples], factor: int) -> tuple[keras.Model, dict[str, Samples]]:
    """The model and the parts for images of 1 / `factor` of their width; a factor of 1 returns both unchanged."""
    if factor == 1:
        return model, dict(samples)
    arrays = {id(part.pixels): part.pixels for part in samples.values()}  # most parts share one
    small = {key: shrink_images(pixels, factor) for key, pixels in arrays.items()}
    parts = {name: Samples(small[id(part.pixels)], part.rows, part.labels) for name, part in samples.items()}
    return resize_model(model, model.inputs[0].shape[1] // factor), parts


def resize_model(model: keras.Model, side: int) -> keras.Model:
    """A network with the layers and values of `model`, for images uint8 [n, side, side, 3].

    The shapes of its variables must not depend on the size of the images.
    """
    image = keras.Input((side, side, 3), dtype="uint8", name=model.inputs[0].name)
    small = keras.models.clone_model(model, input_tensors=image)
    for twin, variable in zip(small.variables, model.variables, strict=True):
        twin.assign(variable)
    return small


def shrink_images(pixels: np.ndarray, factor: int) -> np.ndarray:
    """Images uint8 [n, side, side, 3] with each square of `factor` x `factor` pixels replaced by its mean.

    Raises StudyError if `factor` does not divide the side.
    """
    count, side = pixels.shape[:2]
    if side % factor:
        raise StudyError(f"Images {side} pixels wide cannot be shrunk to 1/{factor}: {factor} must divide their side.")
    small = np.empty((count, side // factor, side // factor, 3), np.uint8)
    for first in range(0, count, CHUNK):
        squares = pixels[first : first + CHUNK].reshape(-1, side // factor, factor, side // factor, factor, 3)
        small[first : first + CHUNK] = np.rint(squares.mean(axis=(2, 4), dtype=np.float32))
    return small
