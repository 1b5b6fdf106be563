"""Results as a bundle of FHIR R4 resources: report, observations, risk, device, patient and, from DICOM, the study."""

import base64
import datetime
import uuid
from collections.abc import Iterator, Mapping

from clinic import DISCLAIMER, MAKER
from clinic.answering.answers import Answer
from clinic.answering.deployment import Deployment
from clinic.reading.dicom import DERMOSCOPIC, Place
from clinic.writing import codes
from clinic.writing.codes import Concept, level, probability_of
from clinic.writing.sentences import verdict
from helpers.study import StudyError

UID_SYSTEM, URI_SYSTEM = "urn:dicom:uid", "urn:ietf:rfc:3986"
CATEGORY = {"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "IMG", "display": "Diagnostic Imaging"}
ABSENT = {
    "system": "http://terminology.hl7.org/CodeSystem/data-absent-reason",
    "code": "unknown",
    "display": "Unknown",
}
CATEGORY_OF_OBSERVATION = "http://terminology.hl7.org/CodeSystem/observation-category"
DIGITS = 4


def bundle(image: str, frame: int, own: Answer, deployment: Deployment, place: Place | None = None) -> dict:
    """A bundle about one picture, ready to be written as JSON: every reference in it resolves in it.

    image, frame: of the table; place: of an image from DICOM, whose patient and study are then identified. Where the
    model is silent, the observations have no value and the risk no probability. No diagnosis is coded in any case,
    since the model makes none: an observation names a class by what its probability is of. It is of the day that the
    image was taken, where that is known. Raises StudyError if what was built is not valid R4 (checked with the models
    of fhir.resources, R4B).
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    names = iter(lambda: f"urn:uuid:{uuid.uuid4()}", None)
    entries = {"patient": (next(names), _patient(place)), "device": (next(names), _device(deployment))}
    if place is not None and not place.anonymous:
        entries["study"] = (next(names), _study(place, frame, _to(entries["patient"])))
    about = {"subject": _to(entries["patient"]), **_times(place, now)}
    seen = about | _device_and_image(entries)
    observations = [(next(names), _observation(own, k, deployment, seen)) for k in range(len(deployment.classes))]
    results = [_to(entry) for entry in observations]
    risk = next(names), _risk(own, deployment, entries, results, now)
    code = codes.DERMOSCOPY if place is None or place.sop_class == DERMOSCOPIC else codes.IMAGING
    filed = {"code": _coded(code, text="Classification of a skin lesion"), **about, **_imaging(entries)}
    filed |= {"identifier": [_identifier(f"{image}-{frame}", deployment)], "result": results}
    report = next(names), _report(own, deployment, filed)
    everything = [report, risk, *observations, *entries.values()]
    content = {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": now,
        "entry": [{"fullUrl": name, "resource": resource} for name, resource in everything],
    }
    return _valid(content)


def references(content: object) -> Iterator[str]:
    """Every reference in a resource or a bundle."""
    if isinstance(content, Mapping):
        if isinstance(content.get("reference"), str):
            yield content["reference"]
        for value in content.values():
            yield from references(value)
    elif isinstance(content, list):
        for value in content:
            yield from references(value)


def _valid(content: dict) -> dict:
    """The bundle itself. Raises StudyError if the models of R4B refuse it, or a reference leads out of it."""
    from fhir.resources.R4B.bundle import Bundle

    try:
        Bundle.model_validate(content)
    except ValueError as error:
        raise StudyError("The bundle is not valid FHIR R4.") from error
    known = {entry["fullUrl"] for entry in content["entry"]}
    if not set(references(content)) <= known:
        raise StudyError("The bundle refers to what is not in it.")
    return content


def _to(entry: tuple[str, dict]) -> dict:
    return {"reference": entry[0]}


def _times(place: Place | None, now: str) -> dict:
    """When it was said, and of when that is: the day of the image, or nothing where that is not known."""
    day = place.acquired if place else ""
    return {"issued": now} | ({"effectiveDateTime": f"{day[:4]}-{day[4:6]}-{day[6:]}"} if day else {})


def _imaging(entries: Mapping[str, tuple]) -> dict:
    return {"imagingStudy": [_to(entries["study"])]} if "study" in entries else {}


def _device_and_image(entries: Mapping[str, tuple]) -> dict:
    told = {"device": _to(entries["device"])}
    return told | ({"derivedFrom": [_to(entries["study"])]} if "study" in entries else {})


def _coded(own: Concept, *broader: Concept, text: str = "") -> dict:
    return {"coding": [one.coding() for one in (own, *broader)], "text": text or own.meaning}


def _patient(place: Place | None) -> dict:
    """The patient, by the number that the study is filed under, who gave it out, and nothing else."""
    if place is None or not place.patient_id:
        return {"resourceType": "Patient"}
    # DICOM tells who gave it out in words, while a system is a URI.
    issuer = {"assigner": {"display": place.patient_issuer}} if place.patient_issuer else {}
    return {"resourceType": "Patient", "identifier": [{"value": place.patient_id} | issuer]}


def _identifier(name: str, deployment: Deployment) -> dict:
    """What a report is known by: the picture's name in the table, among the reports of this model.

    Another model's report about the same picture is another one.
    """
    reports = uuid.uuid5(uuid.NAMESPACE_OID, f"reports of {deployment.model_sha256}")
    return {"system": f"urn:oid:2.25.{reports.int}", "value": name}


def _device(deployment: Deployment) -> dict:
    digest = base64.urlsafe_b64encode(bytes.fromhex(deployment.model_sha256)).decode().rstrip("=")
    return {
        "resourceType": "Device",
        # RFC 6920: a name for whatever has this checksum.
        "identifier": [{"system": URI_SYSTEM, "value": f"ni:///sha-256;{digest}"}],
        "status": "active",
        "manufacturer": MAKER,
        "deviceName": [{"name": deployment.name, "type": "model-name"}],
        "version": [{"value": deployment.version}],
        "property": [
            {
                "type": {"text": "SHA-256 of the model file"},
                "valueCode": [{"text": deployment.model_sha256}],
            }
        ],
        "note": [{"text": DISCLAIMER}],
    }


def _study(place: Place, frame: int, patient: dict) -> dict:
    """The study of an image, with that image alone. frame: of it, named where it has several; from 1."""
    instance = {"uid": place.sop_instance, "sopClass": {"system": URI_SYSTEM, "code": f"urn:oid:{place.sop_class}"}}
    if place.frames > 1:
        instance["title"] = f"Frame {frame} of {place.frames}"
    return {
        "resourceType": "ImagingStudy",
        "identifier": [{"system": UID_SYSTEM, "value": f"urn:oid:{place.study}"}],
        "status": "available",
        "subject": patient,
        "series": [
            {
                "uid": place.series,
                # A secondary capture need not have one.
                "modality": {"system": codes.SYSTEMS["DCM"], "code": place.modality or "OT"},
                "instance": [instance],
            }
        ],
    }


def _observation(own: Answer, k: int, deployment: Deployment, about: dict) -> dict:
    """The calibrated probability of one class, in percent, or that there is none."""
    one = deployment.classes[k]
    value = {"valueQuantity": _percent(float(own.calibrated[k]))}
    return {
        "resourceType": "Observation",
        "status": "preliminary",
        "category": [{"coding": [{"system": CATEGORY_OF_OBSERVATION, "code": "imaging", "display": "Imaging"}]}],
        "code": _coded(probability_of(one), codes.CERTAINTY),
        **about,
        **({"dataAbsentReason": {"coding": [ABSENT], "text": codes.SILENT.meaning}} if own.silent else value),
    }


def _percent(share: float) -> dict:
    return {"value": round(100 * share, DIGITS), "unit": "%", "system": codes.SYSTEMS["UCUM"], "code": "%"}


def _risk(own: Answer, deployment: Deployment, entries: Mapping, results: list[dict], now: str) -> dict:
    outcome = {"outcome": _coded(codes.MALIGNANT)}
    if not own.silent:
        outcome |= {
            # With its unit: a bare decimal is read as a share by some and as a percentage by others.
            "probabilityRange": dict.fromkeys(("low", "high"), _percent(own.calibrated_malignancy)),
            "qualitativeRisk": _coded(level(own.suspicious)),
            "rationale": "The probability is calibrated. " + deployment.limit(),
        }
    return {
        "resourceType": "RiskAssessment",
        "status": "preliminary",
        "subject": _to(entries["patient"]),
        "occurrenceDateTime": now,
        "performer": _to(entries["device"]),
        "basis": results,
        "prediction": [outcome],
        "note": [{"text": text} for text in (deployment.counted(), *_doubts(own, deployment), DISCLAIMER)],
    }


def _report(own: Answer, deployment: Deployment, filed: dict) -> dict:
    # A device cannot be the performer of a report in R4: the observations and the risk name it.
    return {
        "resourceType": "DiagnosticReport",
        "status": "preliminary",
        "category": [{"coding": [CATEGORY]}],
        "conclusion": " ".join([verdict(own, deployment), *_doubts(own, deployment), DISCLAIMER]),
        **filed,
    }


def _doubts(own: Answer, deployment: Deployment) -> list[str]:
    """Warnings about the image, and what the silence of the model is worth."""
    return [*(f"Warning: {warning}." for warning in own.warnings), deployment.told()]
