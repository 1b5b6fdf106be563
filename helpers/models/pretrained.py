"""Where pretrained weights come from, and their checksum."""

import os
from pathlib import Path

import keras

from helpers.records import file_sha256
from helpers.study import ROOT, StudyError

# Where Keras keeps the ImageNet weights of each version and alpha; it gives no path to them, and the record needs one.
V1 = "mobilenet/mobilenet_{}_224_tf_no_top.h5"
V2 = "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{}_224_no_top.h5"
DOWNLOADS = {
    1: {alpha: V1.format(text) for alpha, text in ((1.0, "1_0"), (0.75, "7_5"), (0.5, "5_0"), (0.25, "2_5"))},
    2: {alpha: V2.format(alpha) for alpha in (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)},
}


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
