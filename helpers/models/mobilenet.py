"""MobileNet, and the files with its pretrained weights."""

import os
from dataclasses import dataclass
from pathlib import Path

import keras
from keras import layers

from helpers.models.augmentation import augment
from helpers.models.head import Common, Lstm, head
from helpers.study import ROOT, StudyError

BATCH_NORM_MOMENTUM = 0.9  # with Keras' 0.99 the moving averages would lag behind in the few steps of a small study
# Where Keras stores its ImageNet weights. Keras does not return their path, which the run record needs.
ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet/mobilenet_{}_224_tf_no_top.h5"
DOWNLOADS = {1.0: "1_0", 0.75: "7_5", 0.5: "5_0", 0.25: "2_5"}  # alpha: as it stands in the address


@dataclass(frozen=True)
class Backbone:
    """The convolutions of a MobileNet (Howard et al. 2017).

    alpha: width relative to the published network; pretrained: `none`, `imagenet` or the path of a weight file, see
    `weights_file`; map_layer: name of the layer whose output is the feature map, by default the last layer.
    """

    alpha: float = 1.0
    pretrained: str = "none"
    map_layer: str = ""


def mobilenet(common: Common, backbone: Backbone, lstm: Lstm | None = None) -> keras.Model:
    """A MobileNet: images uint8 [n, side, side, 3] to probabilities float32 [n, classes].

    lstm: reads the feature map; without one the map is averaged.
    """
    images = keras.Input((common.side, common.side, 3), dtype="uint8", name="image")
    features = augment(images, common.augmentation, common.seed)
    features = mobilenet_backbone(features, backbone)
    return keras.Model(images, head(features, common, lstm), name="mobilenet_lstm" if lstm else "mobilenet")


def mobilenet_backbone(images, backbone: Backbone):
    """The feature map of a MobileNet, by default 1/32 of the side of its images (values from 0 to 255).

    The first layer of the head is a batch normalisation of the map. A backbone that was trained on other images gives
    similar maps for all lesions, and without normalisation the head would learn very slowly.
    Raises StudyError if the weight file is missing or does not fit, or if `map_layer` does not exist.
    """
    scaled = layers.Rescaling(1 / 127.5, offset=-1, name="rescaling")(images)
    flat = keras.applications.MobileNet(input_tensor=scaled, alpha=backbone.alpha, include_top=False, weights=None)
    for layer in flat.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = BATCH_NORM_MOMENTUM
    if backbone.pretrained != "none":
        load_pretrained(flat, backbone, images.shape[1:])
    last = backbone.map_layer or flat.layers[-1].name
    if last not in [layer.name for layer in flat.layers]:
        raise StudyError(f"MobileNet has no layer {last!r}. It has layers such as conv_pw_11_relu.")
    return layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name="head_norm")(flat.get_layer(last).output)


def load_pretrained(flat: keras.Model, backbone: Backbone, shape: tuple) -> None:
    """Load pretrained weights into the layers of a backbone for images of this shape.

    Raises StudyError if the file is missing or holds the weights of another network.
    """
    file, application = weights_file(backbone), keras.applications.MobileNet
    try:
        donor = application(input_shape=shape, alpha=backbone.alpha, include_top=False, weights=str(file))
    except (ValueError, OSError, KeyError) as error:
        network = f"MobileNet with alpha {backbone.alpha}"
        raise StudyError(f"{file}: not weights of {network} without its top ({error}).") from error
    for layer in donor.layers:
        if layer.weights:
            flat.get_layer(layer.name).set_weights(layer.get_weights())


def weights_file(backbone: Backbone) -> Path:
    """The file with a backbone's pretrained weights: the file it names, or for `imagenet` the file from Keras.

    Offline, set the environment variable PRETRAINED_DIR to a folder with the ImageNet weights, named
    `mobilenet_<alpha>_224_no_top.weights.h5`. Raises StudyError if there is no file.
    """
    folder = os.environ.get("PRETRAINED_DIR")
    if backbone.pretrained != "imagenet":
        file = ROOT / Path(backbone.pretrained).expanduser()
    elif folder:
        file = Path(folder) / f"mobilenet_{float(backbone.alpha)}_224_no_top.weights.h5"
    else:
        return _download(backbone)
    if not file.is_file():
        raise StudyError(f"{file}: no such weight file. Set `pretrained` to none, imagenet or the path of a file.")
    return file


def _download(backbone: Backbone) -> Path:
    """Keras' copy of the ImageNet weights, downloaded on first use."""
    if backbone.alpha not in DOWNLOADS:
        raise StudyError(f"alpha is {backbone.alpha}; ImageNet weights exist for {', '.join(map(str, DOWNLOADS))}.")
    address = ADDRESS.format(DOWNLOADS[backbone.alpha])
    try:
        return Path(keras.utils.get_file(address.rpartition("/")[2], address, cache_subdir="models"))
    except Exception as error:  # any error of the network or a proxy
        remedy = "Offline, set `pretrained` to a file, or PRETRAINED_DIR to a folder of weight files"
        raise StudyError(f"The ImageNet weights could not be downloaded from {address} ({error}). {remedy}.") from error
