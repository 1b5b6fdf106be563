"""What a trained network sees in an image before it answers: the numbers that its last layers work with."""

import keras
import numpy as np

from helpers.images import gather
from helpers.training import BLOCK, Samples


def features(model: keras.Model, samples: Samples) -> np.ndarray:
    """The vector of each image that goes into the head of a network of `models`, float32 [n, d]."""
    head = next(layer for layer in model.layers if layer.name.startswith("head_dropout"))
    trunk = keras.Model(model.inputs, head.input)
    starts = range(0, len(samples), BLOCK)
    blocks = (gather(samples.pixels, samples.rows[start : start + BLOCK]) for start in starts)
    return np.concatenate([trunk.predict(block, verbose=0) for block in blocks])
