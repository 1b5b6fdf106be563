"""The network of a deployment, asked for logits batch by batch."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from helpers.study import StudyError

if TYPE_CHECKING:
    import keras

# Images at a time; fewer where each is also kept to be shown. No others: each further size is compiled anew.
BATCH, BATCH_SHOWN = 128, 16

Logits = Callable[[np.ndarray], np.ndarray]  # images uint8 [n, side, side, 3] to float64 [n, classes]


class Network:
    """A model of the study as the clinic asks it: for its logits, batch by batch, by the fastest kernels there are.

    Raises StudyError for a network without the last layer of those of `models`.
    """

    def __init__(self, model: "keras.Model"):
        import keras

        from helpers.training.compiled import SharedNetwork
        from helpers.training.features import logit_weights

        try:
            own = SharedNetwork(model).network
            own.set_weights(model.get_weights())
            self._backbone = keras.Model(own.inputs, own.get_layer("head_softmax").input)
            self._kernel, self._bias = logit_weights(own)
        except (ValueError, AttributeError) as error:
            raise StudyError(
                "The model has no dense layer head_softmax to take logits from, as the study's do."
            ) from error

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Logits float64 [n, classes] of images uint8 [n, side, side, 3]."""
        blocks, start = [], 0
        while start < len(images):
            # The rest goes in small batches: filled up to a large one, most of that would be predicted for nothing.
            size = BATCH if len(images) - start > BATCH - BATCH_SHOWN else BATCH_SHOWN
            blocks.append(self._batch(images[start : start + size], size))
            start += size
        return np.concatenate(blocks)

    def _batch(self, images: np.ndarray, size: int) -> np.ndarray:
        # Not `predict`: for a batch at a time, most of what it does takes longer than the network.
        seen = self._backbone.predict_on_batch(np.resize(images, (size, *images.shape[1:])))[: len(images)]
        return np.float64(seen) @ self._kernel + self._bias
