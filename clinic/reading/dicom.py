"""Photographs of skin in DICOM: which objects are read, how their pixels become RGB, and where results are filed.

`decoder` runs this in another process, so that a file that makes it crash or hang harms no other file.
"""

import datetime
import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.pixels import apply_color_lut, apply_voi_lut, iter_pixels

from clinic import MAKER
from clinic.reading.pictures import ImageFormat, Picture, Unreadable, from_array
from helpers.data.pixels import MOST_PIXELS

DERMOSCOPIC = "1.2.840.10008.5.1.4.1.1.77.1.7"
READ = {  # the storage classes that are read
    DERMOSCOPIC: "Dermoscopic Photography",
    "1.2.840.10008.5.1.4.1.1.77.1.4": "VL Photographic",
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.7.2": "Multi-frame Grayscale Byte Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.7.3": "Multi-frame Grayscale Word Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.7.4": "Multi-frame True Color Secondary Capture",
}
# Dermoscopy, photography, other, or none, as secondary captures may have. A capture of a CT has the CT's modality.
MODALITIES = ("DMS", "XC", "OT", "")
SAMPLES = {"MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1, "RGB": 3}
SAMPLES |= dict.fromkeys(("YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"), 3)
MOST_FRAMES = 64
DAY = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})")
UID = re.compile(r"[0-9]+(\.[0-9]+)+")
LONGEST_UID = 64


@dataclass(frozen=True)
class Place:
    """Where the results for an object are filed: only the identifiers of its patient, its study and itself.

    Texts are as in DICOM, empty where the object has none. patient_issuer: who issued patient_id; acquired: the day of
    the image as YYYYMMDD, or else that of its content or its study; burned_in, recognisable: whether the object says
    that text is burned into its pixels, and that a person can be recognised in them, YES, NO or empty; anonymous:
    whether the identifiers are made up.
    """

    sop_class: str
    sop_instance: str
    series: str
    study: str
    patient_id: str = ""
    patient_name: str = ""
    birth_date: str = ""
    sex: str = ""
    study_date: str = ""
    study_time: str = ""
    study_id: str = ""
    accession_number: str = ""
    patient_issuer: str = ""
    acquired: str = ""
    modality: str = ""
    burned_in: str = ""
    recognisable: str = ""
    frames: int = 1
    anonymous: bool = False

    def without_identifiers(self, key: bytes) -> "Place":
        """The same place under new identifiers made with `key`: consistent within a study, and not reversible.

        key: up to 64 random bytes, discarded after the run.
        """
        renamed = {name: _renamed(getattr(self, name), key) for name in ("sop_instance", "series", "study")}
        kept = {name: getattr(self, name) for name in KEPT}
        return Place(**kept, **renamed, anonymous=True)


KEPT = ("sop_class", "modality", "burned_in", "recognisable", "frames")  # fields that identify nobody
NAMED = {  # attributes of DICOM behind the identifiers of a place
    "sop_class": "SOPClassUID",
    "sop_instance": "SOPInstanceUID",
    "series": "SeriesInstanceUID",
    "study": "StudyInstanceUID",
    "patient_id": "PatientID",
    "patient_name": "PatientName",
    "birth_date": "PatientBirthDate",
    "sex": "PatientSex",
    "study_date": "StudyDate",
    "study_time": "StudyTime",
    "study_id": "StudyID",
    "accession_number": "AccessionNumber",
    "patient_issuer": "IssuerOfPatientID",
}
DAYS = ("AcquisitionDateTime", "AcquisitionDate", "ContentDate", "StudyDate")  # the first one present is used
PIXELS_SHOW = ("BurnedInAnnotation", "RecognizableVisualFeatures")


def read_object(data: bytes, image_format: ImageFormat) -> tuple[Place, list[Picture]]:
    """The place and the frames of a DICOM object. Raises Unreadable; its message quotes nothing from the object."""
    try:
        dataset = dcmread(io.BytesIO(data))
    except InvalidDicomError as error:
        raise Unreadable("not a DICOM file") from error
    except Exception as error:
        raise Unreadable("not a complete DICOM file") from error
    place = place_of(dataset)
    check_header(dataset)
    burned_in = place.burned_in == "YES"
    try:
        frames = [
            from_array(frame, image_format, number, burned_in_text=burned_in)
            for number, frame in enumerate(rgb_frames(dataset), 1)
        ]
    except Unreadable:
        raise
    except MemoryError as error:
        raise Unreadable("its pixels need more memory than a photograph may take") from error
    except Exception as error:
        raise Unreadable("its pixels cannot be decoded, or are not what its header says") from error
    if not frames:
        raise Unreadable("it has no frames")
    return replace(place, frames=len(frames)), frames


def place_of(dataset: Dataset) -> Place:
    """Where results for an object are filed.

    Raises Unreadable for another kind of object, for a result of this program, without valid UIDs, and where an
    identifier has several values.
    """
    try:
        found = {name: _text(dataset, keyword) for name, keyword in NAMED.items()}
        modality, maker = _text(dataset, "Modality"), str(dataset.get("Manufacturer", "")).strip()
        burned_in, recognisable = (_yes_or_no(dataset, keyword) for keyword in PIXELS_SHOW)
        acquired = _acquired(dataset)
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable("its identifiers cannot be read") from error
    if maker == MAKER:
        raise Unreadable("a result of this program, not an image to predict")
    if found["sop_class"] not in READ:
        raise Unreadable("not a photograph (Dermoscopic Photography, VL Photographic or Secondary Capture)")
    if modality not in MODALITIES:
        raise Unreadable("its modality is not one for photographs of skin (DMS, XC or OT)")
    uids = [found[name] for name in ("sop_instance", "series", "study")]
    if not all(UID.fullmatch(uid) and len(uid) <= LONGEST_UID for uid in uids):
        raise Unreadable("its UIDs are missing or not valid")
    about = {"modality": modality, "burned_in": burned_in, "recognisable": recognisable, "acquired": acquired}
    return Place(**found, **about)


def check_header(dataset: Dataset) -> None:
    """Raise Unreadable if the header announces pixels of an unsupported kind, or too many of them."""
    try:
        rows, columns, frames, samples = (
            int(dataset.get(name) or least)
            for name, least in (("Rows", 0), ("Columns", 0), ("NumberOfFrames", 1), ("SamplesPerPixel", 0))
        )
        photometric, bits = str(dataset.get("PhotometricInterpretation", "")), int(dataset.get("BitsAllocated") or 0)
    except Exception as error:
        raise Unreadable("its header is broken") from error
    if "PixelData" not in dataset:
        raise Unreadable("it has no pixels")
    if not (0 < rows * columns <= MOST_PIXELS and rows > 0):
        raise Unreadable(f"{columns} x {rows} px are not the size of a photograph")
    if not 0 < frames <= MOST_FRAMES:
        raise Unreadable(f"{frames} frames; up to {MOST_FRAMES} are read")
    if photometric not in SAMPLES:
        raise Unreadable("a photometric interpretation that is not supported")
    if samples != SAMPLES[photometric] or bits not in (8, 16):
        raise Unreadable(f"{samples} samples of {bits} bits do not fit {photometric}")


def rgb_frames(dataset: Dataset) -> Iterator[np.ndarray]:
    """The frames as uint8 [rows, columns, 3], RGB, one decoded after the other; luminance and colour are converted."""
    photometric, stored = dataset.PhotometricInterpretation, int(dataset.BitsStored)
    for frame in iter_pixels(dataset, allow_excess_frames=False):
        if frame.shape[:2] != (dataset.Rows, dataset.Columns):
            raise Unreadable("it has another number of pixels than its header says")
        if photometric == "PALETTE COLOR":
            frame = apply_color_lut(frame, dataset)[..., :3]
            yield frame if frame.dtype == np.uint8 else (frame >> 8).astype(np.uint8)
        elif frame.ndim == 3:
            # Eight bits may be stored in sixteen.
            yield frame if stored == 8 and frame.dtype == np.uint8 else _eight_bits(frame, 0, 2**stored - 1)
        else:
            yield _grey(frame, dataset, photometric, stored)


def _text(dataset: Dataset, keyword: str) -> str:
    """The single value of an attribute, or an empty text. Raises Unreadable if there are several."""
    value = dataset.get(keyword, "") or ""
    if isinstance(value, MultiValue):
        raise Unreadable("several values for an identifier of its patient, its study or itself")
    return str(value).strip()


def _yes_or_no(dataset: Dataset, keyword: str) -> str:
    """YES, NO, or an empty text for anything else."""
    value = str(dataset.get(keyword, "")).strip()
    return value if value in ("YES", "NO") else ""


def _acquired(dataset: Dataset) -> str:
    """The day of an image as YYYYMMDD, or an empty text if no attribute has one."""
    for keyword in DAYS:
        with suppress(Exception):  # an image is read even if its day cannot be
            day = DAY.match(str(dataset.get(keyword)).strip())
            return datetime.date(*map(int, day.groups())).isoformat().replace("-", "")
    return ""


def _renamed(uid: str, key: bytes) -> str:
    """A new UID derived from `uid` and `key`, always the same for both, in the form of PS3.5 B.2."""
    digest = hashlib.blake2b(uid.encode(), key=key, digest_size=16).digest()
    return f"2.25.{int.from_bytes(digest)}"


def _grey(frame: np.ndarray, dataset: Dataset, photometric: str, stored: int) -> np.ndarray:
    """A grey frame as RGB, windowed as the object says; its values or its window are scaled to 0 to 255."""
    shown = apply_voi_lut(frame, dataset)
    low, bits = -(2 ** (stored - 1)) if dataset.get("PixelRepresentation") else 0, stored
    if tables := dataset.get("VOILUTSequence"):  # preferred to a window; its values have their own number of bits
        low, bits = 0, tables[0].LUTDescriptor[2]
    grey = _eight_bits(shown, low, low + 2**bits - 1)
    return np.repeat((255 - grey if photometric == "MONOCHROME1" else grey)[..., None], 3, axis=2)


def _eight_bits(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip((values.astype(np.float32) - low) * (255 / (high - low)) + 0.5, 0, 255).astype(np.uint8)
