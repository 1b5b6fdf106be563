"""What looks like the training images gets an answer, and what does not gets none."""

import numpy as np
import pytest
from clinical import SIDE, appearance, features, usual_appearance
from conftest import picture
from PIL import Image, ImageFilter

from clinic.answering.appearance import ODD_COLOURS, UNLIKE, learn_appearance
from clinic.answering.strangers import FAULTS
from clinic.reading.quality import MEASURES, measures
from helpers.study import StudyError

RANDOM = np.random.default_rng(0)
SHOWN = [np.asarray(picture(seed, SIDE)) for seed in range(200, 300)]


def distances(*squares) -> tuple[np.ndarray, np.ndarray]:
    images = np.stack(squares).astype(np.uint8)
    return usual_appearance().distances(np.array([measures(image) for image in images]), features(images))


def in_grey(square):
    return np.repeat(np.asarray(Image.fromarray(square).convert("L"))[..., None], 3, axis=2)


STRANGERS = {
    "black": lambda _: np.zeros((SIDE, SIDE, 3)),
    "white": lambda _: np.full((SIDE, SIDE, 3), 255),
    "plain": lambda square: np.broadcast_to(square[0, 0], square.shape),
    "noise": lambda square: RANDOM.integers(0, 256, square.shape),
    "chessboard": lambda square: np.repeat((np.indices((SIDE, SIDE)).sum(axis=0) // 4 % 2 * 255)[..., None], 3, axis=2),
    "stripes": lambda square: np.where(np.arange(SIDE)[:, None, None] // 2 % 2, square, 255),
    "grey": in_grey,
    "blurred": lambda square: np.asarray(Image.fromarray(square).filter(ImageFilter.GaussianBlur(6))),
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_strangers_are_far_and_pictures_are_near(kind):
    far, _ = distances(*(STRANGERS[kind](square) for square in SHOWN))
    near, _ = distances(*SHOWN)
    assert (far > usual_appearance().farthest).mean() >= 0.95 and (near > usual_appearance().farthest).mean() <= 0.1


def test_limits_are_those_of_validation():
    looks = appearance(range(60, 199))
    far, colours = usual_appearance().distances(*looks)
    assert (far > usual_appearance().farthest).mean() == pytest.approx(UNLIKE, abs=0.01)
    assert (colours > usual_appearance().farthest_colours).mean() == pytest.approx(ODD_COLOURS, abs=0.01)


@pytest.mark.parametrize("kind", [kind for kind in FAULTS if "exchanged" not in kind])
def test_faults_of_colour_are_seen_that_the_distance_lets_pass(kind):
    """On other pictures than they were learnt from; in drawn ones, all channels are alike."""
    spoilt = [FAULTS[kind](square) for square in SHOWN]
    far, colours = distances(*spoilt)
    seen, stopped = (colours > usual_appearance().farthest_colours).mean(), (far > usual_appearance().farthest).mean()
    assert seen >= 0.85 and seen >= stopped


def test_squared_distances_of_training_images_are_as_many_as_numbers():
    """As in a normal distribution, a little fewer for the shrinking."""
    far, _ = usual_appearance().distances(*appearance(range(60)))
    assert 0.6 < (far**2).mean() / (len(MEASURES) + 2) < 1.1


def test_too_few_images():
    with pytest.raises(StudyError, match="3 training images are too few to know how they look: it takes 11"):
        learn_appearance(appearance(range(3)), appearance(range(3)), [])
