"""DICOM results in the study of their image: structured reports.

From the header of the image they copy only what is in `reading.place.Place`.
"""

import uuid
from collections.abc import Sequence
from functools import partial

from highdicom import sr
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as standard

from clinic import MAKER
from clinic.answering.answers import UNLIKE, Answer
from clinic.answering.deployment import Deployment, software_version
from clinic.reading.place import Place
from clinic.writing import codes, sentences
from clinic.writing.datasets import identifiers, stable_uid, strict_values, with_attributes

NOTE = "Research only, not for diagnosis"
REPORTS = 9001  # number of the series, far above those that a study usually has
DEIDENTIFIED = {  # in words, since the results do not meet a coded confidentiality profile (PS3.15, E)
    "PatientIdentityRemoved": "YES",
    "DeidentificationMethod": "Identifiers of patient and study not taken over",
    "LongitudinalTemporalInformationModified": "REMOVED",
}


def report(
    place: Place, answers: Sequence[Answer], deployment: Deployment, *, options: str = "", former: Dataset | None = None
) -> sr.ComprehensiveSR:
    """A Comprehensive SR (TID 1500) about the frames of one image, preliminary and not verified.

    Each frame has one group for malignancy, with the calibrated probability and whether it reaches the
    operating point, and one group per class, with its calibrated probability in percent and the class as a
    candidate, each with the region of the body if it is known. If the model abstains, a single group says so. The
    finding of every group is a skin lesion, since a group may be read without the others; only what is unlike the
    training images has none. The UIDs are the same for the same image, deployment and options; former: an earlier
    report about the image, named as its predecessor. Raises StudyError if DICOM does not allow the identifiers of the
    place.
    """
    frames = [_groups(place, answer, deployment, frame=frame) for frame, answer in enumerate(answers, 1)]
    context = sr.ObservationContext(observer_device_context=_observer(deployment))
    content = sr.MeasurementReport(context, codes.procedure_code(place), sum(frames, []))
    with strict_values():
        document = sr.ComprehensiveSR(
            evidence=[identifiers(place)],
            content=content[0],
            series_instance_uid=stable_uid(place.study, deployment.checksum, options, "series"),
            series_number=REPORTS,
            series_description=NOTE,
            sop_instance_uid=stable_uid(place.sop_instance, deployment.checksum, options),
            instance_number=1,
            previous_versions=[former] if former is not None else None,
            is_complete=True,
            content_qualification="RESEARCH",
        )
        scheme = CodingSchemeIdentificationItem(codes.SCHEME, name=MAKER)
        # highdicom takes an identifier only for a registered scheme, which DICOM does not ask for.
        scheme.CodingSchemeUID = codes.SCHEME_UID
        document.CodingSchemeIdentificationSequence = [scheme]
        return with_attributes(document, _equipment(deployment) | (DEIDENTIFIED if place.anonymous else {}))


def outline(document: Dataset, depth: int = 0) -> list[str]:
    """The content of a report as text, one indented line per item, for people to read."""
    lines = []
    for item in document.get("ContentSequence", []):
        names, value = item.get("ConceptNameCodeSequence"), _value(item)
        name = names[0].CodeMeaning if names else item.ValueType.lower()
        lines.append(f"{'  ' * depth}{name}{value and ': '}{value}")
        lines += outline(item, depth + 1)
    return lines


def _value(item: Dataset) -> str:
    """The value of a content item as text."""
    if "ConceptCodeSequence" in item:
        code = item.ConceptCodeSequence[0]
        return f"{code.CodeMeaning} ({code.CodingSchemeDesignator} {code.CodeValue})"
    if "MeasuredValueSequence" in item:
        return f"{item.MeasuredValueSequence[0].NumericValue} %"
    if "ReferencedSOPSequence" in item:
        return f"…{item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID[-8:]}"
    return str(item.get("TextValue") or item.get("UID") or "")


def _groups(place: Place, answer: Answer, deployment: Deployment, *, frame: int) -> list:
    """The measurement groups of one frame, counted from 1."""
    lesion = f"Lesion in frame {frame}"
    image = sr.SourceImageForMeasurementGroup(
        place.sop_class, place.sop_instance, [frame] if place.frames > 1 else None
    )
    group = partial(
        sr.MeasurementsAndQualitativeEvaluations,
        finding_type=None if answer.reason == UNLIKE else codes.SKIN_LESION,  # what is unlike may be none
        tracking_identifier=sr.TrackingIdentifier(uid=stable_uid(place.sop_instance, lesion), identifier=lesion),
        algorithm_id=_algorithm(deployment),
        source_images=[image],
        finding_sites=_site(place),
    )
    answered = sr.QualitativeEvaluation(codes.ANSWERED, codes.ABSTAINS.get(answer.reason, codes.ANSWERS))
    if answer.abstained:
        return [group(qualitative_evaluations=[answered])]
    level = sr.QualitativeEvaluation(codes.OPERATING_POINT, codes.risk_code(answer.suspicious))
    share = _percent(codes.MALIGNANCY, answer.malignancy)
    groups = [group(measurements=[share], qualitative_evaluations=[answered, level])]
    for diagnosis, probability in zip(deployment.classes, answer.probabilities, strict=True):
        candidate = sr.QualitativeEvaluation(codes.CANDIDATE, codes.diagnosis_code(diagnosis))
        share = _percent(codes.probability_code(diagnosis), probability)
        groups.append(group(measurements=[share], qualitative_evaluations=[candidate]))
    return groups


def _site(place: Place) -> list[sr.FindingSite] | None:
    """Where on the body the image was taken, and on which side, if the image says so by codes."""
    region = codes.region_code(place)
    return [sr.FindingSite(region, codes.SIDES.get(place.laterality))] if region else None


def _percent(name: codes.Code, share: float) -> sr.Measurement:
    return sr.Measurement(name=name, value=round(100 * float(share), 2), unit=codes.PERCENT)


def _algorithm(deployment: Deployment) -> sr.AlgorithmIdentification:
    calibration = f"calibrated by a temperature of {deployment.temperature:.4g} and a bias per class"
    point = f"suspicious from a probability of malignancy of {100 * deployment.suspicious_from:.3g} % on"
    return sr.AlgorithmIdentification(
        name=deployment.name,
        version=deployment.version,
        manufacturer=MAKER,
        parameters=[
            f"SHA-256 of the model {deployment.model_sha256}, of the deployment {deployment.checksum}",
            f"{calibration}, {point}",
            sentences.describe_malignant_classes(deployment),
            NOTE,
        ],
        family=standard.DCM.ArtificialIntelligence,
    )


def _observer(deployment: Deployment) -> sr.ObserverContext:
    # The UID depends on the model alone: it is the same device wherever it runs.
    number = uuid.uuid5(uuid.NAMESPACE_OID, deployment.model_sha256).int
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=f"2.25.{number}",
        name=deployment.name,
        manufacturer_name=MAKER,
        model_name=deployment.name,
        serial_number=deployment.model_sha256,
    )
    return sr.ObserverContext(standard.DCM.Device, device)


def _equipment(deployment: Deployment) -> dict[str, str]:
    return {
        "Manufacturer": MAKER,
        "ManufacturerModelName": deployment.name,
        "SoftwareVersions": f"{software_version()} {deployment.version}",
        "DeviceSerialNumber": deployment.model_sha256,
    }
