"""Grad-CAM of an answer, as every output shows it: a number from 0 to 1 for each pixel."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from PIL import Image

from clinic.reading.pictures import Picture
from helpers.study import StudyError

if TYPE_CHECKING:
    import keras

# From a model and images uint8 [n, side, side, 3] to maps float32 [n, side, side] in 0 to 1.
Map = Callable[["keras.Model", np.ndarray], np.ndarray]
COLOURS, STRENGTH = "inferno", 0.6
CELLS = 7  # a side that the map of the network has at least, so that one sees more than a quarter of the image


def grad_cam(model: "keras.Model", images: np.ndarray) -> np.ndarray:
    """Grad-CAM (Selvaraju et al., ICCV 2017) of the class that the model answers, as a `Map`.

    The highest cell of each map is 1, whatever it is worth: a map says where, not how much. Raises StudyError for a
    network without a feature map of CELLS cells a side.
    """
    from helpers.explanation.maps import grad_cam as explain
    from helpers.explanation.maps import resized

    classes = np.asarray(model.predict_on_batch(images)).argmax(axis=1)
    maps = resized(explain(model, images, classes, CELLS), images.shape[1])
    highest = maps.max(axis=(1, 2), keepdims=True)
    return np.float32(maps / np.where(highest > 0, highest, 1))


def laid_over(draw_map: Map, model: "keras.Model", pictures: Sequence[Picture]) -> list[np.ndarray | None]:
    """Each picture's preview with the map laid over it; None for all where the network cannot be asked for maps."""
    try:
        drawn = draw_map(model, np.stack([picture.square for picture in pictures]))
    except StudyError:
        return [None] * len(pictures)
    return [overlay(picture.preview, cells) for picture, cells in zip(pictures, drawn, strict=True)]


def overlay(preview: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """An image uint8 [p, p, 3] with a map float [side, side] laid over it, stronger where it is higher: uint8 alike."""
    side = preview.shape[0]
    large = np.asarray(Image.fromarray(np.float32(cells)).resize((side, side), Image.Resampling.BILINEAR))
    colour = 255 * colormaps[COLOURS](large)[..., :3]
    share = STRENGTH * large[..., None]
    return np.clip(np.rint((1 - share) * preview + share * colour), 0, 255).astype(np.uint8)
