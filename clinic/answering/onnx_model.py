"""The network of a deployment in an ONNX file, run by ONNX Runtime: neither Keras nor TensorFlow is needed."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clinic.answering.network import Prediction
from helpers.study import StudyError

BATCH = 8  # images; measured on two cores, larger batches are slower and take more memory
LOGITS, FEATURES = "logits", "middle_features"


class OnnxModel:
    """A network from images uint8 [n, side, side, 3] to the outputs of `make export`.

    about: the file's metadata by name; among them `deployment`, the text of deployment.json, and `keras_sha256`, the
    checksum of the Keras file that it was made from. classes, side: of its answers and images. An object is a
    `network.Predict`. threads: 0 for one per core. Raises StudyError if the file is missing or something else.
    """

    def __init__(self, path: Path, threads: int = 0):
        import onnxruntime

        if not Path(path).is_file():
            raise StudyError(f"{path}: no such file. Run `make export STUDY=…`, which writes it.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.enable_cpu_mem_arena = False  # an arena keeps what the largest batch took
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leave the cores to the decoders
        options.log_severity_level = 4  # its messages may quote paths
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            self.about = dict(self._session.get_modelmeta().custom_metadata_map)
            self.classes, self.side = len(json.loads(self.about["labels"])), self._session.get_inputs()[0].shape[1]
        except Exception as error:  # a bad file can make the runtime raise anything
            raise StudyError(f"{path}: not a model of `make export` ({type(error).__name__}).") from error

    def __call__(self, images: np.ndarray) -> Prediction:
        """The logits and features of images uint8 [n, side, side, 3]."""
        found = self.outputs(images, [LOGITS, FEATURES])
        return Prediction(np.float64(found[LOGITS]), found[FEATURES])

    def outputs(self, images: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Some of the outputs of `make export` by name, float32, with the images on the first axis."""
        starts = range(0, len(images), BATCH)
        parts = [self._session.run(names, {"image": images[start : start + BATCH]}) for start in starts]
        return {name: np.concatenate(found) for name, found in zip(names, zip(*parts, strict=True), strict=True)}
