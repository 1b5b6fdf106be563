"""How images look as a collection: their colours, their sharpness, how much they show; and ways to change that."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter, laplace

LOOKS = ("mean red", "mean green", "mean blue", "deviation of grey", "log sharpness")
WIDEST = 3.0  # blur that is tried at most, standard deviation in pixels


def looks(images: np.ndarray) -> np.ndarray:
    """LOOKS of images, uint8 [n, side, side, 3]: float64 [n, 5], in grey values from 0 to 255, or their logarithm."""
    return np.array([[*image.mean(axis=(0, 1)), _grey(image).std(), log_sharpness(image)] for image in images])


def look_differences(squares: Mapping[str, np.ndarray], like: np.ndarray) -> pd.DataFrame:
    """The median LOOKS of each set minus those of the images `like`, in standard deviations of the latter."""
    wanted = looks(like)
    medians = {name: np.median(looks(images), axis=0) for name, images in squares.items()}
    return pd.DataFrame(medians, LOOKS).T.sub(np.median(wanted, axis=0)).div(wanted.std(axis=0))


def log_sharpness(image: np.ndarray) -> float:
    """Logarithm of one plus the variance of the Laplacian of the grey image (Pech-Pacheco et al., ICPR 2000)."""
    return float(np.log1p(laplace(_grey(image))[1:-1, 1:-1].var()))


def match_colours(images: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Images with the mean and the standard deviation of each colour channel of `like`, taken over all images."""
    given, wanted = (np.reshape(one, (-1, 3)).astype(np.float64) for one in (images, like))
    gain = wanted.std(axis=0) / np.maximum(given.std(axis=0), 1e-6)
    shift = wanted.mean(axis=0) - gain * given.mean(axis=0)
    return np.clip(np.rint(images * gain + shift), 0, 255).astype(np.uint8)


def match_sharpness(images: np.ndarray, like: np.ndarray) -> tuple[np.ndarray, float]:
    """Images blurred until their median sharpness is that of `like`, and the blur: standard deviation in pixels.

    Images that are not sharper stay as they are, with a blur of 0. Every 10th image is enough to find the blur.
    """
    wanted, sample = np.median(looks(like[::10])[:, -1]), images[::10]
    low, high = 0.0, WIDEST
    if np.median(looks(sample)[:, -1]) <= wanted:
        return images, 0.0
    for _ in range(8):  # to a hundredth of a pixel
        middle = (low + high) / 2
        sharper = np.median(looks(_blur(sample, middle))[:, -1]) > wanted
        low, high = (middle, high) if sharper else (low, middle)
    return _blur(images, high), high


def zoom(images: np.ndarray, factor: float) -> np.ndarray:
    """The centre of images, enlarged by `factor`; below 1, they are shrunk and their borders mirrored."""
    side = images.shape[1]
    if factor >= 1:
        edge = side / factor
        box = ((side - edge) / 2, (side - edge) / 2, (side + edge) / 2, (side + edge) / 2)
        return np.stack([_resize(image, side, box) for image in images])
    inner = round(side * factor)
    before = (side - inner) // 2
    margin = (before, side - inner - before)
    return np.stack([np.pad(_resize(image, inner), (margin, margin, (0, 0)), mode="symmetric") for image in images])


def changes(images: np.ndarray, like: np.ndarray, zooms: Sequence[float]) -> dict[str, np.ndarray]:
    """The images as they are, then each difference in look from the images `like` taken away, then zooms, by name."""
    matched = {"as they are": images, "colours matched": match_colours(images, like)}
    matched["sharpness matched"] = match_sharpness(images, like)[0]
    return matched | {f"zoom {factor:g}": zoom(images, factor) for factor in zooms}


def _resize(image: np.ndarray, side: int, box: tuple[float, ...] | None = None) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC, box=box))


def _blur(images: np.ndarray, deviation: float) -> np.ndarray:
    return np.stack([gaussian_filter(image, (deviation, deviation, 0)) for image in images])


def _grey(image: np.ndarray) -> np.ndarray:
    return image @ np.array([0.299, 0.587, 0.114])
