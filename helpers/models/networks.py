"""The networks of the study: Keras models that include their augmentation and scaling.

Models are flat: first convolutions, then layers named `head_…`. So a backbone can be frozen, cut off or explained.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
from keras import layers

from helpers.models.augmentation import augment
from helpers.models.head import Common, Lstm, head
from helpers.models.mobilenet import BATCH_NORM_MOMENTUM, Backbone, mobilenet, weights_file
from helpers.records import file_sha256
from helpers.study import StudyError, check_choice

KINDS = {"cnn": "CNN", "cnn_lstm": "CNN-LSTM", "mobilenet": "MobileNet"}


@dataclass(frozen=True)
class Convolutions:
    """The blocks of a CNN.

    filters: width of each block; depth: convolutions in each block after the first (the first block has one, because at
    full resolution a second one costs most and helps least); stride: of the first convolution.
    """

    filters: Sequence[int]
    depth: int = 1
    stride: int = 1


def cnn(common: Common, convolutions: Convolutions, lstm: Lstm | None = None) -> keras.Model:
    """A convolutional network: images uint8 [n, side, side, 3] to probabilities float32 [n, classes].

    lstm: reads the map of the last block; without it the map is averaged. Raises StudyError if images are too small.
    """
    check_side(common.side, convolutions)
    images = keras.Input((common.side, common.side, 3), dtype="uint8", name="image")
    features = augment(images, common.augmentation, common.seed)
    features = layers.Rescaling(1 / 127.5, offset=-1, name="rescaling")(features)
    for block, filters in enumerate(convolutions.filters):
        if block > 0:
            features = layers.MaxPooling2D(name=f"pool_{block}")(features)
        for number in range(convolutions.depth if block > 0 else 1):
            place, strides = f"{block}_{number}", convolutions.stride if block == number == 0 else 1
            convolution = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False, name=f"conv2d_{place}")
            norm = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name=f"norm_{place}")
            features = layers.ReLU(name=f"relu_{place}")(norm(convolution(features)))
    return keras.Model(images, head(features, common, lstm), name="cnn_lstm" if lstm else "cnn")


def check_side(side: int, convolutions: Convolutions) -> None:
    """Raise StudyError if images of this side are too small for the number of blocks."""
    blocks, stride = len(convolutions.filters), convolutions.stride
    if side < (least := stride * 2 ** (blocks - 1)):
        raise StudyError(f"{blocks} blocks at stride {stride} need images of {least} px or more; side is {side}.")


def build_network(kind: str, parameters: Mapping, classes: int) -> keras.Model:
    """Build a network of KINDS from the parameters of a run, named as in the notebooks.

    Raises StudyError for another kind.
    """
    check_choice("network", kind, KINDS)
    p = parameters
    dense = () if kind == "mobilenet" else (p["dense_units"],)
    common = Common(p["side"], classes, dense, p["augmentation"], p["dropout"], p["seed"])
    if kind == "mobilenet":
        return mobilenet(common, Backbone(p["alpha"], p["pretrained"]))
    convolutions = Convolutions(p["filters"], p["depth"], p["stride"])
    if kind == "cnn":
        return cnn(common, convolutions)
    lstm = Lstm(p["reading"], p["lstm_units"], seed=p["seed"])
    return cnn(common, convolutions, lstm)


def pretrained_sha256(kind: str, parameters: Mapping) -> str | None:
    """SHA-256 of the pretrained weights that a network of KINDS starts from, or None without pretraining."""
    p = parameters
    if kind != "mobilenet" or p["pretrained"] == "none":
        return None
    return file_sha256(weights_file(Backbone(p["alpha"], p["pretrained"])))
