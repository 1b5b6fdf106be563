"""Files on disk that wait for their turn; what was accepted survives a crash."""

import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

HIDDEN = "."  # first letter of files that are not complete yet


class Full(Exception):
    """The spool has no room for another file."""


@dataclass
class Spool:
    """Files in a folder of their own, which is open only to its owner.

    most_files, most_bytes: limits of what may wait. Only one process may use the folder.
    """

    folder: Path
    most_files: int = 1_000
    most_bytes: int = 4 * 2**30

    def __post_init__(self):
        self.folder = Path(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in self.folder.glob(f"{HIDDEN}*"):  # by a crash; nobody was told that they are accepted
            left.unlink()

    def put(self, data: bytes, name: str = "") -> Path:
        """Write a file completely or not at all; return its path once it is on disk.

        name: replaces a waiting file of this name; by default a new name, later in order than all others. Raises Full,
        and OSError if the disk is full.
        """
        waiting = self.files()
        if len(waiting) >= self.most_files or sum(map(_size, waiting)) + len(data) > self.most_bytes:
            raise Full
        target = self.folder / (name or f"{time.time_ns():020}-{secrets.token_hex(4)}.dcm")
        temporary = target.with_name(HIDDEN + target.name)
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        _sync(self.folder)
        return target

    def files(self) -> list[Path]:
        """The complete files, the oldest first."""
        return sorted(path for path in self.folder.iterdir() if not path.name.startswith(HIDDEN))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # answered meanwhile
        return 0


def _sync(folder: Path) -> None:
    """Write the names in a folder to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
