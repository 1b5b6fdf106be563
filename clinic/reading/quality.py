"""A few numbers of colour, contrast and sharpness of an image, which show whether it looks like others."""

import numpy as np
from PIL import Image

CELLS = 16  # per side of the small copy on which colours are measured
DARK, BRIGHT, GREY = 12, 243, 4  # from 0 to 255: below, above and below these, an image is black, white and grey
MEASURES = (
    *(f"mean {colour}" for colour in ("red", "green", "blue")),
    *(f"log deviation of {colour}" for colour in ("red", "green", "blue")),
    "log colourfulness",
    "centre less border",
    "log sharpness",
)


def measures(square: np.ndarray) -> np.ndarray:
    """MEASURES of an image uint8 [side, side, 3], float64 [m], in units of 0 to 255 or their natural logarithm.

    Colours are measured on a copy of about CELLS x CELLS pixels, so that hairs and noise do not matter. Colourfulness
    is the mean difference between the largest and the smallest of red, green and blue: a grey image has none. The
    border is the top and the bottom of the image. Sharpness is the variance of the Laplacian of the grey image
    (Pech-Pacheco et al., ICPR 2000).
    """
    image = Image.fromarray(square)
    small = np.asarray(image.reduce(max(1, square.shape[0] // CELLS)), np.float64)
    cells, rim = small.reshape(-1, 3), max(1, len(small) // 8)
    mean = cells.sum(axis=0) / len(cells)
    variance = np.square(cells - mean).sum(axis=0) / len(cells)
    colourful = (cells.max(axis=1) - cells.min(axis=1)).sum() / len(cells)
    centre = small[2 * rim : -2 * rim, 2 * rim : -2 * rim]
    inside = centre.sum() / centre.size if centre.size else mean.sum() / 3
    border = (small[:rim].sum() + small[-rim:].sum()) / (2 * rim * small[0].size)
    sharp = _variance(_laplacian(np.asarray(image.convert("L"))))
    return np.array([*mean, *np.log1p([*np.sqrt(variance), colourful]), inside - border, np.log1p(sharp)])


def describe_fault(measured: np.ndarray) -> str:
    """What plainly spoils an image with these MEASURES: it is black, white, or black and white; or nothing."""
    mean, colourful = measured[:3], np.expm1(measured[MEASURES.index("log colourfulness")])
    faults = {"is black": mean.max() < DARK, "is white": mean.min() > BRIGHT, "is black and white": colourful < GREY}
    return next((words for words, applies in faults.items() if applies), "")


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
