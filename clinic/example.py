"""DICOM objects made from images, with a patient who does not exist: for the notebook and the tests."""

import datetime
import io

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

from clinic.reading.dicom import DERMOSCOPIC


def dermoscopic_object(pixels: np.ndarray, jpeg: bool = False, **attributes) -> Dataset:
    """A Dermoscopic Photography object of an image uint8 [rows, columns, 3], RGB, as a camera might write it.

    jpeg: compressed by JPEG Baseline, as cameras do; attributes: more of its header, by keyword, or other values.
    """
    image = Dataset()
    image.SpecificCharacterSet = "ISO_IR 192"
    image.SOPClassUID, image.SOPInstanceUID = DERMOSCOPIC, generate_uid(prefix=None)
    _add_study(image)
    image.Modality, image.SeriesNumber, image.InstanceNumber = "DMS", 1, 1
    image.Manufacturer, image.ManufacturerModelName = "Example maker", "Example camera"
    image.DeviceSerialNumber, image.SoftwareVersions = "0", "0"
    image.ImageType, image.LossyImageCompression = ["ORIGINAL", "PRIMARY"], "00"
    image.BurnedInAnnotation, image.PatientOrientation, image.Laterality = "NO", None, None
    image.FrameOfReferenceUID, image.PositionReferenceIndicator = generate_uid(prefix=None), ""
    image.RecognizableVisualFeatures, image.LightSourcePolarization = "NO", None
    image.EmitterColorTemperature = image.ContactMethod = image.OpticalMagnificationFactor = None
    image.AcquisitionContextSequence, image.AnatomicRegionSequence = Sequence(), [_code("39937001", "SCT", "Skin")]
    image.file_meta = FileMetaDataset()
    _add_pixels(image, pixels, jpeg)
    for keyword, value in attributes.items():
        setattr(image, keyword, value)
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    return image


def as_bytes(image: Dataset) -> bytes:
    """The file of an object."""
    with io.BytesIO() as file:
        image.save_as(file, enforce_file_format=True)
        return file.getvalue()


def _add_study(image: Dataset) -> None:
    """A patient, and a study of now."""
    now = datetime.datetime.now()
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(prefix=None), generate_uid(prefix=None)
    image.PatientName, image.PatientID = "Example^Nobody", "EXAMPLE-1"
    image.PatientBirthDate, image.PatientSex = "19700101", "O"
    image.StudyDate = image.SeriesDate = image.ContentDate = image.AcquisitionDate = f"{now:%Y%m%d}"
    image.StudyTime = image.SeriesTime = image.ContentTime = image.AcquisitionTime = f"{now:%H%M%S}"
    image.AcquisitionDateTime = f"{now:%Y%m%d%H%M%S}"
    image.StudyID, image.AccessionNumber, image.ReferringPhysicianName = "1", "A1", ""


def _add_pixels(image: Dataset, pixels: np.ndarray, jpeg: bool) -> None:
    image.Rows, image.Columns, image.SamplesPerPixel = *pixels.shape[:2], 3
    image.PhotometricInterpretation, image.PlanarConfiguration, image.PixelRepresentation = "RGB", 0, 0
    image.BitsAllocated, image.BitsStored, image.HighBit = 8, 8, 7
    data, syntax = np.ascontiguousarray(pixels).tobytes(), ExplicitVRLittleEndian
    if jpeg:
        with io.BytesIO() as file:
            Image.fromarray(pixels).save(file, "JPEG", quality=90)
            ratio = len(data) / len(file.getvalue())
            data, syntax = encapsulate([file.getvalue()]), JPEGBaseline8Bit
        image.PhotometricInterpretation = "YBR_FULL_422"
        image.LossyImageCompression, image.LossyImageCompressionMethod = "01", "ISO_10918_1"
        image.LossyImageCompressionRatio = round(ratio, 2)
    image.PixelData = data + b"\0" * (len(data) % 2)
    image.file_meta.TransferSyntaxUID = syntax


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item
