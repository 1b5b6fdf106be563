import numpy as np
import pytest

from helpers.artefacts import LEAST_HAIR, PASTED, dark_corners, effect, painted_over
from helpers.images import skin_colour

SKIN = np.array([200, 160, 150], np.uint8)
DISTANCE = np.hypot(*np.meshgrid(*[(np.arange(48) + 0.5) / 24 - 1] * 2))


def skin(lesion: float = 0.5, count: int = 3) -> np.ndarray:
    """Plain skin with a round dark lesion, uint8 [count, 48, 48, 3]; lesion: its radius in half sides."""
    picture = np.where((lesion > DISTANCE)[..., None], np.uint8([60, 40, 30]), SKIN)
    return np.repeat(picture[None], count, axis=0)


@pytest.mark.parametrize("what", PASTED)
def test_what_is_pasted_is_dark_covers_a_part_and_is_repeated_by_its_seed(what):
    images = skin(0)
    found = PASTED[what](images, 4)
    touched = (found != images).any(axis=3)
    assert found.dtype == np.uint8 and found.shape == images.shape
    assert (found.astype(int) <= images).all() and 0.01 < touched.mean() < 0.5
    assert np.array_equal(found, PASTED[what](images, 4)) and not np.array_equal(found, PASTED[what](images, 5))
    assert not np.array_equal(found[0], found[1])  # each image has its own
    assert np.array_equal(PASTED[what](images[:1], 4)[0], found[0])


def test_where_it_is_pasted():
    images = skin(0)
    hairs, ruler, corners = ((images != paste(images, 0)).any(axis=3) for paste in PASTED.values())
    assert (hairs.mean(axis=(1, 2)) >= LEAST_HAIR).all()
    assert not ruler[:, 12:-12, 12:-12].any()
    assert corners[:, DISTANCE > 1.25].all() and not corners[:, DISTANCE < 0.95].any()


def test_dark_corners_are_found_and_dark_lesions_are_not_taken_for_them():
    assert dark_corners(PASTED["dark corners"](skin(), 0)).all()
    assert not dark_corners(skin()).any() and not dark_corners(skin(1.1)).any()
    shaded = (skin() * np.where(DISTANCE > 1, 0.6, 1)[..., None]).astype(np.uint8)
    assert dark_corners(shaded).all() and not dark_corners((skin() * 0.4).astype(np.uint8)).any()


def test_corners_are_painted_over_in_the_colour_of_the_skin():
    images = skin()
    both = np.concatenate([PASTED["dark corners"](images, 0), images])
    found = painted_over(both)
    assert np.array_equal(found[3:], images)
    assert np.array_equal(found[:3, DISTANCE < 0.8], images[:, DISTANCE < 0.8])
    assert np.allclose(found[:3].astype(int), images, atol=0.15 * SKIN.max())


def test_the_colour_of_the_skin_is_seen_beside_lesions_and_corners():
    both = np.concatenate([PASTED["dark corners"](skin(0.7), 0), skin(0.7)])
    assert np.array_equal(skin_colour(both), np.tile(SKIN, (6, 1)))


def test_the_effect_of_a_change():
    before = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]])
    after = np.array([[0.3, 0.3, 0.4], [0.0, 0.9, 0.1]])
    found = effect(before, after, [False, True, True])
    assert np.allclose(found["changed"], [1, 0]) and np.allclose(found["lost"], [0.4, -0.3])
    assert np.allclose(found["malignancy"], [0.4, 0.1])
