"""Warnings about an image: is it large and sharp enough, and does it look dermatoscopic?

"Dermatoscopic" only means similar to the images of the study in a few numbers of colour and contrast.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np
from PIL import Image

from helpers.study import StudyError

CELLS = 16  # per side of the small copy on which colours are measured
MEASURES = (
    *(f"mean {colour}" for colour in ("red", "green", "blue")),
    *(f"log deviation of {colour}" for colour in ("red", "green", "blue")),
    "centre less border",
    "log sharpness",
)
SMALL = "too small: {0} x {1} px, but the model needs {2} x {2}"
BLURRED, UNLIKE = "blurred, or without structure", "unlike a dermatoscopic image in colour or contrast"
LIKE = 0.99  # share of the validation images that count as dermatoscopic, and as sharp


@dataclass(frozen=True)
class Profile:
    """The appearance of a study's images: the mean and the inverse root of the covariance of their MEASURES.

    mean: m numbers. whitening: m x m. farthest: distance up to which an image counts as dermatoscopic. blurred: log
    sharpness below which it counts as blurred.
    """

    mean: tuple[float, ...]
    whitening: tuple[tuple[float, ...], ...]
    farthest: float
    blurred: float

    def distance(self, measured: np.ndarray) -> np.ndarray:
        """Mahalanobis distance of float [..., m] from the images of the study, float64 [...]."""
        return np.linalg.norm((measured - np.array(self.mean)) @ np.array(self.whitening).T, axis=-1)

    def warnings(self, measured: np.ndarray, sizes: Sequence[tuple[int, int]], side: int) -> list[tuple[str, ...]]:
        """Warnings about each of n images, for a model that takes side x side pixels.

        measured: their MEASURES, float [n, m]. sizes: their width and height in pixels.
        """
        blurred = measured[:, MEASURES.index("log sharpness")] < self.blurred
        unlike = self.distance(measured) > self.farthest
        small = [min(size) < side for size in sizes]
        texts = ((SMALL.format(*size, side), BLURRED, UNLIKE) for size in sizes)
        return [tuple(compress(*pair)) for pair in zip(texts, zip(small, blurred, unlike, strict=True), strict=True)]


def measures(square: np.ndarray) -> np.ndarray:
    """MEASURES of an image uint8 [side, side, 3], float64 [m], in units of 0 to 255 or their natural logarithm.

    Colours are measured on a copy of about CELLS x CELLS pixels, so that hairs and noise do not matter. The border is
    the top and the bottom of the image. Sharpness is the variance of the Laplacian of the grey image (Pech-Pacheco et
    al., ICPR 2000).
    """
    image = Image.fromarray(square)
    small = np.asarray(image.reduce(max(1, square.shape[0] // CELLS)), np.float64)
    cells, rim = small.reshape(-1, 3), max(1, len(small) // 8)
    mean = cells.sum(axis=0) / len(cells)
    variance = np.square(cells - mean).sum(axis=0) / len(cells)
    centre = small[2 * rim : -2 * rim, 2 * rim : -2 * rim]
    inside = centre.sum() / centre.size if centre.size else mean.sum() / 3
    border = (small[:rim].sum() + small[-rim:].sum()) / (2 * rim * small[0].size)
    sharp = _variance(_laplacian(np.asarray(image.convert("L"))))
    return np.array([*mean, *np.log1p(np.sqrt(variance)), inside - border, np.log1p(sharp)])


def _laplacian(grey: np.ndarray) -> np.ndarray:
    """The Laplacian inside of uint8 [side, side], float64 [(side - 2)**2]."""
    # 16 bits are enough, and four times as fast as 64.
    wide = grey.astype(np.int16)
    total = 4 * wide[1:-1, 1:-1]
    for neighbour in (wide[:-2, 1:-1], wide[2:, 1:-1], wide[1:-1, :-2], wide[1:-1, 2:]):
        total -= neighbour
    return total.ravel().astype(np.float64)


def _variance(values: np.ndarray) -> float:
    """The variance of float64 [n] that are whole numbers, so their sums are exact."""
    # Not `np.dot`: from 10,000 numbers on, its threads would take the cores from the network.
    return np.einsum("i,i", values, values) / len(values) - (values.sum() / len(values)) ** 2


def learn_profile(training: Sequence[np.ndarray], validation: Sequence[np.ndarray]) -> Profile:
    """The profile of images uint8 [side, side, 3]: mean and covariance from training, the two limits from validation.

    The covariance is shrunk (Ledoit and Wolf, J. Multivariate Anal. 2004). Raises StudyError for fewer training images
    than twice the MEASURES.
    """
    from sklearn.covariance import ledoit_wolf  # slow to load, and measuring does not need it

    if len(training) < 2 * len(MEASURES):
        raise StudyError(f"{len(training)} training images are too few for a profile: it takes {2 * len(MEASURES)}.")
    learnt, checked = (np.array([measures(square) for square in part]) for part in (training, validation))
    # Standardise the measures first. Otherwise the large numbers of the colours would dominate the shrinkage.
    unit = learnt.std(axis=0) + 1e-6
    root = np.linalg.inv(np.linalg.cholesky(ledoit_wolf(learnt / unit)[0])) / unit
    profile = Profile(tuple(learnt.mean(axis=0).tolist()), tuple(map(tuple, root.tolist())), 0.0, 0.0)
    farthest = np.quantile(profile.distance(checked), LIKE)
    blurred = np.quantile(checked[:, MEASURES.index("log sharpness")], 1 - LIKE)
    return replace(profile, farthest=float(farthest), blurred=float(blurred))
