"""What a run may use: processor cores, and what its threads hold together, such as memory."""

import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds in each period, and the period


def cores() -> int:
    """The processor cores that this process may use; no more than its container's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no container, or one without a quota
        quota, period = map(int, QUOTA.read_text().split())
        count = min(count, max(1, math.ceil(quota / period)))
    return count


class Budget:
    """Limits what threads hold together to `most`. Threads wait for room; a larger amount has to be held alone."""

    def __init__(self, most: int):
        self.most, self._in_use, self._changed = most, 0, threading.Condition()

    @contextmanager
    def hold(self, amount: int) -> Iterator[None]:
        """Hold this much for as long as the `with` block takes."""
        share = min(amount, self.most)
        with self._changed:
            self._changed.wait_for(lambda: self._in_use + share <= self.most)
            self._in_use += share
        try:
            yield
        finally:
            with self._changed:
                self._in_use -= share
                self._changed.notify_all()
