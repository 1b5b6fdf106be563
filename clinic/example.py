"""DICOM objects of a patient who does not exist, made from images, for the notebook and the tests."""

import hashlib
import io

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from clinic.reading.place import DERMOSCOPIC, Place
from clinic.writing.datasets import identifiers, stable_uid, with_attributes

DAY, TIME = "20240131", "101112"
CAMERA = {
    "Modality": "DMS",
    "SeriesNumber": 1,
    "InstanceNumber": 1,
    "Manufacturer": "Example maker",
    "ManufacturerModelName": "Example camera",
    "DeviceSerialNumber": "0",
    "SoftwareVersions": "0",
    "ImageType": ["ORIGINAL", "PRIMARY"],
    "LossyImageCompression": "00",
    "BurnedInAnnotation": "NO",
    "RecognizableVisualFeatures": "NO",
    "PositionReferenceIndicator": "",
    "AcquisitionContextSequence": [],
}
REQUIRED_BUT_UNKNOWN = ("PatientOrientation", "Laterality", "LightSourcePolarization", "EmitterColorTemperature")
REQUIRED_BUT_UNKNOWN += ("ContactMethod", "OpticalMagnificationFactor")
SKIN = {"CodeValue": "39937001", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Skin"}


def dermoscopic_object(pixels: np.ndarray, jpeg: bool = False, **attributes) -> Dataset:
    """A Dermoscopic Photography object of an image uint8 [rows, columns, 3], RGB, the same for the same image.

    jpeg: compress with JPEG Baseline, as cameras do; attributes: header values to add or replace, by keyword.
    """
    image = identifiers(_place(hashlib.sha256(np.ascontiguousarray(pixels)).hexdigest()))
    image.set_pixel_data(np.ascontiguousarray(pixels), "RGB", 8, generate_instance_uid=False)
    header = CAMERA | dict.fromkeys(REQUIRED_BUT_UNKNOWN) | {"AcquisitionDateTime": DAY + TIME}
    for event in ("Series", "Content", "Acquisition"):
        header |= {f"{event}Date": DAY, f"{event}Time": TIME}
    header["AnatomicRegionSequence"] = [with_attributes(Dataset(), SKIN)]
    header["FrameOfReferenceUID"] = stable_uid(image.SOPInstanceUID, "frame of reference")
    return with_attributes(image, header | (_compression(image, pixels) if jpeg else {}) | attributes)


def as_bytes(image: Dataset) -> bytes:
    """The file of an object."""
    with io.BytesIO() as file:
        image.save_as(file, enforce_file_format=True)
        return file.getvalue()


def _place(content: str) -> Place:
    """A study of the patient who does not exist, the same for the same content."""
    instance, series, study = (stable_uid(content, part) for part in ("instance", "series", "study"))
    patient = {"patient_id": "EXAMPLE-1", "patient_name": "Example^Nobody", "birth_date": "19700101", "sex": "O"}
    of_study = {"study_date": DAY, "study_time": TIME, "study_id": "1", "accession_number": "A1"}
    return Place(DERMOSCOPIC, instance, series, study, **patient, **of_study)


def _compression(image: Dataset, pixels: np.ndarray) -> dict:
    """The attributes of an object whose pixels are a JPEG."""
    image.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, "JPEG", quality=90)
        data = file.getvalue()
    return {
        "PixelData": encapsulate([data]),
        "PhotometricInterpretation": "YBR_FULL_422",
        "LossyImageCompression": "01",
        "LossyImageCompressionMethod": "ISO_10918_1",
        "LossyImageCompressionRatio": round(pixels.size / len(data), 2),
    }
