"""Answers the files that appear in a folder, each once: `python -m clinic watch`."""

import logging
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

from clinic.answering.network import Predict
from clinic.answering.prediction import Outcome, answer_files
from clinic.reading.files import InputFile, find_files
from clinic.reading.reader import Reader
from clinic.writing.outputs import Outputs
from clinic.writing.tables import Tables
from helpers.study import StudyError

SECONDS = 2.0  # between two looks at the folder
LOG = logging.getLogger("clinic.watch")


def watch(folder: Path, predict: Predict, outputs: Outputs, *, tables: Tables, ended: threading.Event) -> None:
    """Write results about every file in a folder, old ones and new ones, until `ended` is set.

    A file is read once it has stopped changing, and again only if it changes later: `tables` keep that on disk, so a
    run that was killed goes on where it was. They are written after each look that found something new. What the disk
    has no room for is tried again.
    """
    written = 0
    with Reader(outputs.deployment.image_format(outputs.preview)) as reader:
        for files in _looks(folder, tables, ended):
            try:
                with closing(answer_files(reader.read(files), outputs.deployment, predict)) as outcomes:
                    for outcome in takewhile(lambda _: not ended.is_set(), outcomes):
                        _tell(outcome, tables.add(outcome, outputs.write(outcome)))
                if tables.counts["files"] > written:
                    tables.write()
                    written = tables.counts["files"]
            except OSError as error:  # its message names files
                LOG.error("%s; it is tried again", error.strerror or type(error).__name__)


def _tell(outcome: Outcome, faults: list[dict]) -> None:
    for fault in faults:
        LOG.warning("file %d: %s", outcome.file.number, fault["fault"])
    if not faults:
        LOG.info("file %d: answered", outcome.file.number)


def _looks(folder: Path, tables: Tables, ended: threading.Event) -> Iterator[list[InputFile]]:
    """At each look, the files that are as they were at the look before and not yet in the tables."""
    before = set()
    while not ended.is_set():
        now = {found.stamp: found for found in _files(folder) if not tables.has(found)}
        settled = [found for stamp, found in now.items() if stamp in before]
        yield [replace(found, number=number) for number, found in enumerate(settled, tables.counts["files"] + 1)]
        before = set(now)
        ended.wait(SECONDS)


def _files(folder: Path) -> Iterator[InputFile]:
    """The files in a folder, each with a stamp of its path, size and time."""
    try:
        found = find_files([folder])
    except StudyError:  # it is empty
        return
    for file in found:
        try:
            status = file.path.stat()
        except OSError:  # taken away meanwhile
            continue
        yield replace(file, stamp=f"{status.st_size} {status.st_mtime_ns} {file.relative}")
