"""Results as DICOM objects in the study of the image that they are about: a structured report, and the map.

Of the image's own header, only what is in `dicom.Place` is taken over.
"""

import datetime
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import numpy as np
from highdicom import sr
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom import config
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid
from pydicom.valuerep import validate_value

from clinic import MAKER
from clinic.answering.answers import Answer
from clinic.answering.deployment import WAY, Deployment, software_version
from clinic.reading.dicom import DERMOSCOPIC, NAMED, Place
from clinic.writing import codes
from clinic.writing.codes import Concept, concept, level, probability_of
from helpers.study import StudyError

NOTE = "Research only, not for diagnosis"
LONGEST = 1024  # characters of a value of type ST, PS3.5 section 6.2
REPORTS, MAPS = 9001, 9002  # numbers of the series; the study's own ones are small
KEYWORDS = {
    "manufacturer": "Manufacturer",
    "manufacturer_model_name": "ManufacturerModelName",
    "software_versions": "SoftwareVersions",
    "device_serial_number": "DeviceSerialNumber",
}
OPTIONAL = ("sex", "study_time", "study_id", "accession_number")  # of a place; a result is filed without them as well
METHOD = "Identifiers of patient and study not taken over"


class Filed(NamedTuple):
    """The series that a result is put into, by its UID, and the result's number there."""

    series: str
    number: int = 1


def report(place: Place, answers: Sequence[Answer], deployment: Deployment, filed: Filed) -> sr.ComprehensiveSR:
    """A Comprehensive SR by TID 1500 about the frames of one image: what the model says of each.

    Each frame has a group for malignancy, with the calibrated probability and whether the score before calibration
    reaches the operating point, and one for each class with its calibrated probability, in percent, and the class as a
    candidate; where the model is silent, only that it is. What is found is a skin lesion in every one of them, since a
    group may be read without the others. The report is preliminary and not verified. Raises StudyError if the place
    cannot be written as DICOM.
    """
    groups = [group for number, own in enumerate(answers, 1) for group in _groups(place, own, deployment, number)]
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=_observer(deployment)),
        procedure_reported=_code(codes.DERMOSCOPY if place.sop_class == DERMOSCOPIC else codes.IMAGING),
        imaging_measurements=groups,
    )
    with written_as_allowed():
        document = sr.ComprehensiveSR(
            evidence=[identifiers(place)],
            content=content[0],
            series_instance_uid=filed.series,
            series_number=REPORTS,
            series_description=NOTE,
            sop_instance_uid=generate_uid(prefix=None),
            instance_number=filed.number,
            is_complete=True,
            content_qualification="RESEARCH",
            coding_schemes=[_own_scheme()],
            **_equipment(deployment),
        )
        return _marked(document, place)


def map_image(place: Place, shown: np.ndarray, deployment: Deployment, filed: Filed, frame: int = 1) -> Dataset:
    """A map laid over its image, uint8 [rows, columns, 3], as a Secondary Capture that names the image it is of.

    frame: of that image, from 1. Raises StudyError if the place cannot be written as DICOM.
    """
    now = datetime.datetime.now()
    with written_as_allowed():
        image = identifiers(place)
        image.update(_pixels(shown))
        image.update(_history(place, deployment, frame))
        image.SOPClassUID, image.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid(prefix=None)
        image.SeriesInstanceUID, image.SeriesNumber = filed.series, MAPS
        image.SeriesDescription, image.InstanceNumber = f"Map. {NOTE}", filed.number
        image.Modality, image.ConversionType, image.ImageType = "OT", "WSD", ["DERIVED", "SECONDARY"]
        image.ContentDate, image.ContentTime = f"{now:%Y%m%d}", f"{now:%H%M%S}"
        image.PatientOrientation, image.Laterality = None, None
        for name, value in _equipment(deployment).items():
            setattr(image, KEYWORDS[name], value)
        image.file_meta = FileMetaDataset()
        image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        return _marked(image, place)


@contextmanager
def written_as_allowed() -> Iterator[None]:
    """Raise StudyError for what DICOM does not allow, of which pydicom only warns unless it is told otherwise."""
    try:
        # An element is checked when it is made, and pydicom counts that as reading.
        with config.strict_reading():
            yield
    except (ValueError, TypeError, AttributeError, UnicodeError) as error:
        raise StudyError("its identifiers cannot be written as DICOM") from error


def identifiers(place: Place) -> Dataset:
    """The identifiers of a place as attributes, in Unicode; what DICOM asks for and the place lacks is empty.

    So is what DICOM does not allow of OPTIONAL.
    """
    found = Dataset()
    found.SpecificCharacterSet = "ISO_IR 192"
    for name, keyword in NAMED.items():
        value = getattr(place, name)
        setattr(found, keyword, "" if name in OPTIONAL and not _allowed(keyword, value) else value)
    if place.sex not in ("M", "F", "O"):
        found.PatientSex = ""
    if not place.patient_issuer:
        del found.IssuerOfPatientID  # DICOM does not ask for it
    found.ReferringPhysicianName = ""
    return found


def _allowed(keyword: str, value: str) -> bool:
    try:
        validate_value(dictionary_VR(keyword), value, config.RAISE)
    except ValueError:
        return False
    return True


def _groups(place: Place, own: Answer, deployment: Deployment, number: int) -> list:
    """The groups of a frame, by its number from 1."""
    frames = [number] if place.frames > 1 else None
    lesion = partial(
        sr.MeasurementsAndQualitativeEvaluations,
        finding_type=_code(codes.SKIN_LESION),
        tracking_identifier=sr.TrackingIdentifier(
            uid=generate_uid(prefix=None), identifier=f"Lesion in frame {number}"
        ),
        algorithm_id=_algorithm(deployment),
        source_images=[sr.SourceImageForMeasurementGroup(place.sop_class, place.sop_instance, frames)],
    )
    if own.silent:
        return [lesion(qualitative_evaluations=[_said(codes.ANSWERED, codes.SILENT)])]
    said = [(codes.ANSWERED, codes.ANSWERS), (codes.OPERATING_POINT, level(own.suspicious))]
    malignancy = lesion(
        measurements=[_percent(codes.MALIGNANCY, own.calibrated_malignancy)],
        qualitative_evaluations=[_said(*one) for one in said],
    )
    classes = zip(deployment.classes, own.calibrated, strict=True)
    return [malignancy] + [
        lesion(
            measurements=[_percent(probability_of(one), share)],
            qualitative_evaluations=[_said(codes.CANDIDATE, concept(one))],
        )
        for one, share in classes
    ]


def _said(name: Concept, value: Concept) -> sr.QualitativeEvaluation:
    return sr.QualitativeEvaluation(_code(name), _code(value))


def _percent(name: Concept, share: float) -> sr.Measurement:
    return sr.Measurement(name=_code(name), value=round(100 * float(share), 2), unit=_code(codes.PERCENT))


def _algorithm(deployment: Deployment) -> sr.AlgorithmIdentification:
    calibration = f"calibrated by a temperature of {deployment.temperature:.4g} and a bias a class"
    point = f"operating point {deployment.threshold:.4g} of the score before calibration"
    return sr.AlgorithmIdentification(
        name=deployment.name,
        version=deployment.version,
        manufacturer=MAKER,
        parameters=[
            f"SHA-256 {deployment.model_sha256}",
            f"{calibration}, {point}, silent below {deployment.silence:.4g}",
            deployment.counted(),
            NOTE,
        ],
        family=Code("123110", "DCM", "Artificial Intelligence"),
    )


def _observer(deployment: Deployment) -> sr.ObserverContext:
    # The same model is the same device, wherever it runs.
    own = uuid.uuid5(uuid.NAMESPACE_OID, deployment.model_sha256)
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=f"2.25.{own.int}", name=deployment.name, manufacturer_name=MAKER, model_name=deployment.name
    )
    return sr.ObserverContext(Code("121007", "DCM", "Device"), device)


def _equipment(deployment: Deployment) -> dict[str, str]:
    return {
        "manufacturer": MAKER,
        "manufacturer_model_name": deployment.name,
        "software_versions": f"{software_version()} {deployment.version}",
        "device_serial_number": deployment.model_sha256,
    }


def _own_scheme() -> CodingSchemeIdentificationItem:
    """The scheme of the own codes, with the identifier that they have elsewhere."""
    scheme = CodingSchemeIdentificationItem(codes.SCHEME, name=MAKER)
    # highdicom takes an identifier only of a scheme that is registered somewhere; DICOM asks for no registry.
    scheme.CodingSchemeUID = codes.OWN_OID
    return scheme


def _code(own: Concept) -> Code:
    return Code(own.value, own.scheme, own.meaning)


def _history(place: Place, deployment: Deployment, frame: int) -> Dataset:
    """What a map is made of and worth, and what is known of its pixels."""
    image = Dataset()
    told = f"{WAY}, laid over the image. {deployment.map_told()}"
    image.DerivationDescription = told if len(told) <= LONGEST else f"{told[: LONGEST - 4]} ..."
    image.LossyImageCompression = "01" if place.loss else "00"
    if place.loss:
        image.LossyImageCompressionRatio = round(place.loss, 3)
    if place.burned_in == "NO":  # the program itself cannot know
        image.BurnedInAnnotation = "NO"
    if place.recognisable:
        image.RecognizableVisualFeatures = place.recognisable
    image.SourceImageSequence = [_reference(place, frame)]
    return image


def _reference(place: Place, frame: int) -> Dataset:
    source = Dataset()
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = place.sop_class, place.sop_instance
    if place.frames > 1:
        source.ReferencedFrameNumber = frame
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "121322", "DCM"
    purpose.CodeMeaning = "Source image for image processing operation"
    source.PurposeOfReferenceCodeSequence = [purpose]
    return source


def _pixels(shown: np.ndarray) -> Dataset:
    image = Dataset()
    image.Rows, image.Columns, image.SamplesPerPixel = *shown.shape[:2], 3
    image.PhotometricInterpretation, image.PlanarConfiguration, image.PixelRepresentation = "RGB", 0, 0
    image.BitsAllocated, image.BitsStored, image.HighBit = 8, 8, 7
    data = np.ascontiguousarray(shown, np.uint8).tobytes()
    image.PixelData = data + b"\0" * (len(data) % 2)
    return image


def _marked(result: Dataset, place: Place) -> Dataset:
    """The result, saying so where its identifiers are not the patient's.

    In words: it is not what the code of a confidentiality profile (PS3.15, E) would claim.
    """
    if place.anonymous:
        result.PatientIdentityRemoved, result.DeidentificationMethod = "YES", METHOD
        result.LongitudinalTemporalInformationModified = "REMOVED"
    return result


def outline(document: Dataset, depth: int = 0) -> list[str]:
    """The content of a report as text, a line an item, indented; for people."""
    lines = []
    for item in document.get("ContentSequence", []):
        names = item.get("ConceptNameCodeSequence")
        told = _value(item)
        name = names[0].CodeMeaning if names else item.ValueType.lower()
        lines.append(f"{'  ' * depth}{name}{': ' + told if told else ''}")
        lines += outline(item, depth + 1)
    return lines


def _value(item: Dataset) -> str:
    """What an item says."""
    if "ConceptCodeSequence" in item:
        code = item.ConceptCodeSequence[0]
        return f"{code.CodeMeaning} ({code.CodingSchemeDesignator} {code.CodeValue})"
    if "MeasuredValueSequence" in item:
        return f"{item.MeasuredValueSequence[0].NumericValue} %"
    if "ReferencedSOPSequence" in item:
        return f"…{item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID[-8:]}"
    return str(item.get("TextValue") or item.get("UID") or "")
