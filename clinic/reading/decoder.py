"""Decodes DICOM in separate processes, which may crash, hang or run out of memory without harm to the rest.

The process `python -m clinic.reading.decoder` receives a line of JSON and a file's bytes, and answers with a line of
JSON and pixels. Nothing that it sends is run or unpickled. But it is not a sandbox: a crafted file that takes over a
decoder has all the rights of the user who runs it.
"""

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import asdict

import numpy as np

from clinic.reading.budget import cores
from clinic.reading.pictures import ImageFormat, Picture, Unreadable, ignore_warnings
from helpers.study import ROOT

LONGEST = 30.0  # seconds for one object
THREADS = min(8, cores())  # threads that read files, each with its own decoder
LEAST_MEMORY, MOST_MEMORY = 2**30, 4 * 2**30  # bytes of address space of one decoder
COMMAND = [sys.executable, "-m", "clinic.reading.decoder"]
FRAME = ("width", "height", "frame", "burned_in_text", "measures")
# Raised if the process has ended, so that its pipe is broken, or if its answer is malformed.
BROKEN = (OSError, ValueError, TypeError, KeyError, AttributeError)


class Decoder:
    """Reads DICOM objects one at a time in a process, which is started when needed and replaced if it ends.

    Use it in one thread, and close it with `close` or a `with` block.
    """

    def __init__(self, longest: float = LONGEST):
        self.longest, self._process = longest, None

    def __enter__(self) -> "Decoder":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def read(self, data: bytes, image_format: ImageFormat) -> tuple[dict, list[Picture]]:
        """The place, as the arguments of `place.Place`, and the frames of an object. Raises Unreadable."""
        try:
            process = self._start()
        except OSError as error:
            raise Unreadable("no decoder could be started for it") from error
        late = threading.Event()
        timer = threading.Timer(self.longest, lambda: (late.set(), process.kill()))
        timer.start()
        try:
            return _ask(process, data, image_format)
        except BROKEN as error:
            self.close()
            fault = f"not decoded within {self.longest:g} s" if late.is_set() else "its decoder crashed"
            raise Unreadable(fault) from error
        finally:
            timer.cancel()
            timer.join()
            if late.is_set():  # the process was killed, even if its answer came just before
                self.close()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            for pipe in (self._process.stdin, self._process.stdout):
                with suppress(OSError):  # unsent data has no reader any more
                    pipe.close()
            self._process.wait()
            self._process = None

    def _start(self) -> subprocess.Popen:
        """The process, started if there is none."""
        if self._process is not None and self._process.poll() is not None:
            self.close()  # it ended after the last file, so the next one is not to blame
        if self._process is None:
            path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
            self._process = subprocess.Popen(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            )
        return self._process


def _ask(process: subprocess.Popen, data: bytes, image_format: ImageFormat) -> tuple[dict, list[Picture]]:
    """The answer of a process about an object. Raises Unreadable, or one of BROKEN."""
    process.stdin.write(json.dumps({"bytes": len(data)} | asdict(image_format)).encode() + b"\n")
    process.stdin.write(data)
    process.stdin.flush()
    answer = json.loads(process.stdout.readline())
    if fault := answer.get("fault"):
        raise Unreadable(fault)
    return answer["place"], [_receive(process.stdout, frame, image_format) for frame in answer["frames"]]


def _receive(stream, frame: dict, image_format: ImageFormat) -> Picture:
    """One frame from a process. Raises ValueError if the stream ends before it."""

    def pixels(side: int) -> np.ndarray:
        return np.frombuffer(stream.read(side * side * 3), np.uint8).reshape(side, side, 3)

    square, preview = pixels(image_format.side), pixels(image_format.preview) if image_format.preview else None
    return Picture(square, preview=preview, **frame | {"measures": np.array(frame["measures"])})


def _answer(data: bytes, image_format: ImageFormat) -> tuple[dict, list[np.ndarray]]:
    """The answer about an object: the line of JSON, and the pixels that follow it."""
    from clinic.reading.dicom import read_object

    try:
        place, pictures = read_object(data, image_format)
    except Unreadable as error:
        return {"fault": str(error)}, []
    frames = [{name: getattr(picture, name) for name in FRAME} for picture in pictures]
    frames = [frame | {"measures": frame["measures"].tolist()} for frame in frames]
    arrays = [array for picture in pictures for array in (picture.square, picture.preview) if array is not None]
    return {"place": asdict(place), "frames": frames}, arrays


def _limit_memory() -> None:
    """Limit the memory of this process, and prevent core dumps, which would write the object to disk."""
    with suppress(ImportError, ValueError, OSError):  # not every system has such limits; the time limit still holds
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (_memory(), _memory()))


def _memory() -> int:
    """Bytes of address space per decoder. All decoders together leave half of the machine's memory free."""
    share = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2 // THREADS
    return min(max(share, LEAST_MEMORY), MOST_MEMORY)


def main() -> None:
    """Answer requests from standard input until it ends."""
    # C decoders print to standard output. So it is redirected to nowhere, and answers go to a copy of it.
    with os.fdopen(os.dup(1), "wb") as answers:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        ignore_warnings()
        _limit_memory()
        while line := sys.stdin.buffer.readline():
            request = json.loads(line)
            data = sys.stdin.buffer.read(request.pop("bytes"))
            answer, arrays = _answer(data, ImageFormat(**request))
            answers.write(json.dumps(answer).encode() + b"\n")
            for array in arrays:
                answers.write(np.ascontiguousarray(array))
            answers.flush()


if __name__ == "__main__":
    main()
