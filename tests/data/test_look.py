import numpy as np
import pytest

from helpers.data.look import log_sharpness, looks, match_colours, match_sharpness, zoom

NOISE = np.random.default_rng(0).integers(60, 200, (20, 32, 32, 3), dtype=np.uint8)
SMOOTH = match_sharpness(NOISE, NOISE // 3 + 60)[0]


def test_looks_are_means_spread_and_sharpness():
    grey = np.full((1, 8, 8, 3), 100, np.uint8)
    assert looks(grey)[0] == pytest.approx([100, 100, 100, 0, 0], abs=1e-6)
    board = np.indices((8, 8)).sum(axis=0) % 2 * np.uint8(200)
    # On a chessboard, the Laplacian is 4 times the difference to the neighbours, with alternating sign.
    assert log_sharpness(np.stack([board] * 3, axis=2)) == pytest.approx(np.log1p(800**2))


def test_colours_are_those_of_the_other_collection():
    like = np.clip(NOISE * 0.5 + [20, 60, 90], 0, 255).astype(np.uint8)
    matched = match_colours(NOISE, like).reshape(-1, 3)
    assert matched.mean(axis=0) == pytest.approx(like.reshape(-1, 3).mean(axis=0), abs=0.5)
    assert matched.std(axis=0) == pytest.approx(like.reshape(-1, 3).std(axis=0), abs=0.5)


def test_sharper_images_are_blurred_to_the_other_sharpness_and_others_stay():
    blurred, deviation = match_sharpness(NOISE, SMOOTH)
    assert 0 < deviation < 3
    assert np.median(looks(blurred)[:, -1]) == pytest.approx(np.median(looks(SMOOTH[::10])[:, -1]), abs=0.1)
    same, deviation = match_sharpness(SMOOTH, NOISE)
    assert deviation == 0 and same is SMOOTH


@pytest.mark.parametrize("factor", [0.75, 1.0, 1.5])
def test_zoom_keeps_the_size_and_the_centre(factor):
    ring = np.zeros((1, 32, 32, 3), np.uint8)
    ring[0, 8:24, 8:24] = 200  # a square of half the width
    seen = zoom(ring, factor)
    assert seen.shape == ring.shape and seen[0, 16, 16, 0] == 200
    # The square now covers that much more or less of the image.
    assert (seen[0, 16, :, 0] > 100).sum() == pytest.approx(16 * factor, abs=1)
