"""What a run leaves for each file beside the tables: pages, DICOM objects, FHIR bundles, under names without a name."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clinic.answering.deployment import Deployment
from clinic.answering.prediction import Outcome
from clinic.writing.maps import Map, laid_over
from helpers.records import atomic_path, write_json
from helpers.study import StudyError

if TYPE_CHECKING:
    import keras

    from clinic.reading.dicom import Place


@dataclass
class Outputs:
    """Writes what is wanted about each outcome into a folder.

    pages: png, pdf or empty for none; dicom, fhir: whether to write these; deidentify: whether to drop the identifiers
    of patients and studies from them, and to show no pixels that may name or show a person; draw_map, model: what the
    maps are drawn with, or None for no maps. key: random bytes for names under `deidentify`, else empty.
    """

    folder: Path
    deployment: Deployment
    pages: str = ""
    dicom: bool = False
    fhir: bool = False
    deidentify: bool = False
    draw_map: Map | None = None
    model: "keras.Model | None" = None
    _series: dict = field(default_factory=dict)
    key: bytes = field(init=False)

    def __post_init__(self):
        self.key = secrets.token_bytes(32) if self.deidentify else b""

    @property
    def preview(self) -> int:
        """Side of the images to be shown, in pixels; 0 where none are."""
        if not (self.pages or (self.dicom and self.draw_map)):
            return 0
        from clinic.writing.pages import PREVIEW

        return PREVIEW

    def write(self, outcome: Outcome) -> list[str]:
        """Write everything about an outcome; returns what could not be written, and why."""
        if not outcome.answers:
            return []
        faults, maps = [], [None] * len(outcome.answers)
        if self.preview and self.draw_map:
            with _told(faults, "map"):
                maps = self._maps(outcome)
        if self.pages:
            with _told(faults, "page"):
                self._write_pages(outcome, maps)
        if self.dicom:
            with _told(faults, "DICOM result"):
                self._write_dicom(outcome, maps)
        if self.fhir:
            with _told(faults, "FHIR bundle"):
                self._write_fhir(outcome)
        return faults

    def _maps(self, outcome: Outcome) -> list[np.ndarray | None]:
        """The map of each picture, laid over it.

        None where there is none, where the model gives no answer that it could be of, and where the image must not be
        shown again.
        """
        if self._hidden(outcome):
            return [None] * len(outcome.answers)
        drawn = laid_over(self.draw_map, self.model, outcome.arrival.pictures)
        return [None if own.silent else mapped for own, mapped in zip(outcome.answers, drawn, strict=True)]

    def _hidden(self, outcome: Outcome) -> str:
        """Why the pixels of a file must not be shown again, or an empty text."""
        place = outcome.arrival.place or {}
        if place.get("burned_in") == "YES":
            return "its file says that text is burned into the image"
        if self.deidentify and place.get("burned_in") != "NO":
            return "its file does not say that no text is burned into the image"
        if self.deidentify and place.get("recognisable") == "YES":
            return "its file says that a person can be recognised in the image"
        return ""

    def _write_pages(self, outcome: Outcome, maps: list) -> None:
        from clinic.writing.pages import write_page

        if reason := self._hidden(outcome):
            raise StudyError(f"no page, since {reason}")
        for (picture, own), mapped in zip(outcome.pairs, maps, strict=True):
            name = f"{outcome.arrival.image}-{picture.frame}"
            path = self.folder / "pages" / f"{name}.{self.pages}"
            write_page(path, name, picture, own, self.deployment, mapped)

    def _write_dicom(self, outcome: Outcome, maps: list) -> None:
        """The report of an object from DICOM and its maps; other files have no study to be filed in.

        Raises StudyError, once the report is written, for a map that there would be if it could be shown.
        """
        place = self._place(outcome)
        if place is None:
            return
        from clinic.writing.structured import map_image, report

        document = report(place, outcome.answers, self.deployment, self._filed(place, "report"))
        self._save(document, f"{outcome.arrival.image}-report")
        for number, mapped in enumerate(maps, 1):
            if mapped is not None:
                image = map_image(place, mapped, self.deployment, self._filed(place, "map"), number)
                self._save(image, f"{outcome.arrival.image}-map-{number}")
        reason = self._hidden(outcome)
        if reason and self.draw_map and not all(own.silent for own in outcome.answers):
            raise StudyError(f"no map, since {reason}")

    def _write_fhir(self, outcome: Outcome) -> None:
        from clinic.writing.fhir import bundle

        place = self._place(outcome)
        for picture, own in outcome.pairs:
            name = f"{outcome.arrival.image}-{picture.frame}"
            content = bundle(outcome.arrival.image, picture.frame, own, self.deployment, place)
            write_json(self.folder / "fhir" / f"{name}.json", content)

    def _place(self, outcome: Outcome) -> "Place | None":
        if outcome.arrival.place is None:
            return None
        from clinic.reading.dicom import Place

        place = Place(**outcome.arrival.place)
        return place.without_identifiers(self.key) if self.deidentify else place

    def _filed(self, place: "Place", kind: str):
        """The next number in the series of a kind of result in a study."""
        from pydicom.uid import generate_uid

        from clinic.writing.structured import Filed

        last = self._series.get((place.study, kind), Filed(generate_uid(prefix=None), 0))
        self._series[place.study, kind] = Filed(last.series, last.number + 1)
        return self._series[place.study, kind]

    def _save(self, result, name: str) -> None:
        """Write a DICOM object, atomically. Raises StudyError for identifiers that DICOM does not allow."""
        from clinic.writing.structured import written_as_allowed

        with atomic_path(self.folder / "dicom" / f"{name}.dcm") as temporary, written_as_allowed():
            result.save_as(temporary, enforce_file_format=True)


@contextmanager
def _told(faults: list[str], kind: str) -> Iterator[None]:
    """Let a kind of result that cannot be written be a fault, and cost no other result."""
    try:
        yield
    except StudyError as error:
        faults.append(str(error))
    except Exception:  # whose own text could name the file or the patient
        faults.append(f"its {kind} could not be written")


def prepare_folder(folder: Path, inputs: list[Path]) -> Path:
    """Make the folder for the results, readable by its owner alone, and return it.

    A folder of somebody else's keeps its rights. Raises StudyError if it holds something, or lies in a folder of
    images, where a later run would read the results; the text names no folder, since that may name a patient.
    """
    folder = Path(folder).resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StudyError("What --out names is not an empty folder. Name another one.")
    for number, given in enumerate((Path(one).resolve() for one in inputs), 1):
        if given.is_dir() and folder.is_relative_to(given):
            raise StudyError(f"The folder that --out names lies in input {number}, which is read. Name another one.")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if hasattr(os, "getuid") and folder.stat().st_uid == os.getuid():
        folder.chmod(0o700)
    return folder


def shortened(bundle: dict) -> str:
    """The resources of a bundle, one line each, to be looked at."""
    lines = [f"{one['resource']['resourceType']:<18}{one['fullUrl'][9:17]}" for one in bundle["entry"]]
    return "\n".join(lines) + f"\n{len(json.dumps(bundle)):,} characters of JSON"
