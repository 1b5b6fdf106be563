"""Finds the files that a run reads, and opens only regular files of a known kind."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

from clinic.reading.pictures import Picture, Unreadable
from helpers.study import StudyError

LARGEST = 512 * 2**20  # bytes of one file
DICOM, IMAGE = b"DICM", b"image"
NO_PREAMBLE = (b"\x02\x00\x00\x00", b"\x08\x00\x05\x00", b"\x08\x00\x08\x00", b"\x08\x00\x16\x00")  # first elements
IMAGES = [  # JPEG, PNG, TIFF, WebP, HEIC
    re.compile(start, re.DOTALL)
    for start in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II\\*\0|MM\0\\*", b"RIFF....WEBP", b"....ftyp(hei[cx]|mif1)")
]
HEAD = 132  # bytes at the start of a file that show which kind it is
# Do not wait when opening a pipe; on Windows, read bytes unchanged.
OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
IGNORED = {"DICOMDIR"}  # a list of files, not an image; files whose names begin with a dot are ignored, too


@dataclass(frozen=True)
class InputFile:
    """A file of a run: its number among all, from 1, its path, and, once it was read, what is in it.

    fault: why it cannot be read, else empty. image: its name in results. pictures: none if there is a fault. place: of
    a DICOM object, as the arguments of `place.Place`. relative: the path within the folder given. stamp: of a file in a
    watched folder, by which it is known to be the same and unchanged.
    """

    number: int
    path: Path
    fault: str = ""
    image: str = ""
    pictures: tuple[Picture, ...] = ()
    place: dict | None = None
    relative: str = ""
    stamp: str = ""


def find_files(inputs: Iterable[Path]) -> list[InputFile]:
    """The files among the inputs and in the folders among them, however deep, sorted by path.

    Hidden files are left out. What cannot be read gets a fault: a link that leads out of its folder, something that is
    not a file, such as a pipe, and a folder that cannot be opened or is a link. Raises StudyError if there is no file,
    or for an input that does not exist; the message gives its number, from 1.
    """
    found = []
    for number, given in enumerate(map(Path, inputs), 1):
        if given.is_dir():
            root = given.resolve()
            found += [(path, fault or _fault(path, root), path.relative_to(given)) for path, fault in _walk(given)]
        elif given.exists():
            found.append((given, _fault(given), given.name))
        else:
            raise StudyError(f"Input {number} does not exist. Check its path.")
    if not found:
        raise StudyError("There is no file to predict. Name a file, or a folder with files in it.")
    return [InputFile(number, *one, relative=str(name)) for number, (*one, name) in enumerate(found, 1)]


def open_file(path: Path) -> BinaryIO:
    """Open a file for reading. Raises OSError, and Unreadable if it has changed since it was found."""
    descriptor = os.open(path, OPEN_FLAGS)
    if fault := _status_fault(os.fstat(descriptor)):
        os.close(descriptor)
        raise Unreadable(fault)
    return os.fdopen(descriptor, "rb")


def file_kind(file: BinaryIO) -> bytes:
    """IMAGE or DICOM, from the first bytes of an open file. Raises Unreadable for anything else."""
    head = file.read(HEAD)
    file.seek(0)
    if head[128:] == DICOM or head[:4] in NO_PREAMBLE:
        return DICOM
    if any(pattern.match(head) for pattern in IMAGES):
        return IMAGE
    raise Unreadable("neither an image (JPEG, PNG, TIFF, WebP, HEIC) nor DICOM" if head else "the file is empty")


def _walk(folder: Path) -> Iterator[tuple[Path, str]]:
    """The files below a folder, and the folders that are not entered, each with its fault."""
    closed = []
    for root, folders, files in os.walk(folder, onerror=closed.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from ((Path(root, name), "") for name in sorted(files) if not (name.startswith(".") or name in IGNORED))
        links = (path for path in (Path(root, name) for name in folders) if path.is_symlink())
        yield from ((path, "a link to a folder, which is not followed") for path in links)
    yield from ((Path(error.filename), "a folder that cannot be opened") for error in closed)


def _fault(path: Path, root: Path | None = None) -> str:
    """Why a path cannot be read as a file of the folder `root`, or an empty text."""
    try:
        if root is not None and path.is_symlink() and not path.resolve(strict=True).is_relative_to(root):
            return "a link that leads out of the folder"
        return _status_fault(path.stat())
    except (OSError, RuntimeError):  # a link to nowhere, or to itself
        return "the file cannot be opened"


def _status_fault(status: os.stat_result) -> str:
    if not S_ISREG(status.st_mode):
        return "not a file"
    return f"larger than {LARGEST // 2**20} MiB" if status.st_size > LARGEST else ""
