"""What lies on a picture and not on the skin, hairs, rulers and dark corners: pasted on, found, and painted over.

Images are uint8 [n, side, side, 3]; an artefact is drawn for each by its own random numbers.
"""

from collections.abc import Callable, Sequence

import numpy as np

from helpers import demo
from helpers.images import skin_colour

HAIR, INK = (0.16, 0.10, 0.08), (0.12, 0.12, 0.14)  # colours in 0 to 1
LEAST_HAIR = 0.02  # share of an image's pixels that hairs cover at least
CORNER, RIM = (
    1.2,
    0.85,
)  # half sides from the centre: a corner, or the shade before it, begins there; its tip is at 1.41
DARK, SHADED = 0.7, 0.85  # of the brightness of the skin: below is a dark corner, or skin in its shade


def with_hairs(images: np.ndarray, seed: int) -> np.ndarray:
    """The images with dark hairs across them."""
    return _covered(images, _hairs, HAIR, 0.9, seed)


def with_ruler(images: np.ndarray, seed: int) -> np.ndarray:
    """The images with the ticks of a ruler along one edge."""
    return _covered(images, demo.ruler, INK, 0.9, seed)


def with_dark_corners(images: np.ndarray, seed: int) -> np.ndarray:
    """The images as through a round opening, black outside of it."""
    return _covered(images, _opening, (0.0, 0.0, 0.0), 1.0, seed)


PASTED: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "hairs": with_hairs,
    "ruler": with_ruler,
    "dark corners": with_dark_corners,
}


def dark_corners(images: np.ndarray) -> np.ndarray:
    """Which images have dark corners, as a dermatoscope's round opening or its light leave them: bool [n].

    The corners have to be, in the median, clearly darker than the skin about the lesion. Dark hair or ink there counts,
    too.
    """
    corners = images[:, _distance(images.shape[1]) > CORNER].mean(axis=2)
    return np.median(corners, axis=1) < DARK * skin_colour(images).mean(axis=1)


def painted_over(images: np.ndarray) -> np.ndarray:
    """The images with their dark corners in the colour of the skin; those without are as they were.

    All that is darker than the skin and lies towards the edges is painted over, and with it what of the lesion does.
    """
    skin = skin_colour(images)
    shaded = images.mean(axis=3) < SHADED * skin.mean(axis=1)[:, None, None]
    found = shaded & (_distance(images.shape[1]) > RIM) & dark_corners(images)[:, None, None]
    return np.where(found[..., None], skin[:, None, None], images)


def effect(before: np.ndarray, after: np.ndarray, malignant: Sequence[bool]) -> dict[str, np.ndarray]:
    """What a change to images does to the answers, from probabilities [n, classes] before and after: three float [n].

    `changed`: 1 where another class is the most probable; `lost`: how much of its probability the answer before loses;
    `malignancy`: how much the summed probability of the malignant classes rises.
    """
    answer = before.argmax(axis=1)
    rows = np.arange(len(before))
    return {
        "changed": (after.argmax(axis=1) != answer).astype(np.float64),
        "lost": before[rows, answer] - after[rows, answer],
        "malignancy": (after - before)[:, np.array(malignant, bool)].sum(axis=1),
    }


def _covered(
    images: np.ndarray, draw: Callable, colour: tuple[float, float, float], opacity: float, seed: int
) -> np.ndarray:
    """The images with what `draw` gives for each, float [side, side] of 0 to 1, laid over them in one colour."""
    draws = [draw(images.shape[1], np.random.default_rng((seed, place))) for place in range(len(images))]
    share = opacity * np.stack(draws)[..., None]
    return np.rint((1 - share) * images + 255 * share * np.array(colour)).astype(np.uint8)


def _hairs(side: int, random: np.random.Generator) -> np.ndarray:
    """Hairs as on the demo's pictures, one lot upon the other until they cover LEAST_HAIR of the picture."""
    drawn = demo.hairs(side, random)
    while drawn.mean() < LEAST_HAIR:
        drawn = np.maximum(drawn, demo.hairs(side, random))
    return drawn


def _opening(side: int, random: np.random.Generator) -> np.ndarray:
    """1 outside of a circle of about the image's width, 0 inside."""
    edge = random.uniform(0.98, 1.12)
    return np.clip((_distance(side) - edge) / 0.06, 0, 1)


def _distance(side: int) -> np.ndarray:
    """How far each pixel lies from the centre, in half sides: float64 [side, side]."""
    place = (np.arange(side) + 0.5) / side * 2 - 1
    return np.hypot(*np.meshgrid(place, place))
