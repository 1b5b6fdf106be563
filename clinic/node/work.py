"""Answers what waits in the spool, and sends the reports to their destination."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clinic.node.spool import Spool

BATCH = 64  # images that are answered together
LOG = logging.getLogger("clinic.node")


@dataclass
class Work:
    """Two threads: one answers images, one sends reports. Both go on after a fault.

    images, reports: the spools. answer: as `Reports`. send: sends files, and yields those that have arrived.
    wait: seconds until an empty spool or an unreachable destination is tried again.
    """

    images: Spool
    reports: Spool
    answer: Callable[[Sequence[Path]], Iterator[tuple[Path, bytes, str]]]
    send: Callable[[Sequence[Path]], Iterator[Path]]
    wait: float = 5
    _ended: threading.Event = field(default_factory=threading.Event)
    _changed: dict = field(default_factory=lambda: {name: threading.Event() for name in ("answer", "deliver")})
    _threads: list = field(default_factory=list)
    _left: int = 0

    def __enter__(self) -> "Work":
        steps = {"answer": self.answer_oldest, "deliver": self.deliver_oldest}
        self._threads += [threading.Thread(target=self._repeat, args=item) for item in steps.items()]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        for name in self._changed:
            self.wake(name)
        for thread in self._threads:
            thread.join()

    def wake(self, step: str) -> None:
        """Do a step now: there is something new for it."""
        self._changed[step].set()

    def answer_oldest(self) -> bool:
        """Answer the oldest images; returns whether there were any. An image leaves when its report is on disk."""
        waiting = self.images.files()[:BATCH]
        for path, report, fault in self.answer(waiting) if waiting else ():
            if fault:
                LOG.warning("image %s: %s", path.stem, fault)
            else:
                self.reports.put(report, path.name)  # under the same name: after a crash, it is written once more
                self.wake("deliver")
            path.unlink()
            if self._ended.is_set():
                break
        return bool(waiting)

    def deliver_oldest(self) -> bool:
        """Send the reports; returns whether some have arrived. A report leaves when the destination has it."""
        waiting = self.reports.files()
        arrived = 0
        for path in self.send(waiting) if waiting else ():
            path.unlink()
            arrived += 1
        if (left := len(waiting) - arrived) not in (0, self._left):
            LOG.warning("%d reports wait, since the destination did not take them", left)
        self._left = left
        return arrived > 0

    def _repeat(self, name: str, step: Callable[[], bool]) -> None:
        while not self._ended.is_set():
            self._changed[name].clear()
            try:
                busy = step()
            except Exception as error:  # such as a full disk; its message could name a patient
                LOG.error("%s: failed (%s); it is tried again", name, type(error).__name__)
                busy = False
            if not busy:
                self._changed[name].wait(self.wait)
