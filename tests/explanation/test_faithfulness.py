import numpy as np
import pytest
from scipy.stats import spearmanr

from helpers.explanation import faithfulness
from helpers.explanation.faithfulness import (
    area_under,
    blur,
    centre_blob,
    deletion_insertion,
    mass,
    mass_inside,
    pointing_game,
    rank_correlation,
    smooth,
    stability,
    turn_back,
)
from helpers.training.predict import symmetries

RANDOM = np.random.default_rng(0)
MASK = np.zeros((1, 4, 4), bool)
MASK[0, :2] = True  # the upper half


def one_cell(row: int, column: int) -> np.ndarray:
    found = np.zeros((1, 4, 4))
    found[0, row, column] = 3
    return found


def test_mass_leaves_out_what_speaks_against_and_sums_to_one():
    maps = np.array([[[1.0, -5.0], [3.0, 0.0]], [[-1.0, -2.0], [0.0, 0.0]]])
    assert np.allclose(mass(maps), [[[0.25, 0], [0.75, 0]], [[0.25, 0.25], [0.25, 0.25]]])


def test_the_share_on_the_lesion():
    assert mass_inside(one_cell(0, 3), MASK) == 1 and mass_inside(one_cell(3, 0), MASK) == 0
    assert mass_inside(one_cell(0, 3) + one_cell(3, 0) * 3, MASK) == pytest.approx(0.25)
    assert mass_inside(np.zeros((1, 4, 4)), MASK[:, :, ::-1]) == pytest.approx(0.5)  # as for any even map


def test_the_pointing_game():
    assert pointing_game(one_cell(1, 1), MASK) == 1 and pointing_game(one_cell(2, 1), MASK) == 0
    assert pointing_game(one_cell(1, 1) + one_cell(2, 1) + one_cell(3, 1), MASK) == pytest.approx(1 / 3)
    assert pointing_game(np.ones((1, 4, 4)), MASK) == 0.5


def test_the_blob_is_round_and_in_the_centre():
    blob = centre_blob(8)
    assert np.allclose(blob, blob.T) and np.allclose(blob, blob[::-1]) and blob.argmax() in (27, 28, 35, 36)
    assert mass_inside(centre_blob(8, 0.1)[None], np.pad(np.ones((4, 4), bool), 2)[None]) > 0.98


def test_rank_correlation_is_spearmans():
    first, second = RANDOM.normal(size=(2, 3, 5, 5))
    second[0] = np.exp(first[0])
    first[1] = np.round(first[1])  # ties
    found = rank_correlation(first, second)
    assert np.allclose(found, [spearmanr(a.ravel(), b.ravel())[0] for a, b in zip(first, second, strict=True)])
    assert found[0] == pytest.approx(1)
    assert np.isnan(rank_correlation(np.zeros((1, 5, 5)), first[:1])).all()


def test_a_map_is_turned_back_as_its_image_was_turned():
    maps = RANDOM.normal(size=(2, 5, 5))
    views = symmetries(maps[..., None])
    assert all(np.array_equal(turn_back(view[..., 0], place), maps) for place, view in enumerate(views))


def test_stability_is_one_for_maps_that_turn_with_their_image():
    images = RANDOM.integers(0, 256, (3, 6, 6, 3)).astype(np.uint8)
    slope, even = np.arange(36.0).reshape(1, 6, 6).repeat(3, axis=0), np.zeros((3, 6, 6))
    assert np.allclose(stability(lambda views: views.mean(axis=3), images, images.mean(axis=3)), 1)
    # Over all eight views a slope cancels out; the first of them counts 1, so the seven others sum to -1.
    assert np.allclose(stability(lambda views: slope, images, slope), -1 / 7)
    assert np.isnan(stability(lambda views: even, images, even)).all()


def brightness(images: np.ndarray) -> np.ndarray:
    """Made-up answer: the brighter the upper half, the more probable class 0."""
    bright = images[:, :2].mean(axis=(1, 2, 3)) / 255
    return np.stack([bright, 1 - bright], axis=1)


def test_pixels_are_deleted_and_inserted_with_the_highest_of_the_map_first(monkeypatch):
    white, rows = np.full((2, 4, 4, 3), 255, np.uint8), np.arange(16.0).reshape(1, 4, 4)
    monkeypatch.setattr(faithfulness, "plain_skin", np.zeros_like)
    monkeypatch.setattr(faithfulness, "blur", np.zeros_like)
    maps = np.concatenate([-rows, rows])  # from above and from below
    found = deletion_insertion(brightness, white, np.array([0, 0]), maps=maps, steps=4)
    assert np.allclose(found["deletion"], [[1, 0.5, 0, 0, 0], [1, 1, 1, 0.5, 0]])
    assert np.allclose(found["insertion"], 1 - found["deletion"])
    assert np.allclose(area_under(found["deletion"]), [0.25, 0.75])


def test_blurring_keeps_colours_and_takes_structures():
    images = np.zeros((1, 40, 40, 3), np.uint8)
    images[:, ::2] = [200, 100, 50]
    seen = blur(images)
    assert seen.dtype == np.uint8 and np.allclose(seen[0, 10:30, 10:30], [100, 50, 25], atol=1)


def test_smoothing_evens_out_noise_and_keeps_the_sum():
    maps = np.pad(RANDOM.normal(size=(1, 32, 32)), ((0, 0), (16, 16), (16, 16)))
    even = smooth(maps)
    assert even.std() < 0.5 * maps.std() and even.sum() == pytest.approx(maps.sum(), abs=1e-6)
