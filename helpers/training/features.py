"""Features and logits of images, computed by a trained network."""

import keras
import numpy as np
from sklearn.neighbors import NearestNeighbors

from helpers.data.samples import Samples
from helpers.study import StudyError
from helpers.training.batches import predict_batches
from helpers.training.predict import BLOCK

REDUCTION = 16  # pixels of an image's side per cell of the map in the middle of a network


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


def middle_layer(model: keras.Model) -> str:
    """The name of the layer in the middle of a network: the first ReLU with a cell for REDUCTION pixels.

    In a network that shrinks its maps less, it is the last one. What its mean activations describe, colours and
    textures, tells other images from those that a network learnt from. Raises StudyError for a network without a map.
    """
    maps = [one for one in model.layers if isinstance(one, keras.layers.ReLU) and len(one.output.shape) == 4]
    if not maps:
        raise StudyError(f"{model.name}: no map of features after a ReLU. Choose a model of this study.")
    return next((one for one in maps if one.output.shape[1] * REDUCTION <= model.input_shape[1]), maps[-1]).name
