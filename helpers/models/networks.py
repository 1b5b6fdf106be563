"""The networks of the study: Keras models that take uint8 images and hold their augmentation and scaling themselves.

Each is flat, a backbone of convolutions and then layers named `head_…`, so that a backbone can be frozen, cut or explained.
"""

from collections.abc import Callable
from functools import partial

import keras
from keras import layers

from helpers.models.augmentation import augment
from helpers.models.pretrained import weights_file
from helpers.study import StudyError

BATCH_NORMS = ("adapt", "frozen")
BATCH_NORM_MOMENTUM = 0.9  # Keras keeps 0.99 of the moving averages a step: too slow for the few steps of a small study
APPLICATIONS = {1: keras.applications.MobileNet, 2: keras.applications.MobileNetV2}


def classifier(
    side: int,
    classes: int,
    backbone: Callable,
    neck: Callable,
    dense: list[int],
    dropout: float,
    augmentation: list[str] | dict[str, float],
    seed: int,
    name: str,
) -> keras.Model:
    """A network put together from its parts: uint8 [n, side, side, 3] to probabilities float32 [n, classes].

    backbone: from augmented images, in 0 to 255, to a feature map; neck: from the map to a vector, such as `pool` or
    `read_as_sequence`; dense: widths of the layers between that and softmax. There is dropout before each layer.
    """
    images = keras.Input((side, side, 3), dtype="uint8", name="image")
    features = neck(backbone(augment(images, augmentation, seed)))
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
    """The plain convolutional network of the study: `cnn_backbone`, average pooling, a dense layer, softmax."""
    backbone = partial(cnn_backbone, filters=filters, depth=depth, stride=stride)
    return classifier(side, classes, backbone, pool, [dense_units], dropout, augmentation, seed, "cnn")


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
    """`mobilenet_backbone`, average pooling, softmax."""
    backbone = partial(mobilenet_backbone, version=version, alpha=alpha, pretrained=pretrained)
    return classifier(side, classes, backbone, pool, [], dropout, augmentation, seed, "mobilenet")


def pool(features):
    """The mean of each channel of a feature map: [n, h, w, c] to [n, c]."""
    return layers.GlobalAveragePooling2D(name="head_pool")(features)


def cnn_backbone(images, filters: list[int], depth: int, stride: int = 1):
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


def mobilenet_backbone(images, version: int, alpha: float, pretrained: str, last: str = ""):
    """The backbone of a MobileNet, layer by layer on images in 0 to 255, to a feature map of 1/32 of their side.

    The map is normalised by the batch once more, in a layer of the head: what a backbone that was trained on other images
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


def set_trainable(model: keras.Model, start: str, batch_norm: str) -> None:
    """Let the layers from `start` on learn, and keep those before it as they are.

    start: `all`, `head` or the name of a layer. batch_norm: `adapt`, or `frozen`: then the batch normalisations of the
    backbone keep the statistics and scales that they came with, as is usual when a pretrained backbone meets few images.
    Raises StudyError if there is no such layer.
    """
    check_choice("batch_norm", batch_norm, BATCH_NORMS)
    names = [layer.name for layer in model.layers]
    head = next(name for name in names if name.startswith("head_"))
    first = {"all": names[0], "head": head}.get(start, start)
    if first not in names:
        near = ", ".join(name for name in names if name.startswith(("conv_pw", "block", "conv2d")))
        raise StudyError(f"There is no layer {start!r} to train from: choose all, head, or a layer such as {near}.")
    for position, layer in enumerate(model.layers):
        kept = batch_norm == "frozen" and isinstance(layer, layers.BatchNormalization) and position < names.index(head)
        layer.trainable = position >= names.index(first) and not kept


def check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise StudyError(f"{name} {value!r}: choose one of {', '.join(known)}.")
