"""The network of a deployment, which gives logits and features batch by batch.

Only this module and `deployment.load` know of Keras: everything else takes a `Predict`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from helpers.study import StudyError

if TYPE_CHECKING:
    import keras

# Images per batch. There are only two sizes, since each new size is compiled. The small one is for the last few images:
# filling them up to a large batch would waste most of it.
BATCH, SMALL_BATCH = 128, 16


class Prediction(NamedTuple):
    """What a network says of n images: logits float64 [n, classes] and features float32 [n, d]."""

    logits: np.ndarray
    features: np.ndarray


Predict = Callable[[np.ndarray], Prediction]  # of images uint8 [n, side, side, 3]


class Network:
    """A model of the study as a `Predict`, with the fastest kernels available.

    Raises StudyError if its layers are not those of the networks in `models`.
    """

    def __init__(self, model: "keras.Model"):
        import keras

        from helpers.training.compiled import SharedNetwork
        from helpers.training.features import logit_weights, middle_layer

        try:
            network = SharedNetwork(model).network
            network.set_weights(model.get_weights())
            features = keras.ops.mean(network.get_layer(middle_layer(model)).output, axis=(1, 2))
            self._backbone = keras.Model(network.inputs, [network.get_layer("head_softmax").input, features])
            self._kernel, self._bias = logit_weights(network)
        except (ValueError, AttributeError) as error:
            raise StudyError(
                "The model has no dense layer head_softmax to take logits from. Choose a model of this study."
            ) from error

    def __call__(self, images: np.ndarray) -> Prediction:
        """The logits and features of images uint8 [n, side, side, 3]."""
        blocks, start = [], 0
        while start < len(images):
            size = BATCH if len(images) - start > BATCH - SMALL_BATCH else SMALL_BATCH
            blocks.append(self._batch(images[start : start + size], size))
            start += size
        return Prediction(*map(np.concatenate, zip(*blocks, strict=True)))

    def _batch(self, images: np.ndarray, size: int) -> Prediction:
        # Not `predict`: for a single batch, its overhead takes longer than the network.
        found = self._backbone.predict_on_batch(np.resize(images, (size, *images.shape[1:])))
        last, features = (values[: len(images)] for values in found)
        return Prediction(np.float64(last) @ self._kernel + self._bias, np.float32(features))
