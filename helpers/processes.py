"""Processes that end with the one that started them, even if that was killed."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SECONDS = 0.5  # between two looks at the parent


def end_with_parent(parent: int | None = None) -> None:
    """End this process as soon as the one that started it has ended.

    parent: id of that process, needed if it did not start this one through `multiprocessing`.
    """
    threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: int | None) -> None:
    if parent is None:
        multiprocessing.parent_process().join()
    while os.getppid() == parent:
        time.sleep(SECONDS)
    os._exit(1)


def watch_make() -> Callable[[], bool]:
    """A function that says whether the make above this process was interrupted since.

    Make waits for its command without a word to it, but no longer catches the signal itself: Linux shows that.
    """
    make = next((pid for pid in _ancestors() if _status(pid).get("Name") in ("make", "gmake")), None)

    def has_handler() -> bool:
        caught = int(_status(make).get("SigCgt", "0"), 16) if make else 0
        return bool(caught >> (signal.SIGINT - 1) & 1)

    caught_at_first = has_handler()
    return lambda: caught_at_first and not has_handler()


def _ancestors() -> Iterator[int]:
    pid = os.getpid()
    while pid := int(_status(pid).get("PPid", "0")):
        yield pid


def _status(pid: int) -> dict[str, str]:
    """What Linux says of a process; empty on other systems and for a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {name: text.strip() for name, _, text in (line.partition(":") for line in lines)}
