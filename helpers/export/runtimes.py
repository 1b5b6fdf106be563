"""Logits of images from the published model and from exported files, on one core."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from helpers.export.network import LOGITS

Logits = Callable[[np.ndarray], np.ndarray]  # images uint8 [n, side, side, 3] to logits float32 [n, classes]
BATCH = 64


def keras_logits(model: keras.Model) -> Logits:
    """The logarithms of a published model's probabilities, by Keras: its logits, up to one number per image."""

    def answer(images: np.ndarray) -> np.ndarray:
        batches = (images[start : start + BATCH] for start in range(0, len(images), BATCH))
        probabilities = np.concatenate([np.asarray(model.predict_on_batch(batch)) for batch in batches])
        return np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))

    return answer


def onnx_logits(path: Path) -> Logits:
    """The logits of an ONNX file, by ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: np.concatenate([session.run([LOGITS], {"image": image[None]})[0] for image in images])


def litert_logits(path: Path) -> Logits:
    """The logits of a LiteRT file, by LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    (image,), (logits,) = interpreter.get_input_details(), interpreter.get_output_details()

    def answer(one: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(image["index"], one[None])
        interpreter.invoke()
        return interpreter.get_tensor(logits["index"])[0]

    return lambda images: np.stack([answer(one) for one in images])
