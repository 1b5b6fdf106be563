"""Grad-CAM maps of the answers of a network: a number from 0 to 1 for each pixel."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras

# From images uint8 [n, side, side, 3] to maps float32 [n, side, side]. Raises StudyError for a network without maps.
Maps = Callable[[np.ndarray], np.ndarray]
CELLS = 7  # per side of a feature map, at least: fewer are too coarse to point at a part of a lesion


def grad_cam(model: "keras.Model", images: np.ndarray) -> np.ndarray:
    """Grad-CAM (Selvaraju et al., ICCV 2017) for the class that the model answers; with the model bound, a `Maps`.

    Each map is divided by its highest value, so it shows where the evidence is, not how strong it is. Raises StudyError
    for a network without a feature map of CELLS cells per side.
    """
    from helpers.explanation.maps import grad_cam as explain
    from helpers.explanation.maps import resize

    classes = np.asarray(model.predict_on_batch(images)).argmax(axis=1)
    maps = resize(explain(model, images, classes, cells=CELLS), images.shape[1])
    highest = maps.max(axis=(1, 2), keepdims=True)
    return np.float32(maps / np.where(highest > 0, highest, 1))
