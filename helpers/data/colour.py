"""Colour profiles: what the numbers of an image file mean as colours."""

import io
import warnings
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

GREY = ("1", "L", "LA", "I", "F")  # modes of Pillow
MODES = {"RGB ": "RGB", "CMYK": "CMYK", "GRAY": "L"}  # of Pillow, by the colour space that a profile names
ROUNDING = 2  # levels of 255: a profile that changes no colour by more is taken for sRGB itself


def to_srgb(image: Image.Image, profile: bytes | None = None) -> Image.Image:
    """An image with its colours in sRGB, without transparency if they had to be converted.

    profile: an ICC profile, by default the one embedded in the file. An image without one is taken for sRGB, and so is
    one whose profile is broken or not for this kind of image, with a warning.
    """
    profile = profile or image.info.get("icc_profile")
    if not profile:
        return image
    kind = "CMYK" if image.mode == "CMYK" else "L" if image.mode in GREY else "RGB"
    try:
        mode, transform = _conversion(profile)
        if mode != kind and (mode, kind) != ("RGB", "L"):
            raise ValueError(f"it is for {mode} and not for {kind}")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, KeyError) as error:
        warnings.warn(f"The image's colour profile is ignored ({error}): taken for sRGB.", stacklevel=2)
        return image
    if transform is None:
        return image
    opaque = image.convert("RGBA") if "transparency" in image.info else image
    return ImageCms.applyTransform(opaque.convert(mode), transform)


@lru_cache(maxsize=64)
def _conversion(profile: bytes) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """The mode of images that a profile is for, and their conversion to sRGB; None if it would change no colour."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    mode = MODES[source.profile.xcolor_space]
    transform = ImageCms.buildTransform(
        source,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    levels = np.stack(np.meshgrid(*[np.arange(0, 256, 15, np.uint8)] * 3), axis=-1).reshape(-1, 18, 3)
    before = Image.fromarray(levels).convert(mode)
    after = np.asarray(ImageCms.applyTransform(before, transform), int)
    return mode, None if np.abs(after - np.asarray(before.convert("RGB"))).max() <= ROUNDING else transform
