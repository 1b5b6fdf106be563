"""What a run leaves for each file beside the tables: pages, DICOM objects, FHIR bundles, under names without a name."""

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from helpers.clinic.deployment import Deployment
from helpers.clinic.maps import Map, overlay
from helpers.clinic.prediction import Outcome
from helpers.study import StudyError, atomic_path, write_json

if TYPE_CHECKING:
    import keras

    from helpers.clinic.dicom import Place


@dataclass
class Outputs:
    """Writes what is wanted about each outcome into a folder.

    pages: png, pdf or empty for none; dicom, fhir: whether to write these; deidentify: whether to drop the identifiers
    of patients and studies from them; draw_map, model: what the maps are drawn with, or None for no maps.
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
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    @property
    def preview(self) -> int:
        """Side of the images to be shown, in pixels; 0 where none are."""
        if not (self.pages or (self.dicom and self.draw_map)):
            return 0
        from helpers.clinic.pages import PREVIEW

        return PREVIEW

    def write(self, outcome: Outcome) -> list[str]:
        """Write everything about an outcome; returns what could not be written, and why."""
        if not outcome.answers:
            return []
        wanted = {self._write_pages: self.pages, self._write_dicom: self.dicom, self._write_fhir: self.fhir}
        maps = self._maps(outcome)
        faults = []
        for write, asked in wanted.items():
            try:
                if asked:
                    write(outcome, maps)
            except StudyError as error:
                faults.append(str(error))
        return faults

    def _maps(self, outcome: Outcome) -> list[np.ndarray | None]:
        """The map of each picture, laid over it.

        None where there is none, where the model gives no answer that it could be of, and where a name may stand in the
        image.
        """
        pictures = outcome.arrival.pictures
        if not self.preview or self.draw_map is None:
            return [None] * len(pictures)
        try:
            drawn = self.draw_map(self.model, np.stack([picture.square for picture in pictures]))
        except StudyError:  # not every network can be asked where it looked
            return [None] * len(pictures)
        shown = zip(outcome.pairs, drawn, strict=True)
        return [None if one.marked or own.silent else overlay(one.preview, cells) for (one, own), cells in shown]

    def _write_pages(self, outcome: Outcome, maps: list) -> None:
        from helpers.clinic.pages import write_page

        for (picture, own), mapped in zip(outcome.pairs, maps, strict=True):
            if picture.marked:
                raise StudyError("no page, since its file says that text is burned into the image")
            name = f"{outcome.arrival.image}-{picture.frame}"
            path = self.folder / "pages" / f"{name}.{self.pages}"
            write_page(path, name, picture, own, self.deployment, mapped)

    def _write_dicom(self, outcome: Outcome, maps: list) -> None:
        """The report of an object from DICOM and its maps; other files have no study to be filed in."""
        place = self._place(outcome)
        if place is None:
            return
        from helpers.clinic.structured import map_image, report

        document = report(place, outcome.answers, self.deployment, self._filed(place, "report"))
        self._save(document, f"{outcome.arrival.image}-report")
        for number, mapped in enumerate(maps, 1):
            if mapped is not None:
                image = map_image(place, mapped, self.deployment, self._filed(place, "map"), number)
                self._save(image, f"{outcome.arrival.image}-map-{number}")

    def _write_fhir(self, outcome: Outcome, _maps: list) -> None:
        from helpers.clinic.fhir import bundle

        place = self._place(outcome)
        for picture, own in outcome.pairs:
            name = f"{outcome.arrival.image}-{picture.frame}"
            content = bundle(outcome.arrival.image, picture.frame, own, self.deployment, place)
            write_json(self.folder / "fhir" / f"{name}.json", content)

    def _place(self, outcome: Outcome) -> "Place | None":
        if outcome.arrival.place is None:
            return None
        from helpers.clinic.dicom import Place

        place = Place(**outcome.arrival.place)
        return place.without_identifiers(self._key) if self.deidentify else place

    def _filed(self, place: "Place", kind: str):
        """The next number in the series of a kind of result in a study."""
        from pydicom.uid import generate_uid

        from helpers.clinic.structured import Filed

        last = self._series.get((place.study, kind), Filed(generate_uid(prefix=None), 0))
        self._series[place.study, kind] = Filed(last.series, last.number + 1)
        return self._series[place.study, kind]

    def _save(self, result, name: str) -> None:
        """Write a DICOM object, atomically. Raises StudyError for identifiers that DICOM does not allow."""
        with atomic_path(self.folder / "dicom" / f"{name}.dcm") as temporary:
            try:
                result.save_as(temporary, enforce_file_format=True)
            except (ValueError, TypeError, AttributeError, UnicodeError) as error:
                raise StudyError("its identifiers cannot be written as DICOM") from error


def prepare_folder(folder: Path, inputs: list[Path]) -> Path:
    """Make the folder for the results, readable by its owner alone, and return it.

    Raises StudyError if it holds something, or lies in a folder of images, where a later run would read the results.
    """
    folder = Path(folder).resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StudyError(f"{folder} is not an empty folder. Name another one by --out.")
    for given in (Path(one).resolve() for one in inputs):
        if given.is_dir() and folder.is_relative_to(given):
            raise StudyError(f"{folder} lies in {given}, which is read. Name another one by --out.")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def shortened(bundle: dict) -> str:
    """The resources of a bundle, one line each, to be looked at."""
    lines = [f"{one['resource']['resourceType']:<18}{one['fullUrl'][9:17]}" for one in bundle["entry"]]
    return "\n".join(lines) + f"\n{len(json.dumps(bundle)):,} characters of JSON"
