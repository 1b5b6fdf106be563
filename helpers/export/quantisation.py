"""A LiteRT network in int8, calibrated on validation images: a quarter of the size."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from helpers.export.runtimes import litert_logits
from helpers.records import atomic_path

CALIBRATION = 200  # images from which the ranges of the activations are taken
AGREEMENT = 0.96  # of the answers with those in float, on validation


def write_int8(source: Path, target: Path, images: np.ndarray, *, convolutions: Sequence[str]) -> list[str]:
    """Write the float LiteRT file `source` with convolutions in int8; returns those that had to stay in float.

    images: uint8 [n, side, side, 3], of validation; convolutions: names of the network's, the first one first. The
    first ones and the head cost most of the agreement and have few weights. So the head stays in float, and as few of
    the first convolutions as it takes for AGREEMENT on the images.
    """
    from ai_edge_quantizer.quantizer import Quantizer

    wanted = litert_logits(source)(images).argmax(axis=1)
    chosen = np.random.default_rng(0).permutation(len(images))[:CALIBRATION]
    calibration = {"serving_default": [{"image": images[row : row + 1]} for row in chosen]}
    ranges = Quantizer(str(source), _recipe(convolutions)).calibrate(calibration, num_threads=1)
    for count in range(1, len(convolutions) + 1, 2):  # of a MobileNet: the first one, then pair by pair
        quantizer = Quantizer(str(source), _recipe(convolutions[count:]))
        with atomic_path(target) as temporary:
            temporary.write_bytes(quantizer.quantize(ranges, enable_progress_report=False).quantized_model)
        if np.mean(litert_logits(target)(images).argmax(axis=1) == wanted) >= AGREEMENT:
            break
    return list(convolutions[:count])


def _recipe(quantised: Sequence[str]) -> list[dict]:
    """Weights and activations of these convolutions in int8."""
    from ai_edge_quantizer.qtyping import TFLOperationName
    from ai_edge_quantizer.recipe_manager import RecipeManager

    manager = RecipeManager()
    manager.add_static_config(".*", TFLOperationName.PAD, 8, 8)
    for name in quantised:
        for kind in (TFLOperationName.CONV_2D, TFLOperationName.DEPTHWISE_CONV_2D):
            # Keras appends a number to the name of a layer that occurs twice.
            manager.add_static_config(rf"/{re.escape(name)}(_\d+)?/", kind, 8, 8)
    return manager.get_quantization_recipe()
