"""The rows of a run on disk: a run that was killed goes on from them, and its size costs no memory."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from helpers.study import StudyError

ANSWERED, FAILED = "answered", "failed"
LONGEST = 2**20  # bytes of a line; that of a file with the most frames is far shorter


@dataclass(frozen=True)
class Journal:
    """A file with a line about the run, and a line for each input file that is done.

    run: what has to be the same for a run to go on. Raises StudyError if the file is from another run.
    """

    path: Path
    run: Mapping

    def __post_init__(self):
        if not self.path.exists():
            self._append(self.run)
            return
        with self.path.open("rb+") as file:
            first, size = file.readline(), file.seek(0, os.SEEK_END)
            start = file.seek(max(0, size - LONGEST))
            file.truncate(start + file.read().rfind(b"\n") + 1)  # a kill may have cut the last line off
        if not first.endswith(b"\n") or json.loads(first) != self.run:
            raise StudyError("--out has an unfinished run of other files, options or model. Choose a new folder.")

    def add(self, key: int | str, answered: list[dict], failed: list[dict]) -> None:
        """Add the rows of an input file, which is known by its key."""
        self._append({"file": key, ANSWERED: answered, FAILED: failed})

    def __iter__(self) -> Iterator[dict]:
        """What was added, in order."""
        with self.path.open() as file:
            next(file)
            yield from map(json.loads, file)

    def rows(self, kind: str) -> "Rows":
        """All rows that are ANSWERED or FAILED; they are read from the file each time that they are gone through."""
        return Rows(self, kind)

    def _append(self, content: Mapping) -> None:
        with self.path.open("ab") as file:
            start = file.tell()
            try:
                file.write(json.dumps(content).encode() + b"\n")
                file.flush()
            except OSError:  # a full disk: no part of a line stays
                os.ftruncate(file.fileno(), start)
                raise


@dataclass(frozen=True)
class Rows:
    """Rows of one kind in a journal."""

    journal: Journal
    kind: str

    def __iter__(self) -> Iterator[dict]:
        for entry in self.journal:
            yield from entry[self.kind]
