"""Measures of an image, against their plain definition."""

import numpy as np
import pytest
from conftest import picture
from PIL import Image

from clinic.reading.quality import MEASURES, describe_fault, measures


@pytest.mark.parametrize("side", [7, 33, 112])
def test_measures_by_their_plain_definition(side):
    square = np.random.default_rng(side).integers(0, 256, (side, side, 3)).astype(np.uint8)
    square[: side // 2] = np.asarray(picture(side, side))[: side // 2]
    image = Image.fromarray(square)
    small = np.asarray(image.reduce(max(1, side // 16)), np.float64)
    rim = max(1, len(small) // 8)
    centre, border = small[2 * rim : -2 * rim, 2 * rim : -2 * rim], np.concatenate([small[:rim], small[-rim:]])
    grey = np.asarray(image.convert("L"), np.float64)
    laplacian = 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    deviations = np.log1p([*small.std(axis=(0, 1)), np.ptp(small, axis=2).mean()])
    plain = [*small.mean(axis=(0, 1)), *deviations, centre.mean() - border.mean(), np.log1p(laplacian.var())]
    assert np.allclose(measures(square), plain, rtol=0, atol=1e-6)


def test_only_a_grey_image_has_no_colourfulness():
    square = np.asarray(picture(1, 48))
    grey = np.repeat(square[..., :1], 3, axis=2)
    place = MEASURES.index("log colourfulness")
    assert measures(grey)[place] == 0 < 3 < measures(square)[place]


def test_a_plain_fault_is_named():
    square = np.asarray(picture(1, 48))
    shown = {
        "": square,
        "is black": square // 30,
        "is white": 245 + square // 30,
        "is black and white": square[..., [1, 1, 1]],
    }
    assert [describe_fault(measures(one)) for one in shown.values()] == list(shown)
