"""JPEG and PNG as the model takes them. Bytes come from anywhere, so nothing in them is believed.

What is said of a file that cannot be read names no file and quotes nothing from it: names of files and what stands in
them may be a patient's.
"""

import io
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from clinic.reading.quality import measures
from helpers.data.pixels import COLOUR_CONSTANCY, MOST_PIXELS, centre_square, shades_of_gray
from helpers.study import StudyError

# Each pass of a progressive JPEG goes over all of its pixels again: a small file could keep a decoder busy for hours.
MOST_PASSES, MOST_WORK = 64, 1_000_000_000  # and the pixels of all passes together
TOGETHER = 40_000_000  # pixels that are decoded at a time; of larger images, one at a time and nothing beside it
MARKER = re.compile(rb"\xff([\x02-\xcf\xd9-\xfe])")  # of a JPEG; the others have no length, or stand inside of data
PASS, END = b"\xda", b"\xd9"


class Unreadable(StudyError):
    """A file that gives no image. The text names neither the file nor anything in it."""


class Budget:
    """What threads hold together of something, such as memory, up to `most`; who wants more than that holds it alone.

    Who asks for more than is left waits.
    """

    def __init__(self, most: int):
        self.most, self._held, self._changed = most, 0, threading.Condition()

    @contextmanager
    def hold(self, amount: int) -> Iterator[None]:
        """Hold this much for as long as the `with` block takes."""
        share = min(amount, self.most)
        with self._changed:
            self._changed.wait_for(lambda: self._held + share <= self.most)
            self._held += share
        try:
            yield
        finally:
            with self._changed:
                self._held -= share
                self._changed.notify_all()


_pixels = Budget(TOGETHER)


@dataclass(frozen=True)
class Wanted:
    """How images are wanted: side x side pixels for the model, and preview x preview to be shown, or 0 for none."""

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

    frame: its place in a file of several, from 1; preview: uint8 [preview, preview, 3] to be shown, or None; marked:
    whether the file says that text, such as a name, is burned into the pixels.
    """

    square: np.ndarray
    measures: np.ndarray
    width: int
    height: int
    frame: int = 1
    preview: np.ndarray | None = None
    marked: bool = False


def quiet() -> None:
    """Let no library warn: what they warn of quotes the files."""
    warnings.simplefilter("ignore")


def decode(data: bytes, wanted: Wanted) -> Picture:
    """The image in a JPEG or PNG file. Raises Unreadable."""
    try:
        with _opened(data) as image:
            size = _checked_size(image, data)
            with _pixels.hold(size[0] * size[1]):
                square = np.asarray(centre_square(image, wanted.side, "RGB"))
                # Decoded anew: the size that a JPEG is decoded at must not depend on what is shown.
                preview = _square(data, wanted.preview) if wanted.preview else None
    except Unreadable:
        raise
    except Image.DecompressionBombError as error:
        raise Unreadable("too many pixels to be a photograph") from error
    except (UnidentifiedImageError, SyntaxError) as error:
        raise Unreadable("not a whole JPEG or PNG") from error
    except Exception as error:  # whatever a decoder does with such bytes concerns this one file
        raise Unreadable("broken or cut off: it cannot be read to its end") from error
    return picture(square, wanted, size, preview)


def from_array(pixels: np.ndarray, wanted: Wanted, frame: int = 1, marked: bool = False) -> Picture:
    """The same of pixels that are decoded already, uint8 [height, width, 3], RGB."""
    image = Image.fromarray(pixels)
    square, preview = np.asarray(centre_square(image, wanted.side, "RGB")), None
    if wanted.preview:
        preview = np.asarray(centre_square(image, wanted.preview, "RGB"))
    return picture(square, wanted, image.size, preview, frame, marked)


def picture(
    square: np.ndarray,
    wanted: Wanted,
    size: tuple[int, int],
    preview: np.ndarray | None = None,
    frame: int = 1,
    marked: bool = False,
) -> Picture:
    """A Picture of its parts, measured, and with the colours that the model was trained on. size: width, height."""
    if wanted.colour_constancy == "shades_of_gray":
        square = shades_of_gray(square)
    return Picture(square, measures(square), *size, frame, preview, marked)


def passes(data: bytes) -> int:
    """How often a JPEG goes over its pixels, or MOST_PASSES + 1; what is inside of segments or after the end is none.

    Markers as in ITU-T T.81, B.1.1: after each but a few stands the length of its segment.
    """
    count, place = 0, 2
    while count <= MOST_PASSES and (found := MARKER.search(data, place)) and found[1] != END:
        count += found[1] == PASS
        place = found.end() + int.from_bytes(data[found.end() : found.end() + 2])
    return count


def _checked_size(image: Image.Image, data: bytes) -> tuple[int, int]:
    """Width and height by the header. Raises Unreadable for what would take too long or too much memory to decode."""
    pixels, often = image.width * image.height, 1 if image.format == "PNG" else passes(data)
    if pixels > MOST_PIXELS:
        raise Unreadable(f"{image.width} x {image.height} px: too many pixels to be a photograph")
    if often > MOST_PASSES or often * pixels > MOST_WORK:
        raise Unreadable("a JPEG of so many passes over its pixels as no camera writes")
    return image.size


def _square(data: bytes, side: int) -> np.ndarray:
    with _opened(data) as image:
        return np.asarray(centre_square(image, side, "RGB"))


def _opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=["JPEG", "PNG"])
