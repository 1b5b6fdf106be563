"""Builds DICOM datasets from attributes and identifiers, and refuses values that DICOM does not allow."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydicom import config
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.valuerep import validate_value

from clinic.reading.place import NAMED, Place
from helpers.records import atomic_path
from helpers.study import StudyError

OPTIONAL = (
    "study_time",
    "study_id",
    "accession_number",
    "physician",
)  # parts of a place that may be missing in a result


def stable_uid(*parts: str) -> str:
    """A UID that is always the same for the same parts, in the form of PS3.5 B.2."""
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, chr(0).join(parts)).int}"


def with_attributes(dataset: Dataset, attributes: Mapping) -> Dataset:
    """The dataset, with attributes set by keyword."""
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def identifiers(place: Place) -> Dataset:
    """The identifiers of a place, in Unicode; empty where DICOM requires one that the place does not have.

    Values of OPTIONAL that DICOM does not allow are left empty as well.
    """
    values = {keyword: getattr(place, name) for name, keyword in NAMED.items()}
    refused = [keyword for name in OPTIONAL if not _is_allowed(keyword := NAMED[name], values[keyword])]
    values |= dict.fromkeys(refused, "") | {"SpecificCharacterSet": "ISO_IR 192"}
    if place.sex not in ("M", "F", "O"):
        values["PatientSex"] = ""
    if wrong := [keyword for keyword, value in values.items() if not _is_allowed(keyword, value)]:
        raise StudyError(f"{wrong[0]} is not what DICOM allows, so there is no DICOM result")
    if not place.patient_issuer:
        del values["IssuerOfPatientID"]  # DICOM does not require it
    return with_attributes(Dataset(), values)


def _is_allowed(keyword: str, value: str) -> bool:
    try:
        validate_value(dictionary_VR(keyword), value, config.RAISE)
    except ValueError:
        return False
    return True


@contextmanager
def strict_values() -> Iterator[None]:
    """Raise StudyError for values that DICOM does not allow; pydicom by itself only warns about them."""
    try:
        # pydicom checks an element when it is created, by its rules for reading.
        with config.strict_reading():
            yield
    except (ValueError, TypeError, AttributeError, UnicodeError) as error:
        raise StudyError("its identifiers cannot be written as DICOM") from error


def save(result: Dataset, path: Path) -> None:
    """Write a result, atomically. Raises StudyError if DICOM does not allow its identifiers."""
    with atomic_path(path) as temporary, strict_values():
        result.save_as(temporary, enforce_file_format=True)
