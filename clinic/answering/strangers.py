"""Pictures that are no lesion, and images of lesions that were spoilt, to measure what a model says about them."""

import io
from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image, ImageFilter

GREY = np.array([0.299, 0.587, 0.114])  # of ITU-R BT.601
Spoil = Callable[[np.ndarray], np.ndarray]  # an image uint8 [side, side, 3] to another one


def draw_strangers(side: int, count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Pictures that are no lesion by their kind, uint8 [count, side, side, 3] each."""
    random = np.random.default_rng(seed)
    down, across = np.indices((side, side)) / side
    bytes_of = partial(random.integers, 0, 256)

    def blend(shares: np.ndarray) -> np.ndarray:
        first, second = bytes_of((2, 1, 1, 3))
        return first + (second - first) * np.clip(shares, 0, 1)[..., None]

    def clouds() -> np.ndarray:
        coarse = Image.fromarray(bytes_of((*random.integers(3, side // 3, 2), 3), np.uint8))
        return np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))

    draw = {
        "black, white and greys": lambda: np.full((side, side, 3), random.choice([0, 64, 128, 192, 255])),
        "plain colours": lambda: np.broadcast_to(bytes_of((1, 1, 3)), (side, side, 3)),
        "noise": lambda: bytes_of((side, side, 3)),
        "clouds": clouds,
        "gradients": lambda: blend(down * random.random() + across * random.random()),
        "stripes": lambda: blend((across * random.integers(2, 16) + down * random.integers(9)) % 1 > 0.5),
        "chessboards": lambda: blend((np.floor(down * (n := random.integers(2, 12))) + np.floor(across * n)) % 2),
        "discs": lambda: blend(np.hypot(down - 0.5, across - 0.5) < random.uniform(0.1, 0.5)),
    }
    return {kind: np.stack([one() for _ in range(count)]).astype(np.uint8) for kind, one in draw.items()}


def in_grey(image: np.ndarray) -> np.ndarray:
    """An image without its colours."""
    return _scale_saturation(image, 0)


def _scale_saturation(image: np.ndarray, factor: float) -> np.ndarray:
    grey = (image @ GREY)[..., None]
    return np.uint8(np.clip(np.rint(grey + (image - grey) * factor), 0, 255))


def _apply_gamma(image: np.ndarray, gamma: float) -> np.ndarray:
    return np.uint8(np.rint(255 * (image / 255) ** gamma))


def _scale_channels(image: np.ndarray, *gains: float) -> np.ndarray:
    return np.uint8(np.clip(image * np.array(gains), 0, 255))


def _blur(image: np.ndarray, width: float) -> np.ndarray:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(width * len(image))))


def _compress(image: np.ndarray, quality: int) -> np.ndarray:
    with io.BytesIO() as file:
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file))


def _on_screen(image: np.ndarray) -> np.ndarray:
    """As photographed from a screen: bluish, with the moiré of its pixels."""
    down, across = np.indices(image.shape[:2])
    moire = 0.15 * np.sin(2 * np.pi * (0.31 * across + 0.05 * down))[..., None] * np.array([1, -0.6, 0.8])
    shown = _scale_channels(_apply_gamma(image, 1.2), 0.9, 1, 1.12) * (1 + moire) * 0.85 + 20
    return _blur(np.uint8(np.clip(shown, 0, 255)), 0.004)


FAULTS: dict[str, Spoil] = {  # of colour and light, whose directions an appearance learns
    "red and blue exchanged": lambda image: image[..., ::-1],
    "red and green exchanged": lambda image: image[..., [1, 0, 2]],
    "green and blue exchanged": lambda image: image[..., [0, 2, 1]],
    "brighter (gamma 0.5)": lambda image: _apply_gamma(image, 0.5),
    "darker (gamma 2)": lambda image: _apply_gamma(image, 2.0),
    "warm light": lambda image: _scale_channels(image, 1.2, 1, 0.75),
    "cold light": lambda image: _scale_channels(image, 0.75, 1, 1.25),
    "green light": lambda image: _scale_channels(image, 0.85, 1.2, 0.85),
    "a quarter of the colour": lambda image: _scale_saturation(image, 0.25),
    "twice the colour": lambda image: _scale_saturation(image, 2),
}
SPOILT: dict[str, Spoil] = FAULTS | {
    "slightly warm light": lambda image: _scale_channels(image, 1.1, 1, 0.87),
    "slightly cold light": lambda image: _scale_channels(image, 0.87, 1, 1.12),
    "pink light": lambda image: _scale_channels(image, 1.1, 0.9, 1.1),
    "half of the colour": lambda image: _scale_saturation(image, 0.5),
    "grey": in_grey,
    "negative": lambda image: 255 - image,
    "slightly blurred": lambda image: _blur(image, 0.01),
    "blurred": lambda image: _blur(image, 0.02),
    "JPEG of quality 10": lambda image: _compress(image, 10),
    "photographed from a screen": _on_screen,
}
