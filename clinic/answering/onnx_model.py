"""The network of a deployment in an ONNX file, run by ONNX Runtime: neither Keras nor TensorFlow is needed."""

import hashlib
import json
from pathlib import Path

import numpy as np

from clinic.answering.deployment import Deployment
from clinic.answering.network import Prediction
from helpers.export import CHECKSUMS
from helpers.study import StudyError

BATCH = 8  # images; measured on two cores, larger batches are slower and take more memory
OUTPUTS = ["logits", "middle_features"]


class OtherModel(StudyError):
    """An ONNX file of another model than the deployment's, such as an earlier one."""


class OnnxModel:
    """A network from images uint8 [n, side, side, 3] to the outputs of `make export`; an object is a `Predict`.

    The file has to be the one that CHECKSUMS beside it names. deployment: it has to be made from this one's model.
    Raises StudyError if the file is missing or something else, and OtherModel.
    """

    def __init__(self, path: Path, deployment: Deployment):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.enable_cpu_mem_arena = False  # an arena keeps what the largest batch took
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leave the cores to the decoders
        options.log_severity_level = 4  # its messages may quote paths
        data = _read_and_check(Path(path))
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
            about = self._session.get_modelmeta().custom_metadata_map
            labels, shape = json.loads(about["labels"]), self._session.get_inputs()[0].shape[1:]
        except Exception as error:  # a bad file can make the runtime raise anything
            raise StudyError(f"{path}: not a model of `make export` ({type(error).__name__}).") from error
        expected = deployment.model_sha256, deployment.codes, [deployment.side, deployment.side, 3]
        if (about.get("keras_sha256"), labels, shape) != expected:
            remedy = f"Run `make export STUDY={deployment.study}`"
            raise OtherModel(f"{path}: made from another model than the deployment's. {remedy}.")

    def __call__(self, images: np.ndarray) -> Prediction:
        """The logits and features of images uint8 [n, side, side, 3]."""
        starts = range(0, len(images), BATCH)
        parts = [self._session.run(OUTPUTS, {"image": images[start : start + BATCH]}) for start in starts]
        logits, features = map(np.concatenate, zip(*parts, strict=True))
        return Prediction(np.float64(logits), features)


def _read_and_check(path: Path) -> bytes:
    """The bytes of a file, checked before they are loaded. Raises StudyError if they are not those of its checksum."""
    try:
        data, sums = path.read_bytes(), path.with_name(CHECKSUMS).read_text()
    except (OSError, UnicodeError) as error:
        remedy = "`make export STUDY=…` writes it and its checksum"
        raise StudyError(f"{path}, or {CHECKSUMS} beside it, cannot be read. {remedy}.") from error
    if f"{hashlib.sha256(data).hexdigest()}  {path.name}" not in sums.splitlines():
        raise StudyError(f"{path}: not the file whose checksum is in {CHECKSUMS}. Restore it, or run `make export`.")
    return data
