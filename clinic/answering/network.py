"""The network of a deployment, which gives logits batch by batch."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from helpers.study import StudyError

if TYPE_CHECKING:
    import keras

# Images per batch. There are only two sizes, since each new size is compiled. The small one is for the last few images:
# filling them up to a large batch would waste most of it.
BATCH, SMALL_BATCH = 128, 16

Logits = Callable[[np.ndarray], np.ndarray]  # images uint8 [n, side, side, 3] to float64 [n, classes]


class Network:
    """A model of the study as `Logits`, with the fastest kernels available.

    Raises StudyError if its last layer is not that of the networks in `models`.
    """

    def __init__(self, model: "keras.Model"):
        import keras

        from helpers.training.compiled import SharedNetwork
        from helpers.training.features import logit_weights

        try:
            network = SharedNetwork(model).network
            network.set_weights(model.get_weights())
            self._backbone = keras.Model(network.inputs, network.get_layer("head_softmax").input)
            self._kernel, self._bias = logit_weights(network)
        except (ValueError, AttributeError) as error:
            raise StudyError(
                "The model has no dense layer head_softmax to take logits from. Choose a model of this study."
            ) from error

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Logits float64 [n, classes] of images uint8 [n, side, side, 3]."""
        blocks, start = [], 0
        while start < len(images):
            size = BATCH if len(images) - start > BATCH - SMALL_BATCH else SMALL_BATCH
            blocks.append(self._batch(images[start : start + size], size))
            start += size
        return np.concatenate(blocks)

    def _batch(self, images: np.ndarray, size: int) -> np.ndarray:
        # Not `predict`: for a single batch, its overhead takes longer than the network.
        features = self._backbone.predict_on_batch(np.resize(images, (size, *images.shape[1:])))[: len(images)]
        return np.float64(features) @ self._kernel + self._bias
