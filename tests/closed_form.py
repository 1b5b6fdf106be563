"""Class activation mapping, which Grad-CAM has to equal where a head only averages its map."""

import keras
import numpy as np
from keras import layers, ops

from helpers.explanation.gradients import Cut, cut_at
from helpers.explanation.maps import last_feature_map


def class_activation(model: keras.Model, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Each cell's share of a logit in the last map, computed without gradients: float32 [n, height, width], signed.

    This works if only dense layers follow the average over the map (Zhou et al., CVPR 2016). Of hidden layers with
    ReLU, only the units active for the image count. With one dense layer the map sums to the logit without its bias.
    """
    cut = cut_at(model, last_feature_map)
    dense = pooled_head(cut)
    values = cut.values(images)
    vector, gates = values.mean(axis=(1, 2)), []
    for kernel, bias, relu in dense[:-1]:
        vector = vector @ kernel + bias
        gates.append((vector > 0) | (not relu))
        vector = vector * gates[-1]
    weights = dense[-1][0].T[classes]
    for (kernel, _, _), gate in zip(dense[-2::-1], gates[::-1], strict=True):
        weights = (weights * gate) @ kernel.T
    return np.einsum("nhwc,nc->nhw", values, weights) / values[0, :, :, 0].size


def pooled_head(cut: Cut) -> list[tuple[np.ndarray, np.ndarray, bool]]:
    """For each dense layer after the average pooling: its kernel, its bias and whether it has a ReLU."""
    kept = [layer for layer in cut.after.layers if not isinstance(layer, layers.InputLayer | layers.Dropout)]
    dense, relu = [*kept[1:], cut.softmax], keras.activations.relu
    assert isinstance(kept[0], layers.GlobalAveragePooling2D)
    assert all(isinstance(layer, layers.Dense) for layer in dense)
    return [(*map(ops.convert_to_numpy, (layer.kernel, layer.bias)), layer.activation is relu) for layer in dense]
