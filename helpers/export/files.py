"""Writes a network as ONNX and as LiteRT, with the data of its deployment inside each file."""

import json
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import keras

from helpers.export.network import LOGITS, input_specification
from helpers.records import atomic_path

ABOUT, LABELS = "about.json", "labels.txt"


def write_onnx(network: keras.Model, path: Path, about: Mapping) -> None:
    """Write a network of `exported_network` as ONNX, for any number of images.

    Each entry of `about` becomes an entry of the file's metadata: texts as they are, all else as JSON.
    """
    import onnx

    with atomic_path(path) as temporary:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # Keras asks NumPy for a name that will change
            network.export(temporary, format="onnx", verbose=False, input_signature=input_specification(network))
        model = onnx.load(temporary)
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = "images"
        onnx.helper.set_model_props(model, {name: _text(value) for name, value in about.items()})
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, temporary)


def write_litert(network: keras.Model, path: Path, about: Mapping) -> None:
    """Write the logits of a network of `exported_network` as LiteRT, for one image at a time."""
    phone = keras.Model(network.inputs[0], {LOGITS: network.output[LOGITS]})
    signature = input_specification(network, images=1)
    with atomic_path(path) as temporary:
        phone.export(temporary, format="litert", verbose=False, input_signature=signature)
        attach(temporary, about)


def attach(path: Path, about: Mapping) -> None:
    """Append `about` and the labels to a LiteRT file as a ZIP archive, where Android's libraries look for them.

    The file stays a valid model. `unzip -p model.tflite about.json` prints what was appended.
    """
    texts = {ABOUT: json.dumps(about, indent=1), LABELS: "\n".join(about["labels"])}
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(zipfile.ZipInfo(name), text + "\n")  # without a date, so that the bytes are the same


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
