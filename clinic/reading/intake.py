"""Files as they arrive: which there are, who they are without a name, and their images, read ahead by threads."""

import hashlib
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

from clinic.reading.pictures import Budget, Picture, Unreadable, Wanted, decode
from clinic.reading.worker import LONGEST, THREADS, Decoder
from helpers.study import StudyError

LARGEST = 512 * 2**20  # bytes of one file
NAME_DIGITS = 16  # of the digest of a file's bytes, which it is called by: names of files may be patients'
JPEG, PNG, DICOM = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"DICM"
HEAD = 132  # bytes that tell which of them a file is
# A pipe is opened without waiting for what comes through it; on Windows, bytes are read as they are.
OPENED = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
IGNORED = {"DICOMDIR"}  # beside files whose names begin with a dot: a list of files, not an image
_bytes_held = Budget(LARGEST)  # of all files that are being read


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
            found += [(path, fault or _fault(path, root)) for path, fault in random_walk(given)]
        elif given.exists():
            found.append((given, _fault(given)))
        else:
            raise StudyError(f"Input {place} does not exist.")
    if not found:
        raise StudyError("There is no file to predict.")
    return [Found(number, path, fault) for number, (path, fault) in enumerate(found, 1)]


def read_ahead(
    files: Iterable[Found], read: Callable[[Found], Arrival], ahead: int, threads: int = THREADS
) -> Iterator[Arrival]:
    """What `read` gives for each file, in their order; while one is used, up to `ahead` more are read by threads.

    Once `ahead` pictures wait to be used, no thread begins another file, since a file may have many. Threads serve
    because Pillow lets go of the interpreter's lock while it decodes.
    """
    queue, waiting = _Queue(read, ahead), deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for place, one in enumerate(files):
                waiting.append(pool.submit(queue.read, place, one))
                if len(waiting) >= ahead:
                    yield queue.taken(waiting.popleft().result())
            while waiting:
                yield queue.taken(waiting.popleft().result())
        finally:
            for future in waiting:
                future.cancel()
            queue.end()


class _Queue:
    """Reads files until `most` pictures wait to be used; what waits is counted, not kept."""

    def __init__(self, read: Callable[[Found], Arrival], most: int):
        self._read, self._most, self._changed = read, most, threading.Condition()
        self._waiting, self._next = 0, 0

    def read(self, place: int, found: Found) -> Arrival:
        """Read the file of this place as soon as that is allowed; that of the one to be used next always is."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting < self._most or place <= self._next)
        arrival = self._read(found)
        with self._changed:
            self._waiting += len(arrival.pictures)
        return arrival

    def taken(self, arrival: Arrival) -> Arrival:
        """The arrival, which waits no longer."""
        with self._changed:
            self._waiting -= len(arrival.pictures)
            self._next += 1
            self._changed.notify_all()
        return arrival

    def end(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._next = math.inf
            self._changed.notify_all()


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
            with _opened(found.path) as file:
                kind, size = _kind(file), os.fstat(file.fileno()).st_size
                with _bytes_held.hold(size):
                    data = file.read(size)
                    image = self._called(data)
                    place, pictures = self._pictures(kind, data)
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

    def _pictures(self, kind: bytes, data: bytes) -> tuple[dict | None, list[Picture]]:
        if kind == DICOM:
            return self._decoder().read(data, self.wanted)
        return None, [decode(data, self.wanted)]

    def _decoder(self) -> Decoder:
        """The decoder of this thread."""
        if not hasattr(self._own, "decoder"):
            with self._lock:
                self._own.decoder = self._open.enter_context(Decoder(self.longest))
        return self._own.decoder


def random_walk(folder: Path) -> Iterator[tuple[Path, str]]:
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
    return _fault_of(status)


def _fault_of(status: os.stat_result) -> str:
    if not S_ISREG(status.st_mode):
        return "not a file"
    return f"larger than {LARGEST // 2**20} MiB" if status.st_size > LARGEST else ""


def _opened(path: Path) -> BinaryIO:
    """A file, which may have changed since it was found. Raises Unreadable for what is none now, and OSError."""
    descriptor = os.open(path, OPENED)
    status = os.fstat(descriptor)
    if S_ISREG(status.st_mode) and status.st_size <= LARGEST:
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise Unreadable(_fault_of(status))


def _kind(file: BinaryIO) -> bytes:
    """JPEG, PNG or DICOM, by the first bytes. Raises Unreadable for another file, before it is read as a whole."""
    head = file.read(HEAD)
    file.seek(0)
    for kind, own in ((JPEG, head), (PNG, head), (DICOM, head[128:])):
        if own.startswith(kind):
            return kind
    raise Unreadable("neither JPEG, PNG nor DICOM" if head else "the file is empty")
