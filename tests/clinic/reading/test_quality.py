"""What is said of an image without a diagnosis."""

import numpy as np
import pytest
from clinical import PROFILE, SIDE
from conftest import picture
from PIL import Image, ImageFilter

from clinic.reading.quality import LIKE, MEASURES, learn_profile, measures
from helpers.study import StudyError


def test_measures_of_a_plain_image_are_its_colour_and_nothing_else():
    square = np.full((64, 64, 3), (200, 100, 50), np.uint8)
    found = dict(zip(MEASURES, measures(square), strict=True))
    assert [found[f"mean {colour}"] for colour in ("red", "green", "blue")] == [200, 100, 50]
    assert all(value == 0 for name, value in found.items() if not name.startswith("mean"))


def test_sharpness_of_a_checkerboard_in_closed_form():
    """Each pixel is 8 x 10 away from its neighbours' sum, up or down: the Laplacian is +-80, its variance 6400."""
    board = (np.indices((32, 32)).sum(axis=0) % 2 * 20 + 100).astype(np.uint8)
    found = measures(np.repeat(board[..., None], 3, axis=2))
    assert found[MEASURES.index("log sharpness")] == pytest.approx(np.log1p(80.0**2))


@pytest.mark.parametrize("side", [7, 16, 33, 64, 112, 128])
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


def test_doubts_of_many_images_are_those_of_each():
    squares = [np.asarray(picture(seed, SIDE).filter(ImageFilter.GaussianBlur(seed % 5))) for seed in range(20)]
    measured, sizes = np.array([measures(one) for one in squares]), [(20 + seed, 40) for seed in range(20)]
    each = [PROFILE.warnings(own, *size, SIDE) for own, size in zip(measured, sizes, strict=True)]
    assert PROFILE.doubts(measured, sizes, SIDE) == each and len(set(each)) > 3


def test_a_bright_spot_in_the_middle():
    square = np.full((64, 64, 3), 100, np.uint8)
    square[16:48, 16:48] = 180
    assert measures(square)[MEASURES.index("centre less border")] == 80.0


def test_distances_of_training_images_are_those_of_a_normal_distribution():
    """Squared Mahalanobis distances of what the profile was learnt from are on average as many as there are measures,
    a little fewer for the shrinking."""
    squares = [np.asarray(picture(seed, SIDE)) for seed in range(200)]
    distances = learn_profile(squares, squares).distance(np.array([measures(one) for one in squares]))
    assert 0.6 * len(MEASURES) < (distances**2).mean() < 1.1 * len(MEASURES)


def test_limits_let_validation_through():
    squares = [np.asarray(picture(seed, SIDE)) for seed in range(60, 99)]
    warned = [PROFILE.warnings(measures(one), 100, 100, SIDE) for one in squares]
    assert sum(map(bool, warned)) <= 2 * np.ceil((1 - LIKE) * len(squares))


def test_what_is_unlike_is_told():
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    for square in (noise, np.zeros_like(noise), np.full_like(noise, 255)):
        assert any("unlike" in warning for warning in PROFILE.warnings(measures(square), 100, 100, SIDE))


def test_a_blurred_image_is_told():
    blurred = np.asarray(picture(3, SIDE).filter(ImageFilter.GaussianBlur(4)))
    assert any("blurred" in warning for warning in PROFILE.warnings(measures(blurred), 100, 100, SIDE))
    assert not any("blurred" in w for w in PROFILE.warnings(measures(np.asarray(picture(61, SIDE))), 100, 100, SIDE))


def test_a_small_image_is_told_its_size():
    warned = PROFILE.warnings(measures(np.asarray(picture(61, SIDE))), SIDE - 1, 100, SIDE)
    assert any("31 x 100" in warning for warning in warned)


def test_too_few_images_to_learn_from():
    with pytest.raises(StudyError, match="too few"):
        learn_profile([np.asarray(picture(0, SIDE))] * 3, [])


def test_a_tiny_image_has_measures():
    assert np.isfinite(measures(np.zeros((4, 4, 3), np.uint8))).all()
