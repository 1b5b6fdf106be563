"""JPEG and PNG as the model takes them. Bytes come from anywhere, so nothing in them is believed.

Messages about a file that cannot be read name no file and quote nothing from it: both may name a patient.
"""

import io
import re
import warnings
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, UnidentifiedImageError

from clinic.reading.budget import Budget
from clinic.reading.quality import measures
from helpers.data.pixels import COLOUR_CONSTANCY, MOST_PIXELS, centre_square, shades_of_gray
from helpers.study import StudyError

# Each pass of a progressive JPEG goes over all of its pixels again: a small file could keep a decoder busy for hours.
MOST_PASSES, MOST_WORK = 64, 1_000_000_000  # and the pixels of all passes together
MARKER = re.compile(rb"\xff([\x02-\xcf\xd9-\xfe])")  # of a JPEG; the others have no length, or stand inside of data
PASS, END = b"\xda", b"\xd9"
_pixels = Budget(40_000_000)  # that are decoded at a time; a larger image is decoded alone


class Unreadable(StudyError):
    """A file that gives no image. The text names neither the file nor anything in it."""


@dataclass(frozen=True)
class ImageFormat:
    """The form of pictures: side x side pixels for the model, preview x preview to be shown, or 0 for no preview."""

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

    frame: its place in a file of several, from 1. preview: uint8 [preview, preview, 3] to be shown, or None.
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
    """Let no library warn: their warnings quote the files."""
    warnings.simplefilter("ignore")


def decode(data: bytes, image_format: ImageFormat) -> Picture:
    """The image in a JPEG or PNG file. Raises Unreadable."""
    try:
        with _open(data) as image:
            size = _checked_size(image, data)
            with _pixels.hold(size[0] * size[1]):
                square = _square(image, image_format.side)
                # Decoded anew: the size that a JPEG is decoded at must not depend on what is shown.
                preview = _square(_open(data), image_format.preview) if image_format.preview else None
    except Unreadable:
        raise
    except Image.DecompressionBombError as error:
        raise Unreadable("too many pixels to be a photograph") from error
    except (UnidentifiedImageError, SyntaxError) as error:
        raise Unreadable("not a whole JPEG or PNG") from error
    except Exception as error:  # whatever a decoder does with such bytes concerns this one file
        raise Unreadable("broken or cut off: it cannot be read to its end") from error
    return _picture(square, preview, size, image_format)


def from_array(
    pixels: np.ndarray, image_format: ImageFormat, frame: int = 1, *, burned_in_text: bool = False
) -> Picture:
    """The picture of pixels that are decoded already, uint8 [height, width, 3], RGB."""
    image = Image.fromarray(pixels)
    preview = _square(image, image_format.preview) if image_format.preview else None
    picture = _picture(_square(image, image_format.side), preview, image.size, image_format)
    return replace(picture, frame=frame, burned_in_text=burned_in_text)


def passes(data: bytes) -> int:
    """How often a JPEG goes over its pixels, up to MOST_PASSES + 1; what is inside of segments does not count.

    Markers as in ITU-T T.81, B.1.1: after each but a few stands the length of its segment.
    """
    count, place = 0, 2
    while count <= MOST_PASSES and (found := MARKER.search(data, place)) and found[1] != END:
        count += found[1] == PASS
        place = found.end() + int.from_bytes(data[found.end() : found.end() + 2])
    return count


def _picture(
    square: np.ndarray, preview: np.ndarray | None, size: tuple[int, int], image_format: ImageFormat
) -> Picture:
    """A measured picture with the colours that the model was trained on. size: width and height in the file."""
    if image_format.colour_constancy == "shades_of_gray":
        square = shades_of_gray(square)
    return Picture(square, measures(square), *size, preview=preview)


def _checked_size(image: Image.Image, data: bytes) -> tuple[int, int]:
    """Width and height by the header. Raises Unreadable for what would take too long or too much memory to decode."""
    pixels, often = image.width * image.height, 1 if image.format == "PNG" else passes(data)
    if pixels > MOST_PIXELS:
        raise Unreadable(f"{image.width} x {image.height} px: too many pixels to be a photograph")
    if often > MOST_PASSES or often * pixels > MOST_WORK:
        raise Unreadable("a JPEG of so many passes over its pixels as no camera writes")
    return image.size


def _square(image: Image.Image, side: int) -> np.ndarray:
    return np.asarray(centre_square(image, side, "RGB"))


def _open(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=["JPEG", "PNG"])
