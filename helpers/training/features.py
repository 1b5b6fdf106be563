"""Features and logits of images, computed by a trained network."""

import keras
import numpy as np
from sklearn.neighbors import NearestNeighbors

from helpers.data.samples import Samples
from helpers.training.batches import predict_batches
from helpers.training.predict import BLOCK


def logits(model: keras.Model, samples: Samples) -> np.ndarray:
    """The logits of images, float64 [n, classes]: the input of the softmax of a network of `models`."""
    kernel, bias = logit_weights(model)
    return features(model, samples, before="head_softmax") @ kernel + bias


def features(model: keras.Model, samples: Samples, before: str = "head_dropout") -> np.ndarray:
    """The feature vector of each image, float32 [n, d]: the input of a layer of a network of `models`.

    before: how the layer's name begins; the first such layer is taken, by default the first dropout of the head.
    """
    layer = next(layer for layer in model.layers if layer.name.startswith(before))
    backbone = keras.Model(model.inputs, layer.input)
    blocks = (samples.pixels[samples.rows[start : start + BLOCK]] for start in range(0, len(samples), BLOCK))
    return np.concatenate([np.float32(predict_batches(backbone, block)) for block in blocks])


def nearest_images(model: keras.Model, known: Samples, asked: Samples) -> np.ndarray:
    """For each of the `asked` images, the place of the `known` image whose features are nearest, int [n]."""
    index = NearestNeighbors(n_neighbors=1).fit(features(model, known))
    return index.kneighbors(features(model, asked), return_distance=False)[:, 0]


def logit_weights(model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """Kernel float64 [d, classes] and bias float64 [classes] of the layer that computes a network's logits.

    Raises ValueError for a network without the layer `head_softmax`.
    """
    weights = model.get_layer("head_softmax").weights
    return tuple(np.float64(keras.ops.convert_to_numpy(weight)) for weight in weights)
