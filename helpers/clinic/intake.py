"""Files as they arrive: which there are, who they are without a name, and their images, read ahead by threads."""

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG

from helpers.clinic.pictures import Picture, Unreadable, Wanted, decode
from helpers.clinic.worker import LONGEST, Decoder
from helpers.study import StudyError

LARGEST = 512 * 2**20  # bytes of one file
NAME_DIGITS = 16  # of the digest of a file's bytes, which it is called by: names of files may be patients'
JPEG, PNG, DICOM = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"DICM"
IGNORED = {"DICOMDIR"}  # beside files whose names begin with a dot: a list of files, not an image


@dataclass(frozen=True)
class Found:
    """A file to be read: its number among all, from 1, and where it is; fault: why it cannot be, if that is known."""

    number: int
    path: Path
    fault: str = ""


@dataclass(frozen=True)
class Arrival:
    """A file that was read: who it is (`image`), and its pictures.

    place: of an object from DICOM, as the arguments of `dicom.Place`; fault: why it has no pictures, else empty.
    """

    found: Found
    image: str = ""
    pictures: tuple[Picture, ...] = ()
    place: dict | None = None
    fault: str = ""


def find_files(inputs: Iterable[Path]) -> list[Found]:
    """The files among the inputs and in the folders among them, however deep, sorted by path.

    Hidden files are left out. A link in a folder that leads out of it is a fault, as are what is no file, such as a
    pipe, and a folder that is not gone into, since it cannot be opened or is a link. Raises StudyError for an input
    that does not exist, and if there is no file at all; inputs are called by their numbers, from 1.
    """
    found = []
    for place, given in enumerate(map(Path, inputs), 1):
        if given.is_dir():
            root = given.resolve()
            found += [(path, fault or _fault(path, root)) for path, fault in _walk(given)]
        elif given.exists():
            found.append((given, _fault(given)))
        else:
            raise StudyError(f"Input {place} does not exist.")
    if not found:
        raise StudyError("There is no file to predict.")
    return [Found(number, path, fault) for number, (path, fault) in enumerate(found, 1)]


def read_ahead(
    files: Sequence[Found], read: Callable[[Found], Arrival], ahead: int, threads: int | None = None
) -> Iterator[Arrival]:
    """What `read` gives for each file, in their order; while one is used, up to `ahead` more are read by threads.

    Threads serve because Pillow lets go of the interpreter's lock while it decodes.
    """
    waiting, rest = deque(), iter(files)
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        try:
            for one in rest:
                waiting.append(pool.submit(read, one))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@dataclass
class Reader:
    """Reads files of all kinds, in any thread; closed by a `with` block, which ends the decoders of DICOM.

    wanted: how the images are wanted; longest: seconds for one DICOM object; key: random bytes, up to 64, that what a
    file is called by depends on, so that the file itself does not lead to its results; without it, SHA-256 is used.
    """

    wanted: Wanted
    longest: float = LONGEST
    key: bytes = b""
    _own: threading.local = field(default_factory=threading.local)
    _open: ExitStack = field(default_factory=ExitStack)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_) -> None:
        self._open.close()

    def __call__(self, found: Found) -> Arrival:
        """The arrival of a file; never raises for what is in it."""
        if found.fault:
            return Arrival(found, fault=found.fault)
        image = ""
        try:
            data = _bytes(found.path)
            image = self._called(data)
            place, pictures = self._pictures(data)
            return Arrival(found, image, tuple(pictures), place)
        except Unreadable as error:
            return Arrival(found, image, fault=str(error))
        except OSError:
            return Arrival(found, image, fault="the file cannot be opened")

    def _called(self, data: bytes) -> str:
        """What a file is called by, NAME_DIGITS hexadecimal digits."""
        if self.key:
            return hashlib.blake2b(data, key=self.key, digest_size=NAME_DIGITS // 2).hexdigest()
        return hashlib.sha256(data).hexdigest()[:NAME_DIGITS]

    def _pictures(self, data: bytes) -> tuple[dict | None, list[Picture]]:
        if data.startswith((JPEG, PNG)):
            return None, [decode(data, self.wanted)]
        if data[128:132] == DICOM:
            return self._decoder().read(data, self.wanted)
        raise Unreadable("neither JPEG, PNG nor DICOM" if data else "the file is empty")

    def _decoder(self) -> Decoder:
        """The decoder of this thread."""
        if not hasattr(self._own, "decoder"):
            with self._lock:
                self._own.decoder = self._open.enter_context(Decoder(self.longest))
        return self._own.decoder


def _walk(folder: Path) -> Iterator[tuple[Path, str]]:
    """The files below a folder, and the folders there that are not gone into, each with the fault of it."""
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
        status = path.stat()
    except (OSError, RuntimeError):  # a link to nowhere, or to itself
        return "the file cannot be opened"
    if not S_ISREG(status.st_mode):
        return "not a file"
    return f"larger than {LARGEST // 2**20} MiB" if status.st_size > LARGEST else ""


def _bytes(path: Path) -> bytes:
    """The bytes of a file, which may have grown since it was found. Raises Unreadable and OSError."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > LARGEST:
            raise Unreadable(f"larger than {LARGEST // 2**20} MiB")
        return file.read(size)
