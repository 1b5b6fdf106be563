"""A limit on what several threads hold together, such as memory."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


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
