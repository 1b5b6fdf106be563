"""What lies on a picture and not on the skin, hairs, rulers and dark corners: pasted on, found, and painted over.

Images are uint8 [n, side, side, 3]. What is pasted is drawn for each by its own random numbers; what is found is given
as masks, bool [n, side, side], of the pixels that it covers, all False for an image without it.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import binary_dilation, distance_transform_edt, gaussian_filter, grey_closing, uniform_filter1d

from helpers.data.pixels import skin_colour
from helpers.demo import camera
from helpers.study import StudyError

HAIR, INK = (0.16, 0.10, 0.08), (0.12, 0.12, 0.14)  # colours in 0 to 1
LEAST_HAIR = 0.02  # share of an image's pixels that pasted hairs cover at least
SHIFT = 2  # pixels by which an image is moved
# Half sides from the centre at which a corner begins, and at which the shade before it does; its tip is at 1.41.
CORNER, RIM = 1.2, 0.85
DARK, SHADED = 0.7, 0.85  # of the brightness of the skin: below is a dark corner, or skin in its shade
HAIR_RADIUS, HAIR_LENGTH = 1 / 64, 1 / 8  # of the disc that no hair fills, and along which it is straight: of the side
STRAIGHT, ANGLES = 0.8, 12  # share of a straight line that a hair has to cover, and directions that are tried
# How much darker than what is beside it a hair is, of 255, times the root of the side: the smaller the pixels, the less
# skin is mixed into a hair. What is faint counts only in images where something is clear.
CLEAR, FAINT = 1.5, 0.75
GREY = 0.85  # a hair takes at least so much of the red as of the green; blood and pigment take less
STRIP, BAND = 1 / 5, 1 / 32  # where along an edge a ruler may lie, and the bands that are looked at: shares of the side
TICKS = 15, 52  # that a ruler has along the whole side, fewest and most
EVEN = 40  # times the power of the frequencies about it that ticks at even distances have
FREQUENCIES = 21  # whose power is the background of the one in their middle
SMOOTH = 1 / 64  # standard deviation of the blur that evens out what is painted, as a share of the side


def paste_hairs(images: np.ndarray, seed: int) -> np.ndarray:
    """The images with dark hairs across them."""
    return _lay_over(images, _hairs, HAIR, 0.9, seed)


def paste_ruler(images: np.ndarray, seed: int) -> np.ndarray:
    """The images with the ticks of a ruler along one edge."""
    return _lay_over(images, camera.draw_ruler, INK, 0.9, seed)


def paste_dark_corners(images: np.ndarray, seed: int) -> np.ndarray:
    """The images as through a round opening, black outside of it."""
    return _lay_over(images, _opening, (0.0, 0.0, 0.0), 1.0, seed)


PASTE: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "hairs": paste_hairs,
    "ruler": paste_ruler,
    "dark corners": paste_dark_corners,
}


def mirror(images: np.ndarray) -> np.ndarray:
    """The images as in a mirror, which training has shown to networks that learn from symmetries."""
    return np.ascontiguousarray(images[:, :, ::-1])


def shift(images: np.ndarray) -> np.ndarray:
    """The images moved by SHIFT pixels to the right and down, which no training shows; their edges are repeated."""
    return np.pad(images, ((0, 0), (SHIFT, 0), (SHIFT, 0), (0, 0)), mode="edge")[:, :-SHIFT, :-SHIFT]


# Changes that mean nothing, for what is pasted to be held against.
HARMLESS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"mirror image": mirror, "shift": shift}


def find_hairs(images: np.ndarray) -> np.ndarray:
    """Where dark hairs lie on the images: masks.

    A hair is what a closing fills, thin and darker than both its sides (as in DullRazor: Lee et al., Comput. Biol. Med.
    27, 1997), along a straight line, about equally in all colours; and some of it has to lie on skin, since the lines
    of a lesion lie in the lesion. Hairs that are wider than the disc or lighter than the skin are not found.
    """
    side = images.shape[1]
    disc = _disc(max(1.5, HAIR_RADIUS * side))[None]
    closed = grey_closing(images, footprint=disc[..., None])
    taken = closed - images
    thin = np.where(taken[..., 0] >= GREY * taken[..., 1], taken.min(axis=3), 0)
    on_skin = closed.mean(axis=3) >= SHADED * skin_colour(images).mean(axis=1)[:, None, None]
    clear = _straight(thin >= CLEAR * np.sqrt(side)) & on_skin
    hairy = clear.sum(axis=(1, 2)) >= HAIR_LENGTH * side / 2
    masks = np.zeros_like(clear)
    masks[hairy] = binary_dilation(_straight(thin[hairy] >= FAINT * np.sqrt(side)), disc)
    return masks


def find_rulers(images: np.ndarray) -> np.ndarray:
    """Where along an edge of the images the ticks of a ruler lie: masks of bands as long as the edge.

    A ruler's ticks lie at even distances, so that along the edge one frequency stands out. They have to be two pixels
    apart at least: those of a ruler that is fine for the size of the images are not seen.
    """
    masks = np.zeros(images.shape[:3], bool)
    dark, strip = images.min(axis=3).astype(np.float32), round(STRIP * images.shape[1])
    for turns in range(4):
        seen, covered = (np.rot90(each, turns, axes=(1, 2)) for each in (dark, masks))  # views, not copies
        covered[:, :, :strip] |= _ticked(seen[:, :, :strip])[:, None]
    return masks


def find_dark_corners(images: np.ndarray) -> np.ndarray:
    """Where images have dark corners, as a dermatoscope's round opening or its light leave them: masks.

    The corners have to be, in the median, clearly darker than the skin about the lesion. All that is darker than the
    skin and lies towards the edges is then taken for them, and with it dark hair, ink and the margin of a lesion there.
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


def inpaint(images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The images with what the masks cover in the colours about it: those of the nearest pixels, evened out.

    An image without any pixel outside of its mask stays as it is.
    """
    painted = images.copy()
    for place in np.flatnonzero(masks.any(axis=(1, 2)) & ~masks.all(axis=(1, 2))):
        painted[place] = _inpaint_one(images[place], masks[place])
    return painted


def counterparts(having: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """For each row that is True in `having`, bool [n], one that is False and has the same label: row numbers.

    Drawn at random; where no such row has the label, from all of them. Raises StudyError if `having` is True all over.
    """
    random = np.random.default_rng(seed)
    others = np.flatnonzero(~having)
    if not len(others):
        raise StudyError("All images have it: there is none to hold them against.")
    alike = {label: others[labels[others] == label] for label in set(labels[having])}
    return np.array([random.choice(alike[label] if len(alike[label]) else others) for label in labels[having]], int)


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


def _lay_over(
    images: np.ndarray, draw: Callable, colour: tuple[float, float, float], opacity: float, seed: int
) -> np.ndarray:
    """The images with what `draw` gives for each, float [side, side] of 0 to 1, laid over them in one colour."""
    draws = [draw(images.shape[1], np.random.default_rng((seed, place))) for place in range(len(images))]
    share = opacity * np.stack(draws)[..., None]
    return np.rint((1 - share) * images + 255 * share * np.array(colour)).astype(np.uint8)


def _hairs(side: int, random: np.random.Generator) -> np.ndarray:
    """Hairs as on the demo's pictures, one lot upon the other until they cover LEAST_HAIR of the picture."""
    drawn = camera.draw_hairs(side, random)
    while drawn.mean() < LEAST_HAIR:
        drawn = np.maximum(drawn, camera.draw_hairs(side, random))
    return drawn


def _opening(side: int, random: np.random.Generator) -> np.ndarray:
    """1 outside of a circle of about the image's width, 0 inside."""
    edge = random.uniform(0.98, 1.12)
    return np.clip((_distance(side) - edge) / 0.06, 0, 1)


def _disc(radius: float) -> np.ndarray:
    """The pixels no farther than `radius` from the one in the middle: bool [k, k]."""
    place = np.arange(-int(radius), int(radius) + 1)
    return np.hypot(place[:, None], place) <= radius


def _straight(dark: np.ndarray) -> np.ndarray:
    """What of dark, bool [n, side, side], lies on a straight line of HAIR_LENGTH that is dark for the most part."""
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


def _ticked(strip: np.ndarray) -> np.ndarray:
    """Which columns of strips, float [n, side, width], are crossed by ticks at even distances: bool [n, width]."""
    side = strip.shape[1]
    band = max(2, int(BAND * side))
    bands = sliding_window_view(strip, band, axis=2).mean(axis=3)
    slopes = np.diff(bands, axis=1) * np.hanning(side - 1)[:, None]
    power = np.log1p(np.abs(np.fft.rfft(slopes, axis=1)) ** 2)
    over = power - uniform_filter1d(power, FREQUENCIES, axis=1, mode="mirror")
    height = np.exp(over[:, TICKS[0] : TICKS[1] + 1].max(axis=1))
    # A band beside the one with the ticks has some of them, too.
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
