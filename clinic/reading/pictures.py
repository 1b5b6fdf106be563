"""Decodes images into the form that the model takes. The files are not trusted.

Error messages neither name a file nor quote from it, since both may name a patient.
"""

import io
import logging
import re
import warnings
from dataclasses import dataclass, replace

import numpy as np
import pillow_heif
from PIL import Image, ImageOps, UnidentifiedImageError

from clinic.reading.budget import Budget
from clinic.reading.quality import measures
from helpers.data.colour import to_srgb
from helpers.data.squares import COLOUR_CONSTANCY, MOST_PIXELS, centre_square, shades_of_gray
from helpers.study import StudyError

# Each pass of a progressive JPEG goes over all of its pixels again: a small file could keep a decoder busy for hours.
MOST_PASSES, MOST_WORK = 64, 1_000_000_000  # passes, and the pixels of all passes together
MARKER = re.compile(rb"\xff([\x02-\xcf\xd9-\xfe])")  # JPEG markers; the others have no length or occur inside data
FORMATS = ["JPEG", "PNG", "TIFF", "WEBP", "HEIF"]
PASS, END = b"\xda", b"\xd9"
pillow_heif.register_heif_opener(thumbnails=False)
_pixels = Budget(40_000_000)  # pixels decoded at the same time; a larger image is decoded alone


class Unreadable(StudyError):
    """A file that cannot be read as an image. The message neither names the file nor quotes from it."""


@dataclass(frozen=True)
class ImageFormat:
    """The size of pictures: side x side pixels for the model, preview x preview for display, or 0 for no preview.

    A preview shows the whole image on white, where the model sees the centre square.
    """

    side: int
    colour_constancy: str = "none"
    preview: int = 0

    def __post_init__(self):
        if self.colour_constancy not in COLOUR_CONSTANCY:
            raise StudyError(
                f"colour_constancy {self.colour_constancy!r}: choose one of {', '.join(COLOUR_CONSTANCY)}."
            )


@dataclass(frozen=True)
class Picture:
    """One image: `square` uint8 [side, side, 3] for the model, `measures` of `quality`, and its size in the file.

    frame: its number in the file, from 1. preview: uint8 [preview, preview, 3] for display, or None.
    burned_in_text: whether the file says that text, such as a name, is burned into the pixels.
    """

    square: np.ndarray
    measures: np.ndarray
    width: int
    height: int
    frame: int = 1
    preview: np.ndarray | None = None
    burned_in_text: bool = False


def ignore_warnings() -> None:
    """Silence all warnings and the logs of libraries, since they may quote the files."""
    warnings.simplefilter("ignore")
    for name in ("pydicom", "highdicom", "PIL", "pynetdicom"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def decode(data: bytes, image_format: ImageFormat) -> Picture:
    """The image in a file of one of FORMATS. Raises Unreadable."""
    try:
        with _open(data) as image:
            size = _checked_size(image, data)
            with _pixels.hold(size[0] * size[1]):
                square = _square(image, image_format.side)
                # Decode it again: the size at which the model's JPEG is decoded must not depend on the preview.
                preview = _whole(_open(data), image_format.preview) if image_format.preview else None
    except Unreadable:
        raise
    except Image.DecompressionBombError as error:
        raise Unreadable("too many pixels to be a photograph") from error
    except (UnidentifiedImageError, SyntaxError) as error:
        raise Unreadable("not a complete image") from error
    except Exception as error:  # any error of a decoder concerns only this file
        raise Unreadable("broken or cut off: it cannot be read to its end") from error
    return _picture(square, preview, size, image_format=image_format)


def from_array(
    pixels: np.ndarray, image_format: ImageFormat, frame: int = 1, *, burned_in_text: bool = False
) -> Picture:
    """A picture from decoded pixels, uint8 [height, width, 3], RGB."""
    image = Image.fromarray(pixels)
    preview = _whole(image, image_format.preview) if image_format.preview else None
    picture = _picture(_square(image, image_format.side), preview, image.size, image_format=image_format)
    return replace(picture, frame=frame, burned_in_text=burned_in_text)


def passes(data: bytes) -> int:
    """The number of passes that a JPEG makes over its pixels, counted up to MOST_PASSES + 1.

    Segments are skipped by the length that follows their marker (ITU-T T.81, B.1.1).
    """
    count, place = 0, 2
    while count <= MOST_PASSES and (found := MARKER.search(data, place)) and found[1] != END:
        count += found[1] == PASS
        place = found.end() + int.from_bytes(data[found.end() : found.end() + 2])
    return count


def _picture(
    square: np.ndarray, preview: np.ndarray | None, size: tuple[int, int], *, image_format: ImageFormat
) -> Picture:
    """A picture with its measures and with the colours that the model expects. size: width and height in the file."""
    if image_format.colour_constancy == "shades_of_gray":
        square = shades_of_gray(square)
    return Picture(square, measures(square), *size, preview=preview)


def _checked_size(image: Image.Image, data: bytes) -> tuple[int, int]:
    """Width and height from the header. Raises Unreadable if decoding would take too much time or memory."""
    pixels, often = image.width * image.height, passes(data) if image.format in ("JPEG", "MPO") else 1
    if pixels > MOST_PIXELS:
        raise Unreadable(f"{image.width} x {image.height} px: too many pixels to be a photograph")
    if often > MOST_PASSES or often * pixels > MOST_WORK:
        raise Unreadable("a JPEG with more passes over its pixels than any camera writes")
    return image.size


def _square(image: Image.Image, side: int) -> np.ndarray:
    return np.asarray(centre_square(image, side, "RGB"))


def _whole(image: Image.Image, side: int) -> np.ndarray:
    """The whole image, upright, in sRGB and on white, uint8 [side, side, 3]."""
    image.draft("RGB", (side, side))
    upright = to_srgb(ImageOps.exif_transpose(image))
    if upright.mode.startswith("I;16"):
        upright = upright.point(lambda value: value / 256).convert("L")
    return np.asarray(ImageOps.pad(upright.convert("RGB"), (side, side), color="white"))


def _open(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    if getattr(image, "n_frames", 1) > 1 and image.format in ("PNG", "TIFF", "WEBP"):
        raise Unreadable("it has several images")
    return image
