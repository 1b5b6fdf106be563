"""Answers the files that appear in a folder, each once: `python -m clinic watch`."""

import logging
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from clinic.answering.network import Predict
from clinic.answering.prediction import answer_files
from clinic.reading.files import InputFile, find_files
from clinic.reading.reader import Reader
from clinic.writing.outputs import Outputs
from clinic.writing.tables import Tables
from helpers.study import StudyError

SECONDS = 2.0  # between two looks at the folder
LOG = logging.getLogger("clinic.watch")


def watch(folder: Path, predict: Predict, outputs: Outputs, tables: Tables, ended: threading.Event) -> None:
    """Write results about every file in a folder, old ones and new ones, until `ended` is set.

    A file is read once it has stopped changing, and again only if it changes later: `tables` keep that on disk, so a
    run that was killed goes on where it was. They are written after each look that found something new.
    """
    with Reader(outputs.deployment.image_format(outputs.preview)) as reader:
        for files in _looks(folder, tables, ended):
            with closing(answer_files(reader.read(files), outputs.deployment, predict)) as outcomes:
                for outcome in outcomes:
                    faults = tables.add(outcome, outputs.write(outcome))
                    for fault in faults:
                        LOG.warning("file %d: %s", outcome.file.number, fault["fault"])
                    if not faults:
                        LOG.info("file %d: answered", outcome.file.number)
                    if ended.is_set():
                        break
            tables.write()


def _looks(folder: Path, tables: Tables, ended: threading.Event) -> Iterator[list[InputFile]]:
    """At each look with any, the files that are as they were at the look before and not yet in the tables."""
    before = set()
    while not ended.is_set():
        now = {found.stamp: found for found in _files(folder) if not tables.has(found)}
        settled = [found for stamp, found in now.items() if stamp in before]
        if settled:
            first = tables.counts["files"] + 1
            yield [replace(found, number=first + place) for place, found in enumerate(settled)]
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
