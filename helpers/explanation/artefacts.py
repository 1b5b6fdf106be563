"""Hairs, rulers and dark corners on images: paste them, find them, and paint over them.

Images are uint8 [n, side, side, 3]. Each image gets its own random artefact. Artefacts that are found are returned as
masks of their pixels, bool [n, side, side], all False for an image without the artefact.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import binary_dilation, distance_transform_edt, gaussian_filter, grey_closing, uniform_filter1d

from helpers.data.pixels import skin_colour
from helpers.demo import camera
from helpers.study import StudyError

HAIR, INK = (0.16, 0.10, 0.08), (0.12, 0.12, 0.14)  # colours in 0 to 1
LEAST_HAIR = 0.02  # pasted hairs cover at least this share of an image
BLOCK = 256  # images searched at a time, to limit memory
DRAWS = 5  # counterparts drawn for each image, so that the figures do not depend on a single draw
SHIFT = 2  # pixels by which an image is moved
# Distances from the centre, in half sides, where a corner and the shade around it begin; the tip is at 1.41.
CORNER, RIM = 1.2, 0.85
DARK, SHADED = 0.7, 0.85  # a dark corner, or skin in its shade, is darker than this share of the skin's brightness
# As shares of the side: radius of a disc that is wider than any hair, and length of a straight piece of hair.
HAIR_RADIUS, HAIR_LENGTH = 1 / 64, 1 / 8
STRAIGHT, ANGLES = 0.8, 12  # share of a straight line that a hair must cover; number of directions tried
# How much darker a hair is than the skin beside it, in grey levels divided by the root of the side: on larger images a
# pixel mixes less skin into a hair. Faint pixels count only in images that also have clear ones.
CLEAR, FAINT = 1.5, 0.75
GREY = 0.85  # a hair darkens red by at least this share of what it darkens green; blood and pigment darken red less
STRIP, BAND = 1 / 5, 1 / 32  # widths of the strip along an edge that may hold a ruler, and of its bands: of the side
TICKS = 15, 52  # fewest and most ticks of a ruler along the whole side
EVEN = 40  # evenly spaced ticks have at least this many times the power of the neighbouring frequencies
FREQUENCIES = 21  # width of the window of frequencies that serves as background
SMOOTH = 1 / 64  # standard deviation of the blur of painted pixels, as a share of the side


def mirror(images: np.ndarray) -> np.ndarray:
    """The mirrored images. A network trained with reflections has seen such images."""
    return np.ascontiguousarray(images[:, :, ::-1])


def shift(images: np.ndarray) -> np.ndarray:
    """The images moved by SHIFT pixels to the right and down, edges repeated. Training has no such images."""
    return np.pad(images, ((0, 0), (SHIFT, 0), (SHIFT, 0), (0, 0)), mode="edge")[:, :-SHIFT, :-SHIFT]


# Changes that should not matter, for comparison with pasted artefacts.
HARMLESS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"mirror image": mirror, "shift": shift}


def find_hairs(images: np.ndarray) -> np.ndarray:
    """Masks of dark hairs.

    A hair is thin and darker than the skin on both sides, so a morphological closing fills it (as in DullRazor: Lee et
    al., Comput. Biol. Med. 27, 1997). It follows a straight line, is dark in all colours, and lies partly on skin,
    unlike the lines of a lesion. Hairs wider than the disc or lighter than the skin are not found.
    """
    side = images.shape[1]
    disc = _disc(max(1.5, HAIR_RADIUS * side))[None]
    closed = grey_closing(images, footprint=disc[..., None])
    taken = closed - images
    thin = np.where(taken[..., 0] >= GREY * taken[..., 1], taken.min(axis=3), 0)
    on_skin = closed.mean(axis=3) >= SHADED * skin_colour(images).mean(axis=1)[:, None, None]
    clear = _straight_lines(thin >= CLEAR * np.sqrt(side)) & on_skin
    hairy = clear.sum(axis=(1, 2)) >= HAIR_LENGTH * side / 2
    masks = np.zeros_like(clear)
    masks[hairy] = binary_dilation(_straight_lines(thin[hairy] >= FAINT * np.sqrt(side)), disc)
    return masks


def find_rulers(images: np.ndarray) -> np.ndarray:
    """Masks of rulers: bands along a whole edge of the image that have ticks.

    The ticks of a ruler are evenly spaced, so one frequency along the edge stands out. Ticks less than two pixels apart
    are not found.
    """
    masks = np.zeros(images.shape[:3], bool)
    dark, strip = images.min(axis=3).astype(np.float32), round(STRIP * images.shape[1])
    for turns in range(4):
        seen, covered = (np.rot90(each, turns, axes=(1, 2)) for each in (dark, masks))  # views, not copies
        covered[:, :, :strip] |= _ticked_columns(seen[:, :, :strip])[:, None]
    return masks


def find_dark_corners(images: np.ndarray) -> np.ndarray:
    """Masks of dark corners, which come from a dermatoscope's round opening or its light.

    An image has dark corners if their median is clearly darker than the skin around the lesion. The mask holds every
    pixel near the edges that is darker than the skin, including dark hair, ink and the margin of a lesion.
    """
    distance = _distance(images.shape[1])
    skin = skin_colour(images).mean(axis=1)
    dark = np.median(images[:, distance > CORNER].mean(axis=2), axis=1) < DARK * skin
    shaded = images.mean(axis=3) < SHADED * skin[:, None, None]
    return shaded & (distance > RIM) & dark[:, None, None]


FIND: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "hairs": find_hairs,
    "ruler": find_rulers,
    "dark corners": find_dark_corners,
}


def find_artefact(images: np.ndarray, what: str) -> np.ndarray:
    """The masks of one kind of artefact, a name in FIND, on many images, bool [n, side, side]."""
    blocks = np.array_split(images, 1 + len(images) // BLOCK)
    return np.concatenate([FIND[what](block) for block in blocks])


def inpaint(images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The images with masked pixels painted in the colours of the nearest unmasked ones, slightly blurred.

    An image that is masked all over stays as it is.
    """
    painted = images.copy()
    for place in np.flatnonzero(masks.any(axis=(1, 2)) & ~masks.all(axis=(1, 2))):
        painted[place] = _inpaint_one(images[place], masks[place])
    return painted


def counterparts(having: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """For each True row of `having`, bool [n], the number of a random False row with the same label.

    If there is none with that label, one of any label is drawn. Raises StudyError if all of `having` is True.
    """
    random = np.random.default_rng(seed)
    others = np.flatnonzero(~having)
    if not len(others):
        raise StudyError("All images have the artefact, so there is no image without it to compare with.")
    same = {label: others[labels[others] == label] for label in set(labels[having])}
    return np.array([random.choice(same[label] if len(same[label]) else others) for label in labels[having]], int)


def paint_with_counterparts(
    images: np.ndarray, masks: np.ndarray, labels: np.ndarray, *, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images with an artefact painted over, followed by DRAWS counterparts of each, painted in the same places.

    masks: bool [n, side, side], where the artefact is; labels: [n]. Returns the rows of the images that were painted,
    int [m], whether each has the artefact, bool [m], and the painted images, uint8 [m, side, side, 3].
    """
    having = masks.any(axis=(1, 2))
    others = [counterparts(having, labels, seed + draw) for draw in range(DRAWS)]
    rows = np.concatenate([np.flatnonzero(having), *others])
    painted = inpaint(images[rows], np.tile(masks[having], (1 + DRAWS, 1, 1)))
    return rows, np.arange(len(rows)) < having.sum(), painted


def _lay_over(
    images: np.ndarray, seed: int, *, draw: Callable, colour: tuple[float, float, float], opacity: float = 0.9
) -> np.ndarray:
    """The images with a drawing of each laid over it in one colour; draw: returns float [side, side] in 0 to 1."""
    draws = [draw(images.shape[1], np.random.default_rng((seed, place))) for place in range(len(images))]
    share = opacity * np.stack(draws)[..., None]
    return np.rint((1 - share) * images + 255 * share * np.array(colour)).astype(np.uint8)


def _hairs(side: int, random: np.random.Generator) -> np.ndarray:
    """Hairs like those of the demo images, added until they cover LEAST_HAIR of the image."""
    drawn = camera.draw_hairs(side, random)
    while drawn.mean() < LEAST_HAIR:
        drawn = np.maximum(drawn, camera.draw_hairs(side, random))
    return drawn


def _opening(side: int, random: np.random.Generator) -> np.ndarray:
    """1 outside a circle about as wide as the image, 0 inside."""
    edge = random.uniform(0.98, 1.12)
    return np.clip((_distance(side) - edge) / 0.06, 0, 1)


# Each returns the images with an artefact: dark hairs across them, the ticks of a ruler along one edge, or a black
# border around a round opening.
PASTE: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "hairs": partial(_lay_over, draw=_hairs, colour=HAIR),
    "ruler": partial(_lay_over, draw=camera.draw_ruler, colour=INK),
    "dark corners": partial(_lay_over, draw=_opening, colour=(0.0, 0.0, 0.0), opacity=1),
}


def _disc(radius: float) -> np.ndarray:
    """A disc of pixels: bool [k, k]."""
    place = np.arange(-int(radius), int(radius) + 1)
    return np.hypot(place[:, None], place) <= radius


def _straight_lines(dark: np.ndarray) -> np.ndarray:
    """The dark pixels, bool [n, side, side], on straight lines of HAIR_LENGTH that are mostly dark."""
    length = round(HAIR_LENGTH * dark.shape[1])
    steps, reach = np.arange(length) - length // 2, length // 2
    found, seen = np.zeros_like(dark), _shifts(dark, reach)
    for angle in np.pi * np.arange(ANGLES) / ANGLES:
        line = np.rint(np.outer(steps, (np.sin(angle), np.cos(angle)))).astype(int)
        count = np.zeros(dark.shape, np.uint8)
        for down, right in line:
            count += seen[:, reach + down, reach + right]
        centres = _shifts(count >= STRAIGHT * length, reach)
        for down, right in line:
            found |= centres[:, reach - down, reach - right]
    return found & dark


def _shifts(masks: np.ndarray, reach: int) -> np.ndarray:
    """The masks moved by up to `reach` pixels either way, False beyond their edges: a view [n, places, places, …]."""
    padded = np.pad(masks, ((0, 0), (reach, reach), (reach, reach)))
    return sliding_window_view(padded, masks.shape[1:], axis=(1, 2))


def _ticked_columns(strip: np.ndarray) -> np.ndarray:
    """Which columns of strips, float [n, side, width], are crossed by ticks at even distances: bool [n, width]."""
    side = strip.shape[1]
    band = max(2, int(BAND * side))
    bands = sliding_window_view(strip, band, axis=2).mean(axis=3)
    slopes = np.diff(bands, axis=1) * np.hanning(side - 1)[:, None]
    power = np.log1p(np.abs(np.fft.rfft(slopes, axis=1)) ** 2)
    over = power - uniform_filter1d(power, FREQUENCIES, axis=1, mode="mirror")
    height = np.exp(over[:, TICKS[0] : TICKS[1] + 1].max(axis=1))
    # Bands next to the one with the ticks overlap it, so half the power is enough for them.
    ticked = (height >= EVEN / 2) & (height.max(axis=1, keepdims=True) >= EVEN)
    reached = np.pad(ticked, ((0, 0), (band - 1, band - 1)))
    return sliding_window_view(reached, band, axis=1).any(axis=2)


def _inpaint_one(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """One image uint8 [side, side, 3] with the masked pixels, bool [side, side], interpolated."""
    nearest = distance_transform_edt(mask, return_distances=False, return_indices=True)
    width = SMOOTH * len(image)
    even = gaussian_filter(image[tuple(nearest)].astype(np.float32), (width, width, 0), mode="nearest")
    return np.where(mask[..., None], np.rint(even), image).astype(np.uint8)


def _distance(side: int) -> np.ndarray:
    """How far each pixel lies from the centre, in half sides: float64 [side, side]."""
    place = (np.arange(side) + 0.5) / side * 2 - 1
    return np.hypot(*np.meshgrid(place, place))
