"""The centre square of an image, as every model takes it."""

import numpy as np
from PIL import Image, ImageOps

from helpers.data.colour import to_srgb

COLOUR_CONSTANCY = ("none", "shades_of_gray")
MOST_PIXELS = 80_000_000  # even a whole-body camera has fewer; a larger image is broken or an attack


def centre_square(image: Image.Image, side: int, mode: str) -> Image.Image:
    """The centre square of an open image, resized to `side` pixels, in mode `RGB` or `L`, as used by every model.

    A large JPEG is decoded at a reduced scale first, and colours are converted to sRGB, see `to_srgb`. Raises Pillow's
    errors for a broken file.
    """
    image.draft("RGB" if "icc_profile" in image.info else mode, (2 * side, 2 * side))
    if image.format != "JPEG" or "exif" in image.info:
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I;16"):  # Pillow would clip 16-bit values instead of scaling them
        image = image.point(lambda value: value / 256).convert("L")
    image = to_srgb(image)
    if image.mode != mode:
        image = image.convert("RGBA" if "transparency" in image.info else "RGB").convert("RGB").convert(mode)
    edge = min(image.size)
    left, top = (image.width - edge) // 2, (image.height - edge) // 2
    # Pillow's documentation rates Hamming as good as bicubic for shrinking, and it takes 60 % of the time.
    smooth = Image.Resampling.HAMMING if edge >= side else Image.Resampling.BICUBIC
    return image.resize((side, side), smooth, box=(left, top, left + edge, top + edge))


def shades_of_gray(image: np.ndarray) -> np.ndarray:
    """An image, uint8 [side, side, 3], with its colour channels scaled so that their Minkowski means agree.

    Finlayson and Trezzi, Shades of Gray and Colour Constancy, Color Imaging Conference 2004; the power is theirs.
    """
    light = np.power(image.astype(np.float32), 6).mean(axis=(0, 1)) ** (1 / 6)
    gain = light.mean() / np.maximum(light, 1e-6)
    return np.clip(np.rint(image * gain), 0, 255).astype(np.uint8)
