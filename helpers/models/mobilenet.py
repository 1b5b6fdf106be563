"""MobileNet, layer by layer, and the files that its pretrained weights come from."""

import os
from dataclasses import dataclass
from pathlib import Path

import keras
from keras import layers

from helpers.models.augmentation import augment
from helpers.models.head import Common, Lstm, head
from helpers.study import ROOT, StudyError

BATCH_NORM_MOMENTUM = 0.9  # Keras' 0.99 lets the moving averages follow too slowly for the few steps of a small study
APPLICATIONS = {1: keras.applications.MobileNet, 2: keras.applications.MobileNetV2}
# Where Keras keeps the ImageNet weights of each version and alpha; it gives no path to them, and the record needs one.
V1 = "mobilenet/mobilenet_{}_224_tf_no_top.h5"
V2 = "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{}_224_no_top.h5"
DOWNLOADS = {
    1: {alpha: V1.format(text) for alpha, text in ((1.0, "1_0"), (0.75, "7_5"), (0.5, "5_0"), (0.25, "2_5"))},
    2: {alpha: V2.format(alpha) for alpha in (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)},
}


@dataclass(frozen=True)
class Backbone:
    """The convolutions of a MobileNet.

    version: 1 (Howard et al. 2017) or 2 (Sandler et al., CVPR 2018); alpha: width, as a multiple of the published one;
    pretrained: `none`, `imagenet` or the path of a weight file, see `weights_file`; map_layer: name of the layer that
    gives the feature map, by default the last one.
    """

    version: int = 1
    alpha: float = 1.0
    pretrained: str = "none"
    map_layer: str = ""

    def __post_init__(self):
        if self.version not in APPLICATIONS:
            raise StudyError(f"version is {self.version}; choose 1 or 2.")


def mobilenet(common: Common, backbone: Backbone, lstm: Lstm | None = None) -> keras.Model:
    """A MobileNet: images uint8 [n, side, side, 3] to probabilities float32 [n, classes].

    lstm: reads the feature map; without one the map is averaged.
    """
    images = keras.Input((common.side, common.side, 3), dtype="uint8", name="image")
    features = augment(images, common.augmentation, common.seed)
    features = mobilenet_backbone(features, backbone)
    return keras.Model(images, head(features, common, lstm), name="mobilenet_lstm" if lstm else "mobilenet")


def mobilenet_backbone(images, backbone: Backbone):
    """The feature map of a MobileNet, of 1/32 of the side of its images in 0 to 255 by default.

    The first layer of the head normalises the map by the batch. What a backbone that was trained on other images gives
    differs little from image to image, and a head would learn from that only very slowly.
    Raises StudyError if the weight file is missing or does not fit, or if there is no such `map_layer`.
    """
    scaled = layers.Rescaling(1 / 127.5, offset=-1)(images)
    application = APPLICATIONS[backbone.version]
    flat = application(input_tensor=scaled, alpha=backbone.alpha, include_top=False, weights=None)
    for layer in flat.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = BATCH_NORM_MOMENTUM
    if backbone.pretrained != "none":
        load_pretrained(flat, backbone, images.shape[1:])
    last = backbone.map_layer or flat.layers[-1].name
    if last not in [layer.name for layer in flat.layers]:
        known = "version 1 has conv_pw_11_relu and its like"
        raise StudyError(f"MobileNet version {backbone.version} has no layer {last!r}; {known}.")
    return layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name="head_norm")(flat.get_layer(last).output)


def load_pretrained(flat: keras.Model, backbone: Backbone, shape: tuple) -> None:
    """Give the layers of a backbone for images of this shape their pretrained weights.

    Raises StudyError if the file is missing or holds the weights of another network.
    """
    file, application = weights_file(backbone), APPLICATIONS[backbone.version]
    try:
        donor = application(input_shape=shape, alpha=backbone.alpha, include_top=False, weights=str(file))
    except (ValueError, OSError, KeyError) as error:
        wanted = f"MobileNet version {backbone.version} with alpha {backbone.alpha}"
        raise StudyError(f"{file}: not weights of {wanted} without its top ({error}).") from error
    for layer in donor.layers:
        if layer.weights:
            flat.get_layer(layer.name).set_weights(layer.get_weights())


def weights_file(backbone: Backbone) -> Path:
    """The file of a backbone's pretrained weights: the one it names, or for `imagenet` the one that Keras downloads.

    Without network, the environment variable PRETRAINED_DIR names a folder that holds the ImageNet weights as
    `mobilenet_<alpha>_224_no_top.weights.h5` (`mobilenet_v2_<alpha>_…`). Raises StudyError if there is no file.
    """
    folder = os.environ.get("PRETRAINED_DIR")
    if backbone.pretrained != "imagenet":
        file = ROOT / Path(backbone.pretrained).expanduser()
    elif folder:
        version = "v2_" if backbone.version == 2 else ""
        file = Path(folder) / f"mobilenet_{version}{float(backbone.alpha)}_224_no_top.weights.h5"
    else:
        return _download(backbone)
    if not file.is_file():
        raise StudyError(f"{file}: no such weight file. `pretrained` is none, imagenet or the path of a file.")
    return file


def _download(backbone: Backbone) -> Path:
    """Keras' copy of the ImageNet weights, fetched at the first use."""
    known = DOWNLOADS[backbone.version]
    if backbone.alpha not in known:
        raise StudyError(f"alpha is {backbone.alpha}; there are ImageNet weights for {', '.join(map(str, known))}.")
    address = f"https://storage.googleapis.com/tensorflow/keras-applications/{known[backbone.alpha]}"
    try:
        return Path(keras.utils.get_file(address.rpartition("/")[2], address, cache_subdir="models"))
    except Exception as error:  # whatever the network or its proxy does
        remedy = "Without network: name a file by `pretrained`, or a folder of them by PRETRAINED_DIR"
        raise StudyError(f"The ImageNet weights could not be fetched from {address} ({error}). {remedy}.") from error
