"""The deployment and the network that a command works with: by ONNX Runtime, or else by Keras."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from clinic.answering.deployment import Deployment, find_deployment, read_deployment
from clinic.answering.network import Network, Predict, load
from clinic.answering.onnx_model import OnnxModel, OtherModel
from helpers.export import FOLDER, ONNX
from helpers.study import StudyError, results_folder

KERAS = "model.keras"


def open_model(study: str, deployment: Path | None = None, file: Path | None = None) -> tuple[Deployment, Predict]:
    """The deployment of a study and its network.

    deployment: a deployment.json in place of the study's, with its model beside it. file: an ONNX or Keras file of the
    same model in place of the one that is there. Without `file`, the ONNX file is taken, and the Keras file if there is
    no ONNX file of this model, or no ONNX Runtime, but Keras. Raises StudyError.
    """
    if deployment:
        found, here = read_deployment(deployment), Path(deployment).parent
        onnx, keras = here / ONNX, here / KERAS
    else:
        found, keras = find_deployment(study)
        onnx = results_folder(study) / FOLDER / ONNX
    if file:
        return found, _by_keras(found, file) if file.suffix == ".keras" else OnnxModel(file, found)
    has_keras = find_spec("keras") is not None and keras.is_file()
    if onnx.is_file() and find_spec("onnxruntime"):
        with suppress(*[OtherModel] * has_keras):
            return found, OnnxModel(onnx, found)
    if has_keras:
        return found, _by_keras(found, keras)
    raise StudyError(
        f"{onnx}: no model that can be run here. `make export STUDY={found.study}` writes it, and "
        f"`pip install -r requirements-clinic.txt` installs what runs it. Where Keras is installed, {keras} will do."
    )


def _by_keras(deployment: Deployment, file: Path) -> Predict:
    with _without_notices():
        return Network(load(deployment, file))


@contextmanager
def _without_notices() -> Iterator[None]:
    """Hide what TensorFlow writes past Python to the standard error while it starts."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
