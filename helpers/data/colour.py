"""Colour profiles: what the numbers of an image file mean as colours."""

import io
import warnings
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

GREY = ("1", "L", "LA", "I", "F")  # modes of Pillow
MODES = {"RGB ": "RGB", "CMYK": "CMYK", "GRAY": "L"}  # of Pillow, by the colour space that a profile names
SRGB_GAMMA, NEAR = 1 / 2.2, 0.02  # of the gAMA chunk of a PNG in sRGB, and how little of it nobody sees
ROUNDING = 2  # levels of 255: a profile that changes no colour by more is taken for sRGB itself


def to_srgb(image: Image.Image, profile: bytes | None = None) -> Image.Image:
    """An image with its colours in sRGB, without transparency if they had to be converted.

    profile: an ICC profile, by default the one embedded in the file. An image without one is taken for sRGB, at the
    gamma that a PNG may state, and so is one whose profile is broken or not for this kind of image, with a warning.
    """
    profile = profile or image.info.get("icc_profile")
    if not profile:
        return _at_srgb_gamma(image)
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


def _at_srgb_gamma(image: Image.Image) -> Image.Image:
    """The image at the gamma of sRGB, if it states another one and not that it is sRGB (PNG, ISO/IEC 15948, 11.3.3)."""
    power = SRGB_GAMMA / (image.info.get("gamma") or SRGB_GAMMA)
    if abs(power - 1) < NEAR or "srgb" in image.info or image.mode in ("1", "I", "F"):
        return image
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    curve, same = [round(255 * (level / 255) ** power) for level in range(256)], list(range(256))
    return image.point(sum((same if band == "A" else curve for band in image.getbands()), []))


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
