"""DICOM objects of a patient who does not exist, made from images, for the notebook and the tests."""

import datetime
import io

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, generate_uid

from clinic.reading.place import DERMOSCOPIC, Place
from clinic.writing.datasets import identifiers, with_attributes

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
    """A Dermoscopic Photography object of an image uint8 [rows, columns, 3], RGB, as a camera might write it.

    jpeg: compress with JPEG Baseline, as cameras do; attributes: header values to add or replace, by keyword.
    """
    day, time = f"{datetime.datetime.now():%Y%m%d %H%M%S}".split()
    image = identifiers(_place(day, time))
    image.set_pixel_data(np.ascontiguousarray(pixels), "RGB", 8, generate_instance_uid=False)
    header = CAMERA | dict.fromkeys(REQUIRED_BUT_UNKNOWN) | {"AcquisitionDateTime": day + time}
    for event in ("Series", "Content", "Acquisition"):
        header |= {f"{event}Date": day, f"{event}Time": time}
    header["AnatomicRegionSequence"] = [with_attributes(Dataset(), SKIN)]
    header["FrameOfReferenceUID"] = generate_uid(prefix=None)
    return with_attributes(image, header | (_compression(image, pixels) if jpeg else {}) | attributes)


def as_bytes(image: Dataset) -> bytes:
    """The file of an object."""
    with io.BytesIO() as file:
        image.save_as(file, enforce_file_format=True)
        return file.getvalue()


def _place(day: str, time: str) -> Place:
    """A new study of the patient who does not exist."""
    instance, series, study = (generate_uid(prefix=None) for _ in range(3))
    patient = {"patient_id": "EXAMPLE-1", "patient_name": "Example^Nobody", "birth_date": "19700101", "sex": "O"}
    of_study = {"study_date": day, "study_time": time, "study_id": "1", "accession_number": "A1"}
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
