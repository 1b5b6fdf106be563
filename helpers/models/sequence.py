"""Reading a feature map as a sequence, for an LSTM."""

import keras
import numpy as np
from keras import layers, ops

from helpers.models.networks import check_choice

READINGS = ("rows", "columns", "raster", "snake")
ORDERS = ("natural", "fixed", "fresh")


@keras.saving.register_keras_serializable(package="skin")
class MapToSequence(layers.Layer):
    """Reads a feature map [n, height, width, channels] as a sequence [n, steps, features].

    reading: `rows` or `columns`, a step a row or column, its cells side by side; `raster`, a step a cell, row by row;
    `snake`, the same with every second row backwards, so that steps that follow each other are neighbours.
    order: `natural`; `fixed`, one permutation of the steps drawn with `seed`; or `fresh`, another one for each training
    batch and the natural order at inference, which is one order among those that it was trained for.
    """

    def __init__(self, reading: str = "rows", order: str = "natural", seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        check_choice("reading", reading, READINGS)
        check_choice("order", order, ORDERS)
        self.reading, self.order, self.seed = reading, order, seed
        self.generator = keras.random.SeedGenerator(seed)

    def build(self, shape):
        steps = self._steps(shape)
        if self.order == "fixed":  # by NumPy, and a weight: the same under every backend, and in a saved model
            drawn = np.random.default_rng(self.seed).permutation(steps)
            self.permutation = self.add_weight((steps,), lambda *_, **__: drawn, "int32", trainable=False)

    def call(self, features, training=False):
        sequence = self._read(features)
        if self.order == "natural" or (self.order == "fresh" and not training):
            return sequence
        if self.order == "fixed":
            permutation = self.permutation
        else:
            permutation = keras.random.shuffle(ops.arange(sequence.shape[1]), seed=self.generator)
        return ops.take(sequence, permutation, axis=1)

    def _steps(self, shape) -> int:
        _, height, width, _ = shape
        return {"rows": height, "columns": width}.get(self.reading, height * width)

    def _read(self, features):
        _, height, width, channels = features.shape
        steps = self._steps(features.shape)
        if self.reading == "columns":
            features = ops.transpose(features, (0, 2, 1, 3))
        if self.reading == "snake":
            backwards = ops.reshape(ops.arange(height) % 2 == 1, (1, height, 1, 1))
            features = ops.where(backwards, ops.flip(features, axis=2), features)
        return ops.reshape(features, (-1, steps, height * width * channels // steps))

    def get_config(self):
        return {**super().get_config(), "reading": self.reading, "order": self.order, "seed": self.seed}


def read_as_sequence(
    features,
    reading: str,
    lstm_units: int,
    lstm_layers: int = 1,
    bidirectional: bool = False,
    order: str = "natural",
    seed: int = 0,
):
    """What LSTM layers make of a feature map [n, h, w, c] read as a sequence (see MapToSequence): [n, units].

    The layers keep to the defaults for which the backends have fused kernels (cuDNN).
    """
    sequence = MapToSequence(reading, order, seed, name="head_sequence")(features)
    for number in range(lstm_layers):
        lstm = layers.LSTM(lstm_units, return_sequences=number < lstm_layers - 1, name=f"head_lstm_{number + 1}")
        lstm = layers.Bidirectional(lstm, name=f"head_bidirectional_{number + 1}") if bidirectional else lstm
        sequence = lstm(sequence)
    return sequence
