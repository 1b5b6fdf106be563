"""Warnings about an image, from its measures."""

import numpy as np
import pytest
from clinical import PROFILE, SIDE
from conftest import picture
from PIL import Image, ImageFilter

from clinic.reading.quality import BLURRED, LIKE, MEASURES, UNLIKE, learn_profile, measures
from helpers.study import StudyError


def warnings(*squares, size=(100, 100)) -> list[tuple[str, ...]]:
    return PROFILE.warnings(np.array([measures(square) for square in squares]), [size] * len(squares), SIDE)


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
    deviations = np.log1p(small.std(axis=(0, 1)))
    plain = [*small.mean(axis=(0, 1)), *deviations, centre.mean() - border.mean(), np.log1p(laplacian.var())]
    assert np.allclose(measures(square), plain, rtol=0, atol=1e-6)


def test_distances_of_training_images_are_those_of_a_normal_distribution():
    """Squared Mahalanobis distances of the training images are on average as many as there are measures, a little
    fewer for the shrinking."""
    squares = [np.asarray(picture(seed, SIDE)) for seed in range(200)]
    distances = learn_profile(squares, squares).distance(np.array([measures(one) for one in squares]))
    assert 0.6 * len(MEASURES) < (distances**2).mean() < 1.1 * len(MEASURES)


def test_limits_let_validation_through():
    warned = warnings(*(np.asarray(picture(seed, SIDE)) for seed in range(60, 99)))
    assert sum(map(bool, warned)) <= 2 * np.ceil((1 - LIKE) * len(warned))


def test_each_image_gets_its_warnings():
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    black, white, sharp = np.zeros_like(noise), np.full_like(noise, 255), picture(61, SIDE)
    blurred = np.asarray(sharp.filter(ImageFilter.GaussianBlur(4)))
    found = warnings(noise, black, white, blurred, np.asarray(sharp))
    assert [UNLIKE in texts for texts in found[:3]] == [True] * 3 and BLURRED in found[3] and found[4] == ()
    assert warnings(np.asarray(sharp), size=(SIDE - 1, 100)) == [
        ("too small: 31 x 100 px, but the model needs 32 x 32",)
    ]


def test_too_few_images_for_a_profile():
    with pytest.raises(StudyError, match="3 training images are too few for a profile: it takes 16"):
        learn_profile([np.asarray(picture(0, SIDE))] * 3, [])
