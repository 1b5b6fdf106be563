"""What every network of a deployment gives, its logits and features, and that network by Keras.

Only this module of the clinic knows of Keras: everything else takes a `Predict`.
"""

import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from clinic.answering.deployment import NOTEBOOK, Deployment
from helpers.records import file_sha256
from helpers.study import StudyError

if TYPE_CHECKING:
    import keras

# Images per batch. There are only two sizes, since each new size is compiled. The small one is for the last few images:
# filling them up to a large batch would waste most of it.
BATCH, SMALL_BATCH = 128, 16
LFS, HDF5 = b"version https://git-lfs", b"\x89HDF\r\n"  # how other files begin that are taken for models


class Prediction(NamedTuple):
    """What a network says of n images: logits float64 [n, classes] and features float32 [n, d]."""

    logits: np.ndarray
    features: np.ndarray


Predict = Callable[[np.ndarray], Prediction]  # of images uint8 [n, side, side, 3]


class Network:
    """A model of the study as a `Predict`, with the fastest kernels available.

    Raises StudyError if its layers are not those of the networks in `models`.
    """

    def __init__(self, model: "keras.Model"):
        import keras

        from helpers.training.compiled import SharedNetwork
        from helpers.training.features import logit_weights, middle_layer

        try:
            network = SharedNetwork(model).network
            network.set_weights(model.get_weights())
            features = keras.ops.mean(network.get_layer(middle_layer(model)).output, axis=(1, 2))
            self._backbone = keras.Model(network.inputs, [network.get_layer("head_softmax").input, features])
            self._kernel, self._bias = logit_weights(network)
        except (ValueError, AttributeError) as error:
            raise StudyError(
                "The model has no dense layer head_softmax to take logits from. Choose a model of this study."
            ) from error

    def __call__(self, images: np.ndarray) -> Prediction:
        """The logits and features of images uint8 [n, side, side, 3]."""
        blocks, start = [], 0
        while start < len(images):
            size = BATCH if len(images) - start > BATCH - SMALL_BATCH else SMALL_BATCH
            blocks.append(self._batch(images[start : start + size], size))
            start += size
        return Prediction(*map(np.concatenate, zip(*blocks, strict=True)))

    def _batch(self, images: np.ndarray, size: int) -> Prediction:
        # Not `predict`: for a single batch, its overhead takes longer than the network.
        found = self._backbone.predict_on_batch(np.resize(images, (size, *images.shape[1:])))
        last, features = (values[: len(images)] for values in found)
        return Prediction(np.float64(last) @ self._kernel + self._bias, np.float32(features))


def load(deployment: Deployment, file: Path) -> "keras.Model":
    """The model of a deployment.

    A model file can hold code. So it has to be a .keras file with the checksum of the deployment, and Keras loads it
    in safe mode, which runs no code from it. A copy is checked and loaded, so that nobody can change the file in
    between. Raises StudyError.
    """
    if not Path(file).is_file():
        raise StudyError(f"{file}: no such file. Run {deployment.notebook} of the study {deployment.study}.")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copyfile(file, Path(folder) / "model.keras"))
        if (found := file_sha256(copy)) != deployment.model_sha256:
            raise StudyError(
                f"{file}: {_kind(copy)}. Its SHA-256 {found} is not the {deployment.model_sha256} of its deployment. "
                f"Restore the file. To use another model, run {NOTEBOOK} of its study, which sets its limits."
            )
        return _load(copy, deployment)


def _kind(file: Path) -> str:
    """What a file is that is not the expected model."""
    with file.open("rb") as opened:
        start = opened.read(len(LFS))
    if start == LFS:
        return "a pointer of Git LFS and not the model itself, which `git lfs pull` fetches"
    if start.startswith(HDF5):
        return "an HDF5 file, which can hold code and is not loaded"
    return "another model" if start.startswith(b"PK") else "not a model file of Keras (.keras)"


def _load(file: Path, deployment: Deployment) -> "keras.Model":
    """The model in a file. Raises StudyError if Keras refuses it, or if its inputs or outputs have another shape."""
    import keras

    import helpers.models.networks  # noqa: F401, registers the layers of saved models

    try:
        model = keras.saving.load_model(file, safe_mode=True, compile=False)
    except Exception as error:  # a bad file can make Keras raise anything
        raise StudyError(f"The model file cannot be loaded in safe mode: {_cause(file, error)}.") from error
    expected = (None, deployment.side, deployment.side, 3), (None, len(deployment.classes))
    # A model may have several shapes, or none.
    shapes = tuple(getattr(model, name, None) for name in ("input_shape", "output_shape"))
    if shapes != expected:
        raise StudyError(
            f"The model takes {shapes[0]} and gives {shapes[1]}. Its deployment needs {expected[0]} and {expected[1]}."
        )
    return model


def _cause(file: Path, error: Exception) -> str:
    """Why Keras does not load a file: code in it, a layer that is not known, or another version of Keras."""
    import keras

    try:
        with zipfile.ZipFile(file) as opened:
            config, metadata = (json.loads(opened.read(f"{name}.json")) for name in ("config", "metadata"))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return "it is not a complete .keras file"
    if '"Lambda"' in json.dumps(config):
        return "it has a Lambda layer, which holds code"
    if (saved := str(metadata.get("keras_version"))) != keras.__version__:
        return f"it was saved by Keras {saved}, and this is Keras {keras.__version__}"
    return f"it has a layer that this program does not know, or a broken one ({type(error).__name__})"
