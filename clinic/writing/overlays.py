"""Previews of pictures with their maps laid over them."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from PIL import Image

from clinic.answering.maps import Maps
from clinic.reading.pictures import Picture
from helpers.study import StudyError

PREVIEW = 512  # pixels per side of an image that is shown to people
COLOURS, STRENGTH = "inferno", 0.6


def overlays(draw_maps: Maps, pictures: Sequence[Picture]) -> list[np.ndarray | None]:
    """The preview of each picture with its map laid over it; None for all pictures if the network has no maps."""
    try:
        maps = draw_maps(np.stack([picture.square for picture in pictures]))
    except StudyError:
        return [None] * len(pictures)
    return [overlay(picture.preview, shares) for picture, shares in zip(pictures, maps, strict=True)]


def overlay(preview: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """An image uint8 [p, p, 3] under a map float [side, side], which covers it more where it is higher; uint8."""
    large = np.asarray(Image.fromarray(np.float32(shares)).resize(preview.shape[:2], Image.Resampling.BILINEAR))
    opacity = STRENGTH * large[..., None]
    mixed = (1 - opacity) * preview + opacity * 255 * colormaps[COLOURS](large)[..., :3]
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
