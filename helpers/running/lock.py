"""Locks that one process at a time holds on a study, or on the images of a dataset."""

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from helpers.study import ROOT, StudyError, build_folder


def study_lock(study: str, *, wait: bool = True) -> AbstractContextManager:
    """Held while a process works on a study. If another one holds it, that one is named, and waited for if `wait`.

    Raises StudyError instead of waiting.
    """
    return _hold_lock(build_folder(study) / "lock", f"Study {study}", wait=wait)


def dataset_lock(dataset: str, *, wait: bool = True) -> AbstractContextManager:
    """Held while the images of a dataset are drawn or deleted; see `study_lock`."""
    return _hold_lock(ROOT / "data" / f".{dataset}.lock", f"The dataset {dataset}", wait=wait)


@contextmanager
def _hold_lock(path: Path, what: str, *, wait: bool) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"{what} is in use by {path.read_text() or 'another process'}"
            if not wait:
                raise StudyError(f"{message}. Try again when that has ended.") from None
            print(f"{message}. Waiting for it to end. Ctrl-C gives up, WAIT=no does not wait.", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(f"process {os.getpid()}, started at {time.strftime('%H:%M')}")
        lock.flush()
        yield
        lock.truncate(0)
