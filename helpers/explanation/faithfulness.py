"""Measures of how faithful a map is to what the network uses, each one number per image.

Maps are float [n, height, width]. Higher cells mean more evidence for the class.
"""

from collections.abc import Callable
from itertools import islice

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata

from helpers.explanation.maps import Answer, class_probabilities, plain_skin
from helpers.training.predict import symmetries

BLUR = 1 / 10  # standard deviation of the blur that hides the structures of an image, as a share of its side
SMOOTH = 1 / 32  # the same for the blur that reduces the noise of a map


def smooth(maps: np.ndarray) -> np.ndarray:
    """The maps averaged over a neighbourhood, for maps with noise in single pixels such as gradients."""
    width = SMOOTH * maps.shape[1]
    return gaussian_filter(maps, (0, width, width), mode="nearest")


def mass(maps: np.ndarray) -> np.ndarray:
    """The maps with negative values set to 0, scaled to sum to 1; a map without positive values becomes uniform."""
    kept = np.maximum(maps, 0).astype(np.float64)
    total = kept.sum(axis=(1, 2), keepdims=True)
    return np.where(total > 0, kept / np.where(total > 0, total, 1), 1 / np.prod(maps.shape[1:]))


def mass_inside(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The share of each map's mass that lies on the lesion, float64 [n]; masks: bool [n, height, width].

    For a uniform map it is the lesion's share of the image.
    """
    return (mass(maps) * masks).sum(axis=(1, 2))


def pointing_game(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Whether the highest cell of each map lies on the lesion, float64 [n] (Zhang et al., ECCV 2016).

    If several cells are equally high, it is the share of them on the lesion.
    """
    highest = maps == maps.max(axis=(1, 2), keepdims=True)
    return (highest & masks).sum(axis=(1, 2)) / highest.sum(axis=(1, 2))


def centre_blob(side: int, spread: float = 0.2) -> np.ndarray:
    """A baseline map that ignores the image: a Gaussian in its centre, float64 [side, side].

    spread: its standard deviation as a share of the side. Lesions are usually in the centre of the image, so a useful
    map has to beat this one.
    """
    place = (np.arange(side) + 0.5) / side - 0.5
    bell = np.exp(-((place / spread) ** 2) / 2)
    return np.outer(bell, bell)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of each pair of maps, float64 [n]; NaN where either map is constant."""
    ranks = [rankdata(maps.reshape(len(maps), -1), axis=1) for maps in (first, second)]
    one, two = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
    spread = np.sqrt((one**2).sum(axis=1) * (two**2).sum(axis=1))
    return np.divide((one * two).sum(axis=1), spread, out=np.full(len(one), np.nan), where=spread > 0)


def stability(explain: Callable[[np.ndarray], np.ndarray], images: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Whether a map turns with its image: the mean rank correlation over seven rotations and reflections, float64 [n].

    explain: from square images uint8 [n, side, side, 3] to maps; maps: those of the images themselves. The map of each
    view is turned back and compared with them; 1 if they agree in every view, NaN where all maps are constant.
    """
    views = islice(enumerate(symmetries(images)), 1, None)
    others = [turn_back(explain(np.ascontiguousarray(view)), place) for place, view in views]
    found = np.stack([rank_correlation(maps, other) for other in others])
    known = ~np.isnan(found)
    total, count = np.where(known, found, 0).sum(axis=0), known.sum(axis=0)
    return np.divide(total, count, out=np.full(len(images), np.nan), where=count > 0)


def turn_back(maps: np.ndarray, place: int) -> np.ndarray:
    """Maps of the view at this place of `symmetries`, turned back to match the original images."""
    mirrored, turns = divmod(place, 4)
    back = np.rot90(maps, -turns, axes=(1, 2))
    return back[:, :, ::-1] if mirrored else back


def deletion_insertion(
    answer: Answer, images: np.ndarray, classes: np.ndarray, *, maps: np.ndarray, steps: int
) -> dict[str, np.ndarray]:
    """The probability of a class while pixels are deleted or inserted, the map's highest first: two float [n, steps+1].

    classes: int [n]; maps: float [n, side, side]. In `deletion` the pixels become plain skin. In `insertion` a blurred
    image gets its pixels back (Petsiuk, Das and Saenko, RISE, BMVC 2018). The better the map, the faster the first
    curve falls and the second rises.
    """
    order = np.argsort(-maps.reshape(len(maps), -1), axis=1, kind="stable")
    rank = np.argsort(order, axis=1).reshape(*maps.shape, 1)
    counts = np.linspace(0, order.shape[1], steps + 1)

    def course(start: np.ndarray, end: np.ndarray) -> np.ndarray:
        return class_probabilities(answer, (np.where(rank < count, end, start) for count in counts), classes).T

    return {"deletion": course(images, plain_skin(images)), "insertion": course(blur(images), images)}


def area_under(curves: np.ndarray) -> np.ndarray:
    """The area under each curve float [n, steps + 1] over 0 to 1, float64 [n]: the mean probability along the way."""
    return np.trapezoid(np.float64(curves), dx=1 / (curves.shape[1] - 1), axis=1)


def blur(images: np.ndarray) -> np.ndarray:
    """The images uint8 [n, side, side, 3], blurred so that their colours stay but their structures disappear."""
    width = BLUR * images.shape[1]
    return np.rint(gaussian_filter(images.astype(np.float32), (0, width, width, 0), mode="nearest")).astype(np.uint8)
