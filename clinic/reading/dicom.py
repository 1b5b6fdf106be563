"""Photographs of skin in DICOM: which objects are read, how their pixels become RGB, and where results are filed.

`decoder` runs this in another process, so that a file that makes it crash or hang harms no other file.
"""

import datetime
import io
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.multival import MultiValue
from pydicom.pixels import apply_color_lut, convert_color_space, iter_pixels
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGExtended12Bit

from clinic import MAKER
from clinic.reading.pictures import ImageFormat, Picture, Unreadable, from_array
from clinic.reading.place import DERMOSCOPIC, NAMED, Place
from helpers.data.colour import to_srgb
from helpers.data.squares import MOST_PIXELS

READ = {  # the storage classes that are read
    DERMOSCOPIC: "Dermoscopic Photography",
    "1.2.840.10008.5.1.4.1.1.77.1.4": "VL Photographic",
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.7.4": "Multi-frame True Color Secondary Capture",
}
# Dermoscopy, photography, other, or none, as secondary captures may have. A capture of a CT has the CT's modality.
MODALITIES = ("DMS", "XC", "OT", "")
SINGLE_FRAME = tuple(uid for uid in READ if not uid.startswith("1.2.840.10008.5.1.4.1.1.7."))
GREY = ("MONOCHROME1", "MONOCHROME2")
SAMPLES = {"PALETTE COLOR": 1, "RGB": 3}
SAMPLES |= dict.fromkeys(("YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"), 3)
MOST_FRAMES = 64
DAY = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})")
UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
OLD_DAY = re.compile(r"([0-9]{4})[-.]([0-9]{2})[-.]([0-9]{2})")  # of ACR-NEMA, and of those who take it for DICOM
LONGEST_UID = 64
JPEG_FRAME = re.compile(rb"\xff[\xc0-\xc2]\x00\x11.{5}\x03(.{9})", re.DOTALL)  # of three components
JPEG_SPACE = re.compile(rb"\xff\xe0..JFIF|\xff\xee..Adobe", re.DOTALL)
MOST_MARKERS = 2**16  # bytes at the start of a JPEG in which its frame header is looked for
DATES = ("PatientBirthDate", "StudyDate")
DAYS = ("AcquisitionDateTime", "AcquisitionDate", "ContentDate", "StudyDate")  # the first one present is used
PIXELS_SHOW = ("BurnedInAnnotation", "RecognizableVisualFeatures")


def read_object(data: bytes, image_format: ImageFormat) -> tuple[Place, list[Picture]]:
    """The place and the frames of a DICOM object. Raises Unreadable; its message quotes nothing from the object."""
    try:
        dataset = dcmread(io.BytesIO(data), force=data[128:132] != b"DICM")
        _complete_meta(dataset)
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
        acquired = _acquisition_day(dataset)
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable("its identifiers cannot be read") from error
    if maker == MAKER:
        raise Unreadable("a result of this program, not an image to predict")
    if found["sop_class"] not in READ:
        fault = "SOPClassUID is missing" if not found["sop_class"] else "SOPClassUID is that of another kind of object"
        raise Unreadable(f"{fault}: not a photograph (Dermoscopic, VL Photographic or Secondary Capture)")
    if modality not in MODALITIES:
        raise Unreadable("Modality is not one for photographs of skin (DMS, XC or OT)")
    for name in ("sop_instance", "series", "study"):
        if not (UID.fullmatch(found[name]) and len(found[name]) <= LONGEST_UID):
            fault = "not a valid UID (digits and dots, no leading zeros)" if found[name] else "missing"
            raise Unreadable(f"{NAMED[name]} is {fault}")
    about = {"modality": modality, "burned_in": burned_in, "recognisable": recognisable, "acquired": acquired}
    about |= {"region": _region(dataset), "laterality": _laterality(dataset)}
    return Place(**found, **about, spacing=_spacing(dataset))


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
    if frames > 1 and dataset.get("SOPClassUID") in SINGLE_FRAME:
        raise Unreadable(f"SOPClassUID is that of a single frame, but NumberOfFrames is {frames}")
    if photometric in GREY:
        raise Unreadable(f"PhotometricInterpretation is {photometric}: a grey image, but the model needs colours")
    if photometric not in SAMPLES:
        raise Unreadable("PhotometricInterpretation is one that is not supported")
    if dataset.file_meta.get("TransferSyntaxUID") == JPEGExtended12Bit and int(dataset.get("BitsStored") or 0) > 8:
        raise Unreadable("TransferSyntaxUID is JPEG Extended of 12 bits, which is not read")
    if samples != SAMPLES[photometric] or bits not in (8, 16):
        raise Unreadable(f"{samples} samples of {bits} bits do not fit {photometric}")


def rgb_frames(dataset: Dataset) -> Iterator[np.ndarray]:
    """The frames as uint8 [rows, columns, 3], sRGB, one decoded after the other; luminance and colour are converted."""
    photometric, stored = dataset.PhotometricInterpretation, int(dataset.BitsStored)
    luminance, profile = photometric == "RGB" and _says_wrongly_rgb(dataset), dataset.get("ICCProfile")
    for frame in iter_pixels(dataset, allow_excess_frames=False):
        if frame.shape[:2] != (dataset.Rows, dataset.Columns):
            raise Unreadable("it has another number of pixels than its header says")
        frame = frame.view(f"u{frame.itemsize}")  # colours are not signed, whatever PixelRepresentation says
        if photometric == "PALETTE COLOR":
            frame = apply_color_lut(frame, _with_little_palette(dataset))[..., :3]
            frame = frame if frame.dtype == np.uint8 else (frame >> 8).astype(np.uint8)
        elif not (stored == 8 and frame.dtype == np.uint8):  # eight bits may be stored in sixteen
            frame = np.clip(frame.astype(np.float32) * (255 / (2**stored - 1)) + 0.5, 0, 255).astype(np.uint8)
        if luminance:
            frame = convert_color_space(frame, "YBR_FULL", "RGB")
        yield np.asarray(to_srgb(Image.fromarray(frame), profile))


def _says_wrongly_rgb(dataset: Dataset) -> bool:
    """Whether the pixels are a JPEG of luminance and colour that no marker says to be so, though the header says RGB.

    Only such a JPEG has fewer samples of colour than of luminance. Raises Unreadable if its samples are as many and its
    components are not called R, G and B: both would be possible.
    """
    if not dataset.file_meta.TransferSyntaxUID.is_compressed:
        return False
    data = next(generate_frames(dataset.PixelData, number_of_frames=int(dataset.get("NumberOfFrames") or 1)))
    start = JPEG_FRAME.search(data[:MOST_MARKERS])
    if not data.startswith(b"\xff\xd8\xff") or not start or JPEG_SPACE.search(data[: start.start()]):
        return False  # the decoder converts what a marker says
    components = np.frombuffer(start[1], np.uint8).reshape(3, 3)
    if len(set(components[:, 1])) > 1:
        return True
    if components[:, 0].tobytes() != b"RGB":
        raise Unreadable("PhotometricInterpretation is RGB, but its JPEG may as well hold luminance and colour")
    return False


def _with_little_palette(dataset: Dataset) -> Dataset:
    """The object with the tables of its palette in the order of bytes that `apply_color_lut` expects."""
    if dataset.file_meta.TransferSyntaxUID != ExplicitVRBigEndian:
        return dataset
    palette = Dataset()
    for element in dataset.group_dataset(0x0028):
        if element.keyword.endswith("PaletteColorLookupTableData"):
            palette.add_new(element.tag, "OW", np.frombuffer(element.value, ">u2").astype("<u2").tobytes())
        else:
            palette.add(element)
    return palette


def _complete_meta(dataset: Dataset) -> None:
    """Add the transfer syntax to an object without one, as files without a preamble are."""
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit


def _text(dataset: Dataset, keyword: str) -> str:
    """The single value of an attribute, or an empty text. Raises Unreadable if there are several."""
    value = dataset.get(keyword, "") or ""
    if isinstance(value, MultiValue):
        raise Unreadable(f"{keyword} has several values")
    text = str(value).strip()
    if not text.isprintable():
        raise Unreadable(f"{keyword} has control characters")
    return "".join(day.groups()) if (day := OLD_DAY.fullmatch(text)) and keyword in DATES else text


def _yes_or_no(dataset: Dataset, keyword: str) -> str:
    """YES, NO, or an empty text for anything else."""
    value = str(dataset.get(keyword, "")).strip()
    return value if value in ("YES", "NO") else ""


def _acquisition_day(dataset: Dataset) -> str:
    """The day of an image as YYYYMMDD, or an empty text if no attribute has one."""
    for keyword in DAYS:
        with suppress(Exception):  # an image is read even if its day cannot be
            day = DAY.match(str(dataset.get(keyword)).strip())
            return datetime.date(*map(int, day.groups())).isoformat().replace("-", "")
    return ""


def _region(dataset: Dataset) -> str:
    """The SNOMED CT code of the region of the body, or an empty text."""
    with suppress(Exception):  # an image is read even if its region cannot be
        (region,) = dataset.AnatomicRegionSequence
        if region.CodingSchemeDesignator == "SCT" and re.fullmatch(r"[0-9]{6,18}", region.CodeValue):
            return str(region.CodeValue)
    return ""


def _laterality(dataset: Dataset) -> str:
    """L, R, B, or an empty text if the object says no side."""
    values = (str(dataset.get(keyword, "")).strip() for keyword in ("ImageLaterality", "Laterality"))
    return next((value for value in values if value in ("L", "R", "B")), "")


def _spacing(dataset: Dataset) -> float:
    """Millimetres per pixel, 0 if the object does not say or says different ones across and down."""
    with suppress(Exception):  # an image is read even if its scale cannot be
        down, across = map(float, dataset.PixelSpacing)
        return down if down == across and 0 < down < 10 else 0.0
    return 0.0
