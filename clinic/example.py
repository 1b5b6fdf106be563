"""DICOM objects of a patient who does not exist, made from images, for the notebook and the tests."""

import datetime
import io

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, generate_uid

from clinic.reading.dicom import DERMOSCOPIC

CAMERA = {
    "SpecificCharacterSet": "ISO_IR 192",
    "SOPClassUID": DERMOSCOPIC,
    "Modality": "DMS",
    "Manufacturer": "Example maker",
    "ManufacturerModelName": "Example camera",
    "DeviceSerialNumber": "0",
    "SoftwareVersions": "0",
    "SeriesNumber": 1,
    "InstanceNumber": 1,
    "ImageType": ["ORIGINAL", "PRIMARY"],
    "LossyImageCompression": "00",
    "BurnedInAnnotation": "NO",
    "RecognizableVisualFeatures": "NO",
    "PositionReferenceIndicator": "",
    "AcquisitionContextSequence": [],
}
PATIENT = {
    "PatientName": "Example^Nobody",
    "PatientID": "EXAMPLE-1",
    "PatientBirthDate": "19700101",
    "PatientSex": "O",
    "StudyID": "1",
    "AccessionNumber": "A1",
    "ReferringPhysicianName": "",
}
UNKNOWN = ("PatientOrientation", "Laterality", "LightSourcePolarization", "EmitterColorTemperature", "ContactMethod")
UNKNOWN += ("OpticalMagnificationFactor",)
UIDS = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")


def dermoscopic_object(pixels: np.ndarray, jpeg: bool = False, **attributes) -> Dataset:
    """A Dermoscopic Photography object of an image uint8 [rows, columns, 3], RGB, as a camera might write it.

    jpeg: compressed by JPEG Baseline, as cameras do; attributes: other or further values of its header, by keyword.
    """
    image, now, skin = Dataset(), datetime.datetime.now(), Dataset()
    skin.CodeValue, skin.CodingSchemeDesignator, skin.CodeMeaning = "39937001", "SCT", "Skin"
    header = CAMERA | PATIENT | dict.fromkeys(UNKNOWN) | {uid: generate_uid(prefix=None) for uid in UIDS}
    header |= {f"{event}Date": f"{now:%Y%m%d}" for event in ("Study", "Series", "Content", "Acquisition")}
    header |= {f"{event}Time": f"{now:%H%M%S}" for event in ("Study", "Series", "Content", "Acquisition")}
    header |= {"AcquisitionDateTime": f"{now:%Y%m%d%H%M%S}", "AnatomicRegionSequence": [skin]}
    image.set_pixel_data(np.ascontiguousarray(pixels), "RGB", 8)
    if jpeg:
        header |= _compressed(image, pixels)
    for keyword, value in (header | attributes).items():
        setattr(image, keyword, value)
    return image


def as_bytes(image: Dataset) -> bytes:
    """The file of an object."""
    with io.BytesIO() as file:
        image.save_as(file, enforce_file_format=True)
        return file.getvalue()


def _compressed(image: Dataset, pixels: np.ndarray) -> dict:
    """The attributes of an object with these pixels as JPEG."""
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
