"""Writes the results for each file besides the tables: pages, DICOM objects and FHIR bundles.

What writes them is imported when it is needed, so that tables alone do not wait for it.
"""

import multiprocessing
import os
import secrets
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clinic.answering.deployment import Deployment
from clinic.answering.prediction import Outcome
from clinic.reading.budget import cores
from clinic.reading.pictures import ignore_warnings
from clinic.reading.place import Place
from clinic.writing.images import PREVIEW
from clinic.writing.tables import JOURNAL
from helpers.processes import end_with_parent
from helpers.records import REMEDIES, remnants, write_json
from helpers.study import StudyError

if TYPE_CHECKING:
    from clinic.writing.transactions import Server

FEW = 4  # files for which no process of their own pays


@dataclass
class Outputs:
    """Writes the requested results into a folder, under names that identify nobody.

    pages: png, pdf, or empty for none; dicom, fhir: whether to write these; deidentify: whether to leave out the
    identifiers of patients and studies, and all pixels that may name or show a person; previous: the folder of an
    earlier run, whose reports are named as predecessors; server: of the FHIR bundles, if they are to be
    transactions; key: random bytes for the names under `deidentify`, otherwise empty.
    """

    folder: Path
    deployment: Deployment
    _: KW_ONLY
    pages: str = ""
    dicom: bool = False
    fhir: bool = False
    deidentify: bool = False
    previous: Path | None = None
    server: "Server | None" = None
    key: bytes = field(init=False)

    def __post_init__(self):
        self.key = secrets.token_bytes(32) if self.deidentify else b""

    @property
    def preview(self) -> int:
        """Pixels per side of the previews; 0 if there are none."""
        return PREVIEW if self.pages else 0

    def write(self, outcome: Outcome) -> list[str]:
        """Write everything about an outcome; returns what could not be written, and why."""
        faults = []
        if not outcome.answers:
            return faults
        if self.deidentify:
            outcome = replace(outcome, answers=tuple(answer.round() for answer in outcome.answers))
        with _collect_fault(faults, "page"):
            self._write_pages(outcome)
        with _collect_fault(faults, "DICOM result"):
            self._write_dicom(outcome)
        with _collect_fault(faults, "FHIR bundle"):
            self._write_fhir(outcome)
        return faults

    def write_all(self, outcomes: Iterable[Outcome], files: int) -> Iterator[tuple[Outcome, list[str]]]:
        """Write each outcome and yield it with what `write` returns, in order.

        files: how many outcomes there may be. Pages take half a second of a processor each, so if there are enough of
        them, processes on all cores write.
        """
        workers = min(cores(), files // FEW) if self.pages else 1
        if workers < 2:
            yield from ((outcome, self.write(outcome)) for outcome in outcomes)
            return
        waiting, spawn = deque(), multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, spawn, _prepare_process) as pool:
            for outcome in outcomes:
                waiting.append((outcome, pool.submit(self.write, outcome)))
                if len(waiting) > 2 * workers:
                    first, written = waiting.popleft()
                    yield first, written.result()
            yield from ((outcome, written.result()) for outcome, written in waiting)

    def _write_pages(self, outcome: Outcome) -> None:
        if not self.pages:
            return
        if reason := self._reason_to_hide(outcome):
            raise StudyError(f"no page, since {reason}")
        from clinic.writing.pages import Page

        place = None if self.deidentify else self._place(outcome)
        for picture, answer in outcome.pairs:
            name = f"{outcome.file.image}-{picture.frame}"
            Page(name, picture, answer, self.deployment, place).write(self.folder / "pages" / f"{name}.{self.pages}")

    def _write_dicom(self, outcome: Outcome) -> None:
        """Write the report about a DICOM object; other files have no study to put it in."""
        place = self._place(outcome)
        if not self.dicom or place is None:
            return
        from pydicom import dcmread

        from clinic.writing.datasets import save
        from clinic.writing.structured import report

        name = Path("dicom") / f"{outcome.file.image}-report.dcm"
        former = self.previous and self.previous / name
        former = dcmread(former) if former and former.is_file() else None
        options = "deidentified" if self.deidentify else ""
        save(report(place, outcome.answers, self.deployment, options=options, former=former), self.folder / name)

    def _write_fhir(self, outcome: Outcome) -> None:
        if not self.fhir:
            return
        from clinic.writing.fhir import bundle
        from clinic.writing.transactions import transaction

        image, place = outcome.file.image, self._place(outcome)
        for picture, answer in outcome.pairs:
            content = bundle(image, answer, self.deployment, place=place, frame=picture.frame)
            content = transaction(content, place, self.server) if self.server else content
            write_json(self.folder / "fhir" / f"{image}-{picture.frame}.json", content)

    def _reason_to_hide(self, outcome: Outcome) -> str:
        """Why the pixels of a file must not be shown, or an empty text."""
        place = outcome.file.place or {}
        burned_in = place.get("burned_in")
        if burned_in == "YES":
            return "its file says that text is burned into the image"
        if self.deidentify and burned_in != "NO":
            return "its file does not say that no text is burned into the image"
        if self.deidentify and place.get("recognisable") == "YES":
            return "its file says that a person can be recognised in the image"
        return ""

    def _place(self, outcome: Outcome) -> Place | None:
        if outcome.file.place is None:
            return None
        place = Place(**outcome.file.place)
        return place.without_identifiers(self.key) if self.deidentify else place


def _prepare_process() -> None:
    """End with the run that started this process, and by nothing else; say nothing, since it could quote files."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    ignore_warnings()


@contextmanager
def _collect_fault(faults: list[str], kind: str) -> Iterator[None]:
    """Add the fault of one kind of result to a list, so that it does not stop the other results.

    Raises OSError where nothing more can be written, as on a full disk.
    """
    try:
        yield
    except Exception as error:
        known = isinstance(error, StudyError)
        cause = error.__cause__ or error
        if isinstance(cause, OSError) and (known or cause.errno in REMEDIES):
            raise cause from None
        # What Python says could name the file, its folder or the patient.
        faults.append(str(error) if known else f"its {kind} could not be written")


def prepare_folder(folder: Path, inputs: list[Path]) -> Path:
    """Create the results folder, open only to its owner, and return it; another user's folder keeps its permissions.

    Raises StudyError if the folder is not empty, unless it has an unfinished run, or lies in a folder of images, where
    a later run would read the results. The message does not name the folder, since its name may name a patient.
    """
    folder = Path(folder).resolve()
    if folder.exists() and not (folder / JOURNAL).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise StudyError("--out is not an empty folder. Choose a new or empty one.")
    for number, given in enumerate((Path(one).resolve() for one in inputs), 1):
        if given.is_dir() and folder.is_relative_to(given):
            raise StudyError(f"--out lies in input {number}, whose images are read. Choose a folder elsewhere.")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for left in remnants(folder):  # by a run that was killed
        left.unlink()
    if hasattr(os, "getuid") and folder.stat().st_uid == os.getuid():
        folder.chmod(0o700)
    return folder
