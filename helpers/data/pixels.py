"""Reading original image files, and the pixel cache that every model reads."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import cpu_count
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from helpers.data.squares import COLOUR_CONSTANCY, MOST_PIXELS, centre_square, shades_of_gray
from helpers.reading import read_note
from helpers.records import atomic_path, file_sha256, write_json, write_text
from helpers.study import StudyError, check_choice

BLOCK = 512  # images per block of the cache; only one block is in memory while it is written
MOVED = "name their folder: `make 02_preprocessing STUDY=… DATA_DIR=…`."
SETTLED = 2  # seconds after which a further change of a file is sure to change its times
VERSION = 2  # increased when the same settings give different pixels


@dataclass(frozen=True)
class PixelCache:
    """Resized images of a dataset: memory-mapped `pixels`, uint8 [n, side, side, 3] RGB, and image ids [n].

    fingerprint: a hash of pixels and ids, the same on every machine.
    """

    pixels: np.ndarray
    image_ids: np.ndarray
    fingerprint: str = ""

    def rows(self, image_ids: Iterable[str]) -> np.ndarray:
        """Positions, int64 [m], of these images in `pixels`. Raises StudyError for an image that is not cached."""
        rows = pd.Index(self.image_ids).get_indexer(list(image_ids))
        if (rows < 0).any():
            raise StudyError(
                "The pixel cache lacks images of the split. Run the notebook 02_preprocessing of this study again."
            )
        return rows


def read_square(path: Path, side: int) -> np.ndarray:
    """The centre square of an image file, resized: uint8 [side, side, 3], RGB, rotated according to its EXIF tag.

    Grey, CMYK, palette and transparent images become RGB without transparency.
    Raises StudyError if the file is empty, truncated, not an image, or larger than MOST_PIXELS.
    """
    return np.asarray(_open_square(path, side, "RGB"))


def read_grey(path: Path, side: int) -> Image.Image:
    """The centre square of an image file in grey, resized to `side` pixels. JPEGs are decoded at low resolution."""
    return _open_square(path, side, "L")


def read_masks(paths: Iterable[str | None], side: int) -> np.ndarray:
    """The centre squares of lesion masks, cut and resized like their images: bool [n, side, side], True on the lesion.

    An image without a mask, None or NaN, is all False. Raises StudyError for a file that is gone or cannot be read.
    """
    paths = list(paths)
    masks = np.zeros((len(paths), side, side), bool)
    for place, path in enumerate(paths):
        if isinstance(path, str):
            masks[place] = np.asarray(read_grey(path, side)) >= 128
    return masks


def skin_colour(images: np.ndarray) -> np.ndarray:
    """Skin colour, uint8 [n, 3]: the median over a ring around the centre of images, uint8 [n, side, side, 3].

    The ring leaves out the corners, which are black where the round edge of the dermatoscope is visible.
    """
    place = (np.arange(images.shape[1]) + 0.5) / images.shape[1] * 2 - 1
    distance = np.hypot(place[:, None], place)
    return np.median(images[:, (distance > 0.7) & (distance < 0.9)], axis=1).astype(np.uint8)


def build_cache(lesions: pd.DataFrame, side: int, folder: Path, *, colour_constancy: str = "none") -> PixelCache:
    """The pixel cache of these images in `folder`, built if it is missing or out of date.

    side: pixels; colour_constancy: `none` or `shades_of_gray`. The cache is written block by block to keep memory below
    a few hundred MiB. An interrupted build leaves no files. Raises StudyError that names unreadable images.
    """
    check_choice("colour_constancy", colour_constancy, COLOUR_CONSTANCY)
    target = cache_path(folder, side, colour_constancy)
    description = {"sources": _sources(lesions, side, colour_constancy), "image_ids": list(lesions["image_id"])}
    if not (target.is_file() and description.items() <= _description(target).items() and _is_intact(target)):
        target.with_suffix(".json").unlink(missing_ok=True)
        with atomic_path(target) as temporary:
            _write_pixels(temporary, list(lesions["path"]), side, colour_constancy=colour_constancy)
        fingerprint = _fingerprint(target, description["image_ids"])
        write_json(target.with_suffix(".json"), description | {"fingerprint": fingerprint})
    return open_cache(folder, side, colour_constancy)


def cache_path(folder: Path, side: int, colour_constancy: str = "none") -> Path:
    """Path of the cache for one size: <side>px.npy, or <side>px_<colour_constancy>.npy."""
    suffix = "" if colour_constancy == "none" else f"_{colour_constancy}"
    return Path(folder) / f"{side}px{suffix}.npy"


def open_cache(folder: Path, side: int, colour_constancy: str = "none") -> PixelCache:
    """Open a finished cache read-only. Raises StudyError if there is none, or if its bytes are not those written."""
    target = cache_path(folder, side, colour_constancy)
    remedy = "Run `make 02_preprocessing STUDY=…`, which builds it again."
    description = _description(target)
    if not (target.is_file() and description):
        raise StudyError(f"{target}: no finished pixel cache. {remedy}")
    if not _is_intact(target):
        raise StudyError(f"{target}: the pixel cache is damaged, its bytes are not those written. Delete it. {remedy}")
    # A plain array, because indexing a memmap object is slower.
    pixels = np.asarray(np.load(target, mmap_mode="r"))
    return PixelCache(pixels, np.array(description["image_ids"], dtype=object), description["fingerprint"])


def map_threads(function: Callable, items: Iterable, bar: tqdm) -> list:
    """Results of `function` for `items`, in order, computed on all cores. `bar` counts them.

    Threads are enough: Pillow and NumPy release the interpreter's lock while they decode, resize and transform.
    """
    results = []
    with ThreadPoolExecutor(cpu_count()) as pool:
        for result in pool.map(function, items):
            results.append(result)
            bar.update()
    return results


def _open_square(path: Path, side: int, mode: str) -> Image.Image:
    try:
        with Image.open(path) as image:
            if image.width * image.height > MOST_PIXELS:
                raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels")
            return centre_square(image, side, mode)
    except FileNotFoundError as error:
        raise StudyError(f"{path}: no such file. If the images were moved, {MOVED}") from error
    except Image.DecompressionBombError as error:
        raise StudyError(f"{path}: too large to be a photograph ({error}). Remove it or download it again.") from error
    except (UnidentifiedImageError, SyntaxError) as error:
        fault = "not an image" if Path(path).stat().st_size else "the file is empty"
        raise StudyError(f"{path}: {fault}. Remove it or download it again.") from error
    except (OSError, ValueError) as error:
        raise StudyError(f"{path}: cannot be read to its end ({error}). Download it again.") from error


def _write_pixels(path: Path, sources: list[str], side: int, *, colour_constancy: str) -> None:
    """Decode `sources` into an .npy file at `path`. Raises StudyError that names the first ten unreadable files."""
    np.lib.format.open_memmap(path, "w+", np.uint8, (len(sources), side, side, 3))
    if hasattr(os, "posix_fallocate"):  # a full disk fails here and not at the last image; writing is faster, too
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    faults = []
    with tqdm(total=len(sources), desc=f"{side} px cache", unit="image", mininterval=1) as bar:
        for start in range(0, len(sources), BLOCK):
            # Opened again for each block, because the pages of an open map count as memory of this process.
            window = np.lib.format.open_memmap(path, "r+")[start : start + BLOCK]
            decode = partial(_decode_into, window, sources[start : start + BLOCK], colour_constancy=colour_constancy)
            faults += [fault for fault in map_threads(decode, range(len(window)), bar) if fault]
    if faults:
        listing = "\n".join(faults[:10])
        raise StudyError(f"{len(faults)} of {len(sources)} images cannot be read, among them:\n{listing}")


def _decode_into(window: np.ndarray, sources: list[str], position: int, *, colour_constancy: str) -> str | None:
    """Write one decoded image into `window`. Returns an error message if it is unreadable."""
    try:
        image = read_square(sources[position], window.shape[1])
    except StudyError as error:
        return str(error)
    window[position] = image if colour_constancy == "none" else shades_of_gray(image)
    return None


def _sources(lesions: pd.DataFrame, side: int, colour_constancy: str) -> str:
    """A hash of the settings and of the name, size and modification time of each source file."""
    digest = hashlib.sha256(f"{VERSION} {side} {colour_constancy}".encode())
    for path in lesions["path"]:
        status = Path(path).stat()
        digest.update(f"{Path(path).name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _description(target: Path) -> dict:
    return read_note(target.with_suffix(".json"))


def _fingerprint(target: Path, image_ids: list[str]) -> str:
    return hashlib.sha256(file_sha256(target).encode() + "\n".join(image_ids).encode()).hexdigest()


def _is_intact(target: Path) -> bool:
    """Whether the pixels are those of the fingerprint.

    All bytes are read if size, times or inode of the file have changed since the last check, which lies beside it.
    """
    status, description, checked = target.stat(), _description(target), target.with_suffix(".checked")
    seal = f"{description['fingerprint']} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
    if checked.is_file() and checked.read_text(errors="replace") == seal:
        return True
    intact = _fingerprint(target, description["image_ids"]) == description["fingerprint"]
    if intact and time.time() - status.st_ctime > SETTLED:
        with suppress(OSError, StudyError):  # in a read-only folder each opening checks
            write_text(checked, seal)
    return intact
