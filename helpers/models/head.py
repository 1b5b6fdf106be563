"""From a feature map to probabilities: mean or LSTM, then dense layers and softmax."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops

from helpers.study import check_choice

READINGS = ("rows", "columns", "raster", "snake")
ORDERS = ("natural", "fixed", "fresh")


@dataclass(frozen=True)
class Common:
    """Settings that all networks of the study share.

    side: width and height of the images, pixels; classes: their number; dense: widths of the layers before softmax;
    augmentation: see `augment`; dropout: rate before each dense layer and softmax; seed: of augmentation and dropout.
    """

    side: int
    classes: int
    dense: Sequence[int] = ()
    augmentation: Sequence[str] | Mapping[str, float] = ("symmetries",)
    dropout: float = 0.3
    seed: int = 0


@dataclass(frozen=True)
class Lstm:
    """How an LSTM reads a feature map.

    reading, order, seed: see `MapToSequence`; units: width of the LSTM.
    """

    reading: str = "rows"
    units: int = 64
    order: str = "natural"
    seed: int = 0


def head(features, common: Common, lstm: Lstm | None = None):
    """Probabilities float32 [n, classes] from a feature map [n, height, width, channels].

    Without an `lstm`, the map is averaged per channel. Dropout comes before each dense layer.
    """
    if lstm is None:
        features = layers.GlobalAveragePooling2D(name="head_pool")(features)
    else:
        features = read_by_lstm(features, lstm)
    for number, units in enumerate(common.dense):
        dropout = layers.Dropout(common.dropout, seed=common.seed + number, name=f"head_dropout_{number + 1}")
        features = layers.Dense(units, activation="relu", name=f"head_dense_{number + 1}")(dropout(features))
    features = layers.Dropout(common.dropout, seed=common.seed + len(common.dense), name="head_dropout")(features)
    # Softmax is always in float32, because rounded probabilities would not sum to one.
    return layers.Dense(common.classes, activation="softmax", dtype="float32", name="head_softmax")(features)


def read_by_lstm(features, lstm: Lstm):
    """The output [n, units] of an LSTM that reads a feature map [n, height, width, channels] step by step.

    All options except the width are Keras' defaults, for which the backends have fused kernels (cuDNN).
    """
    sequence = MapToSequence(lstm.reading, lstm.order, lstm.seed, name="head_sequence")(features)
    return layers.LSTM(lstm.units, name="head_lstm_1")(sequence)


@keras.saving.register_keras_serializable(package="skin")
class MapToSequence(layers.Layer):
    """Reads a feature map [n, height, width, channels] as a sequence [n, steps, features].

    reading: with `rows` or `columns` a step is a whole row or column, its cells concatenated. With `raster` a step is
    one cell, row by row. `snake` is `raster` with every second row reversed, so that consecutive steps are neighbours.
    order: `natural`; `fixed`, one permutation of the steps, drawn with `seed`; or `fresh`, a new permutation for each
    training batch and the natural order at inference. Raises StudyError for another reading or order.
    """

    def __init__(self, reading: str = "rows", order: str = "natural", seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        check_choice("reading", reading, READINGS)
        check_choice("order", order, ORDERS)
        self.reading, self.order, self.seed = reading, order, seed
        self.generator = keras.random.SeedGenerator(seed)

    def build(self, shape):
        if self.order == "fixed":  # drawn by NumPy and saved as a weight, so it is the same everywhere
            steps = self.count_steps(shape)
            drawn = np.random.default_rng(self.seed).permutation(steps)
            self.permutation = self.add_weight((steps,), lambda *_, **__: drawn, "int32", trainable=False)

    def call(self, features, training=False):
        sequence = self.read(features)
        if self.order == "fixed":
            return ops.take(sequence, self.permutation, axis=1)
        if self.order == "fresh" and training:
            permutation = keras.random.shuffle(ops.arange(sequence.shape[1]), seed=self.generator)
            return ops.take(sequence, permutation, axis=1)
        return sequence

    def read(self, features):
        _, height, width, channels = features.shape
        steps = self.count_steps(features.shape)
        if self.reading == "columns":
            features = ops.transpose(features, (0, 2, 1, 3))
        if self.reading == "snake":
            backwards = ops.reshape(ops.arange(height) % 2 == 1, (1, height, 1, 1))
            features = ops.where(backwards, ops.flip(features, axis=2), features)
        return ops.reshape(features, (-1, steps, height * width * channels // steps))

    def count_steps(self, shape) -> int:
        _, height, width, _ = shape
        return {"rows": height, "columns": width}.get(self.reading, height * width)

    def get_config(self):
        return {**super().get_config(), "reading": self.reading, "order": self.order, "seed": self.seed}
