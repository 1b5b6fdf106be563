"""The networks of the study: Keras models that take uint8 images and hold their augmentation and scaling themselves.

Each is flat, a trunk of convolutions and then layers named `head_…`, so that a trunk can be frozen, cut or explained.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from helpers.augmentation import augment
from helpers.study import ROOT, StudyError, file_sha256

READINGS = ("rows", "columns", "raster", "snake")
ORDERS = ("natural", "fixed", "fresh")
BATCH_NORMS = ("adapt", "frozen")
BATCH_NORM_MOMENTUM = 0.9  # Keras keeps 0.99 of the moving averages a step: too slow for the few steps of a small study
APPLICATIONS = {1: keras.applications.MobileNet, 2: keras.applications.MobileNetV2}
# Where Keras keeps the ImageNet weights of each version and alpha; it gives no path to them, and the record needs one.
V1 = "mobilenet/mobilenet_{}_224_tf_no_top.h5"
V2 = "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{}_224_no_top.h5"
DOWNLOADS = {
    1: {alpha: V1.format(text) for alpha, text in ((1.0, "1_0"), (0.75, "7_5"), (0.5, "5_0"), (0.25, "2_5"))},
    2: {alpha: V2.format(alpha) for alpha in (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)},
}


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
        _choose("reading", reading, READINGS)
        _choose("order", order, ORDERS)
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


def classifier(
    side: int,
    classes: int,
    trunk: Callable,
    neck: Callable,
    dense: list[int],
    dropout: float,
    augmentation: list[str] | dict[str, float],
    seed: int,
    name: str,
) -> keras.Model:
    """A network put together from its parts: uint8 [n, side, side, 3] to probabilities float32 [n, classes].

    trunk: from augmented images, in 0 to 255, to a feature map; neck: from the map to a vector, such as `pool` or
    `read_as_sequence`; dense: widths of the layers between that and softmax. There is dropout before each layer.
    """
    images = keras.Input((side, side, 3), dtype="uint8", name="image")
    features = neck(trunk(augment(images, augmentation, seed)))
    for number, units in enumerate(dense):
        features = layers.Dropout(dropout, seed=seed + number, name=f"head_dropout_{number + 1}")(features)
        features = layers.Dense(units, activation="relu", name=f"head_dense_{number + 1}")(features)
    features = layers.Dropout(dropout, seed=seed + len(dense), name="head_dropout")(features)
    # Softmax in float32 whatever the precision policy: rounded probabilities would not sum to one.
    answer = layers.Dense(classes, activation="softmax", dtype="float32", name="head_softmax")(features)
    return keras.Model(images, answer, name=name)


def cnn(
    side: int,
    classes: int,
    filters: list[int],
    depth: int = 1,
    stride: int = 1,
    dense_units: int = 128,
    dropout: float = 0.4,
    augmentation: list[str] | dict[str, float] | tuple[str, ...] = ("symmetries",),
    seed: int = 0,
) -> keras.Model:
    """The plain convolutional network of the study: `convolution_trunk`, average pooling, a dense layer, softmax."""
    trunk = partial(convolution_trunk, filters=filters, depth=depth, stride=stride)
    return classifier(side, classes, trunk, pool, [dense_units], dropout, augmentation, seed, "cnn")


def mobilenet(
    side: int,
    classes: int,
    version: int = 1,
    alpha: float = 1.0,
    pretrained: str = "none",
    dropout: float = 0.3,
    augmentation: list[str] | dict[str, float] | tuple[str, ...] = ("symmetries",),
    seed: int = 0,
) -> keras.Model:
    """`mobilenet_trunk`, average pooling, softmax."""
    trunk = partial(mobilenet_trunk, version=version, alpha=alpha, pretrained=pretrained)
    return classifier(side, classes, trunk, pool, [], dropout, augmentation, seed, "mobilenet")


def pool(features):
    """The mean of each channel of a feature map: [n, h, w, c] to [n, c]."""
    return layers.GlobalAveragePooling2D(name="head_pool")(features)


def convolution_trunk(images, filters: list[int], depth: int, stride: int = 1):
    """Blocks of 3 x 3 convolutions with a 2 x 2 max pooling between them, from images in 0 to 255 to a feature map.

    filters: width of each block; depth: convolutions a block, from the second on (at full resolution a second one costs
    the most and brings the least); stride: of the first convolution. Raises StudyError if the images are too small.
    """
    side, least = images.shape[1], stride * 2 ** (len(filters) - 1)
    if side < least:
        raise StudyError(f"{len(filters)} blocks at stride {stride} need images of {least} px or more; side is {side}.")
    features = layers.Rescaling(1 / 127.5, offset=-1)(images)
    for block, width in enumerate(filters):
        features = layers.MaxPooling2D()(features) if block else features
        for number in range(depth if block else 1):
            strides = stride if block == number == 0 else 1
            features = layers.Conv2D(width, 3, strides, padding="same", use_bias=False)(features)
            features = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(features)
            features = layers.ReLU()(features)
    return features


def mobilenet_trunk(images, version: int, alpha: float, pretrained: str, last: str = ""):
    """The trunk of a MobileNet, layer by layer on images in 0 to 255, to a feature map of 1/32 of their side.

    The map is normalised by the batch once more, in a layer of the head: what a trunk that was trained on other images
    says of these differs little from image to image, and a head learns from that only very slowly.

    version: 1 (Howard et al. 2017) or 2 (Sandler et al., CVPR 2018); alpha: its width, as a multiple of the published;
    pretrained: `none`, `imagenet` (see `weights_file`) or the path of a weight file; last: name of the layer whose map
    is given, by default the last one. Raises StudyError if the file is missing or does not fit `version` and `alpha`,
    or if there is no layer `last`.
    """
    if version not in APPLICATIONS:
        raise StudyError(f"version is {version}; choose 1 or 2.")
    application, shape = APPLICATIONS[version], images.shape[1:]
    flat = application(
        input_tensor=layers.Rescaling(1 / 127.5, offset=-1)(images), alpha=alpha, include_top=False, weights=None
    )
    for layer in flat.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = BATCH_NORM_MOMENTUM
    if pretrained != "none":
        file = weights_file(version, alpha, pretrained)
        try:
            donor = application(input_shape=shape, alpha=alpha, include_top=False, weights=str(file))
        except (ValueError, OSError, KeyError) as error:
            wanted = f"MobileNet version {version} with alpha {alpha}"
            raise StudyError(f"{file}: not weights of {wanted} without its top ({error}).") from error
        for layer in donor.layers:
            if layer.weights:
                flat.get_layer(layer.name).set_weights(layer.get_weights())
    if last and last not in [layer.name for layer in flat.layers]:
        raise StudyError(
            f"MobileNet version {version} has no layer {last!r}; version 1 has conv_pw_11_relu and its like."
        )
    features = flat.get_layer(last).output if last else flat.output
    return layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name="head_norm")(features)


def weights_file(version: int, alpha: float, pretrained: str) -> Path:
    """The file that pretrained weights come from: the one named, or for `imagenet` the one that Keras downloads.

    A machine without network names by the environment variable PRETRAINED_DIR a folder that holds the ImageNet weights
    as `mobilenet_<alpha>_224_no_top.weights.h5` (`mobilenet_v2_<alpha>_…`). Raises StudyError if there is no file.
    """
    folder = os.environ.get("PRETRAINED_DIR")
    if pretrained != "imagenet":
        file = Path(pretrained).expanduser()
        file = file if file.is_absolute() else ROOT / file
    elif folder:
        file = Path(folder) / f"mobilenet_{'v2_' if version == 2 else ''}{float(alpha)}_224_no_top.weights.h5"
    else:
        return _downloaded(version, alpha)
    if not file.is_file():
        raise StudyError(f"{file}: no such weight file. `pretrained` is none, imagenet or the path of a file.")
    return file


def weights_sha256(version: int, alpha: float, pretrained: str) -> str | None:
    """SHA-256 of the file that pretrained weights come from, for the record; None without pretraining."""
    return None if pretrained == "none" else file_sha256(weights_file(version, alpha, pretrained))


def _downloaded(version: int, alpha: float) -> Path:
    """Keras' own copy of the ImageNet weights, fetched at the first use."""
    if alpha not in DOWNLOADS[version]:
        raise StudyError(f"alpha is {alpha}; there are ImageNet weights for {', '.join(map(str, DOWNLOADS[version]))}.")
    address = f"https://storage.googleapis.com/tensorflow/keras-applications/{DOWNLOADS[version][alpha]}"
    try:
        return Path(keras.utils.get_file(address.rpartition("/")[2], address, cache_subdir="models"))
    except Exception as error:  # whatever the network or its proxy does
        remedy = "Without network: name a file by `pretrained`, or a folder of them by PRETRAINED_DIR"
        raise StudyError(f"The ImageNet weights could not be fetched from {address} ({error}). {remedy}.") from error


def set_trainable(model: keras.Model, start: str, batch_norm: str) -> None:
    """Let the layers from `start` on learn, and keep those before it as they are.

    start: `all`, `head` or the name of a layer. batch_norm: `adapt`, or `frozen`: then the batch normalisations of the
    trunk keep the statistics and scales that they came with, as is usual when a pretrained trunk meets few images.
    Raises StudyError if there is no such layer.
    """
    _choose("batch_norm", batch_norm, BATCH_NORMS)
    names = [layer.name for layer in model.layers]
    head = next(name for name in names if name.startswith("head_"))
    first = {"all": names[0], "head": head}.get(start, start)
    if first not in names:
        near = ", ".join(name for name in names if name.startswith(("conv_pw", "block", "conv2d")))
        raise StudyError(f"There is no layer {start!r} to train from: choose all, head, or a layer such as {near}.")
    for position, layer in enumerate(model.layers):
        kept = batch_norm == "frozen" and isinstance(layer, layers.BatchNormalization) and position < names.index(head)
        layer.trainable = position >= names.index(first) and not kept


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


def _choose(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise StudyError(f"{name} {value!r}: choose one of {', '.join(known)}.")
