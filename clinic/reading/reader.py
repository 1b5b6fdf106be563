"""Reads files of all kinds into pictures, with threads that read ahead."""

import hashlib
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from clinic.reading.budget import Budget
from clinic.reading.decoder import LONGEST, THREADS, Decoder
from clinic.reading.files import DICOM, LARGEST, InputFile, file_kind, open_file
from clinic.reading.pictures import ImageFormat, Unreadable, decode

NAME_DIGITS = 16  # of the digest that names a file in results, since file names may name patients
AHEAD, AHEAD_WITH_PREVIEW = 256, 32  # pictures that are read ahead of their use
_bytes = Budget(LARGEST)  # of all files that are being read


@dataclass
class Reader:
    """Reads files of all kinds, in any thread. Use it in a `with` block, which ends its threads and decoders.

    image_format: of the pictures. longest: seconds for one DICOM object. key: up to 64 random bytes for the names of
    files in results, so that nobody who has a file can find its results; without it the names come from SHA-256.
    """

    image_format: ImageFormat
    longest: float = LONGEST
    key: bytes = b""
    _local: threading.local = field(default_factory=threading.local)
    _streams: list[Iterator[InputFile]] = field(default_factory=list)
    _open: ExitStack = field(default_factory=ExitStack)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_) -> None:
        for stream in self._streams:  # before the decoders, which the threads of the streams use
            stream.close()
        self._open.close()

    def read(self, files: Iterable[InputFile]) -> Iterator[InputFile]:
        """The files with their pictures, in order. Threads read the next files while one is used."""
        stream = read_ahead(files, self, AHEAD_WITH_PREVIEW if self.image_format.preview else AHEAD)
        self._streams = [one for one in self._streams if one.gi_frame] + [stream]  # without those that have ended
        return stream

    def __call__(self, file: InputFile) -> InputFile:
        """The file with its pictures or its fault; never raises for what is in it."""
        if file.fault:
            return file
        try:
            with open_file(file.path) as opened:
                kind, size = file_kind(opened), os.fstat(opened.fileno()).st_size
                with _bytes.hold(size):
                    return self._decode(file, kind, opened.read(size))
        except Unreadable as error:
            return replace(file, fault=str(error))
        except OSError:
            return replace(file, fault="the file cannot be opened")

    def _decode(self, file: InputFile, kind: bytes, data: bytes) -> InputFile:
        """The file with the pictures in its data, or with a fault."""
        file = replace(file, image=self._name(data))
        try:
            if kind == DICOM:
                place, pictures = self._decoder().read(data, self.image_format)
                return replace(file, place=place, pictures=tuple(pictures))
            return replace(file, pictures=(decode(data, self.image_format),))
        except Unreadable as error:
            return replace(file, fault=str(error))

    def _name(self, data: bytes) -> str:
        """The name of a file in results: NAME_DIGITS hexadecimal digits."""
        if self.key:
            return hashlib.blake2b(data, key=self.key, digest_size=NAME_DIGITS // 2).hexdigest()
        return hashlib.sha256(data).hexdigest()[:NAME_DIGITS]

    def _decoder(self) -> Decoder:
        """The decoder of this thread."""
        if not hasattr(self._local, "decoder"):
            with self._lock:
                self._local.decoder = self._open.enter_context(Decoder(self.longest))
        return self._local.decoder


def read_ahead(
    files: Iterable[InputFile], read: Callable[[InputFile], InputFile], ahead: int, *, threads: int = THREADS
) -> Iterator[InputFile]:
    """The results of `read` for the files, in order; while one is used, threads read up to `ahead` more.

    Once `ahead` pictures wait to be used, no thread starts another file, since a file may have many pictures. Threads
    are enough, because Pillow releases the interpreter's lock while it decodes.
    """
    queue, waiting = _Queue(read, ahead), deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for place, file in enumerate(files):
                waiting.append(pool.submit(queue.read, place, file))
                if len(waiting) >= ahead:
                    yield queue.take(waiting.popleft().result())
            while waiting:
                yield queue.take(waiting.popleft().result())
        finally:
            for future in waiting:
                future.cancel()
            queue.end()


class _Queue:
    """Reads files until `most` pictures wait to be used. It only counts the pictures and does not store them."""

    def __init__(self, read: Callable[[InputFile], InputFile], most: int):
        self._read, self._most, self._changed = read, most, threading.Condition()
        self._waiting, self._next = 0, 0

    def read(self, place: int, file: InputFile) -> InputFile:
        """Read the file at this place as soon as there is room. The next file to be used never has to wait."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting < self._most or place <= self._next)
        read = self._read(file)
        with self._changed:
            self._waiting += len(read.pictures)
        return read

    def take(self, file: InputFile) -> InputFile:
        """Return the file, whose pictures no longer count as waiting."""
        with self._changed:
            self._waiting -= len(file.pictures)
            self._next += 1
            self._changed.notify_all()
        return file

    def end(self) -> None:
        """Release all waiting threads."""
        with self._changed:
            self._next = math.inf
            self._changed.notify_all()
