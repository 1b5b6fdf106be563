"""Results as a bundle of FHIR R4 resources: report, risk, observations, patient, device, image and its study.

No resource claims a profile, since none that is published fits the answers of a program about a photograph.
"""

import base64
import datetime
import html
import uuid
from collections.abc import Mapping
from functools import partial

from fhir.resources.R4B.bundle import Bundle

from clinic import DISCLAIMER, MAKER
from clinic.answering.answers import Answer
from clinic.answering.deployment import Deployment
from clinic.reading.place import Place
from clinic.writing import codes, sentences
from clinic.writing.codes import SYSTEMS, Code, coding
from helpers.data.diagnoses import Diagnosis
from helpers.study import StudyError

UID_SYSTEM, URI_SYSTEM = "urn:dicom:uid", "urn:ietf:rfc:3986"
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
RADIOLOGY = {"system": f"{TERMINOLOGY}/v2-0074", "code": "IMG", "display": "Diagnostic Imaging"}
OBSERVATION = {"system": f"{TERMINOLOGY}/observation-category", "code": "imaging", "display": "Imaging"}
UNKNOWN = {"system": f"{TERMINOLOGY}/data-absent-reason", "code": "unknown", "display": "Unknown"}
MEDIA_IMAGE = {"system": f"{TERMINOLOGY}/media-type", "code": "image", "display": "Image"}
ACCESSION = {"system": f"{TERMINOLOGY}/v2-0203", "code": "ACSN", "display": "Accession ID"}
EXTENSIONS = "http://hl7.org/fhir/StructureDefinition"
DIGITS = 4


def bundle(name: str, answer: Answer, deployment: Deployment, *, place: Place | None = None, frame: int = 1) -> dict:
    """A bundle about one picture, ready to be written as JSON; its references all point into the bundle.

    name: of the image in the tables; place, frame: of an image from DICOM, to identify its patient and study. If the
    model abstains, the observations have no value and the risk has no probability. No resource codes a diagnosis, since
    the model makes none: the code of an observation names the class of its probability. The observations have the day
    on which the image was taken, if it is known. Raises StudyError if the bundle is not valid R4.
    """
    patient, number = _entry(_patient(place)), partial(_identifier, deployment, f"{name}-{frame}")
    studies = [_entry(_study(place, frame, patient))] if is_named(place) else []
    sites = [_entry(_site(place, patient) | number("site"))] if place and (place.region or place.laterality) else []
    image = _entry(_image(name, place) | number("image") | {"subject": _reference(patient)})
    device = _entry(_device(deployment), f"{deployment.name}, version {deployment.version}. {DISCLAIMER}")
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    context = {"subject": _reference(patient), "issued": now} | _day(place)
    source = {"device": _reference(device)} | _references("derivedFrom", [*studies, image]) | _at(sites, place)
    observations = [
        _entry(_observation(diagnosis, share, answer.reason) | number(diagnosis.code) | context | source)
        for diagnosis, share in zip(deployment.classes, answer.probabilities, strict=True)
    ]
    risk = _risk(answer, deployment) | number("risk") | {"subject": _reference(patient), "occurrenceDateTime": now}
    risk = _entry(risk | {"performer": _reference(device)} | _references("basis", observations))
    report = _report(answer, deployment, place) | number() | context | {"media": [{"link": _reference(image)}]}
    report |= {"extension": [{"url": f"{EXTENSIONS}/diagnosticReport-risk", "valueReference": _reference(risk)}]}
    report = _entry(report | _references("imagingStudy", studies) | _references("result", observations))
    entries = [report, risk, *observations, patient, device, image, *studies, *sites]
    return validate({"resourceType": "Bundle", "type": "collection", "timestamp": now, "entry": entries})


def validate(content: dict) -> dict:
    """The bundle. Raises StudyError if it is not valid R4, by the models of fhir.resources (R4B)."""
    try:
        Bundle.model_validate(content)
    except ValueError as error:
        raise StudyError("The bundle is not valid FHIR R4.") from error
    return content


def _identifier(deployment: Deployment, picture: str, part: str = "") -> dict:
    """The identifier of a part of the results about a picture; another model gives it another system."""
    reports = uuid.uuid5(uuid.NAMESPACE_OID, f"reports of {deployment.checksum}")
    return {"identifier": [{"system": f"urn:oid:2.25.{reports.int}", "value": "-".join(filter(None, (picture, part)))}]}


def is_named(place: Place | None) -> bool:
    """Whether results may name the patient and the study."""
    return place is not None and not place.anonymous


def _entry(resource: dict, words: str = "") -> dict:
    """An entry of a bundle. words: for people; by default what the resource says itself."""
    words = words or _words(resource)
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{html.escape(words)}</p></div>'
    text = {"text": {"status": "generated", "div": div}} if words else {}
    return {"fullUrl": f"urn:uuid:{uuid.uuid4()}", "resource": resource | text}


def _words(resource: Mapping) -> str:
    """What a resource says in words; nothing of a patient."""
    value = resource.get("valueQuantity")
    absent = resource.get("dataAbsentReason", {}).get("text")
    words = {
        "DiagnosticReport": lambda: resource["conclusion"],
        "RiskAssessment": lambda: " ".join(
            [one.get("rationale", "") for one in resource["prediction"]] + [one["text"] for one in resource["note"]]
        ).strip(),
        "Observation": lambda: f"{resource['code']['text']}: {absent or str(value['value']) + ' %'}",
        "Media": lambda: "The image that was classified.",
        "ImagingStudy": lambda: "The study of the image.",
        "BodyStructure": lambda: "Where on the body the image was taken.",
    }
    return words.get(resource["resourceType"], str)()


def _reference(entry: Mapping) -> dict:
    return {"reference": entry["fullUrl"]}


def _references(field: str, entries: list[dict]) -> dict:
    """A field with references to the entries; no field without entries, since FHIR has no empty lists."""
    return {field: [_reference(entry) for entry in entries]} if entries else {}


def _patient(place: Place | None) -> dict:
    """The patient, with nothing but the patient number of the study and who issued it."""
    if place is None or not place.patient_id:
        return {"resourceType": "Patient"}
    # DICOM names the issuer in words, but a system has to be a URI.
    issuer = {"assigner": {"display": place.patient_issuer}} if place.patient_issuer else {}
    return {"resourceType": "Patient", "identifier": [{"value": place.patient_id} | issuer]}


def _device(deployment: Deployment) -> dict:
    digest = base64.urlsafe_b64encode(bytes.fromhex(deployment.model_sha256)).decode().rstrip("=")
    return {
        "resourceType": "Device",
        # RFC 6920: a name that is made from the checksum.
        "identifier": [{"system": URI_SYSTEM, "value": f"ni:///sha-256;{digest}"}],
        "status": "active",
        "manufacturer": MAKER,
        "deviceName": [{"name": deployment.name, "type": "model-name"}],
        "version": [{"value": deployment.version}],
        "property": [
            {"type": {"text": "SHA-256 of the model file"}, "valueCode": [{"text": deployment.model_sha256}]},
            {"type": {"text": "SHA-256 of the deployment"}, "valueCode": [{"text": deployment.checksum}]},
        ],
        "note": [{"text": DISCLAIMER}],
    }


def _study(place: Place, frame: int, patient: Mapping) -> dict:
    """The study of an image, with only this image in it."""
    instance = {"uid": place.sop_instance, "sopClass": {"system": URI_SYSTEM, "code": f"urn:oid:{place.sop_class}"}}
    if place.frames > 1:
        instance["title"] = f"Frame {frame} of {place.frames}"
    # A secondary capture may lack a modality, but FHIR requires one.
    modality = {"system": SYSTEMS["DCM"], "code": place.modality or "OT"}
    return {
        "resourceType": "ImagingStudy",
        "identifier": [{"system": UID_SYSTEM, "value": f"urn:oid:{place.study}"}],
        "status": "available",
        "subject": _reference(patient),
        "series": [{"uid": place.series, "modality": modality, "instance": [instance]}],
    }


def _observation(diagnosis: Diagnosis, share: float, reason: str) -> dict:
    """The calibrated probability of one class, in percent, or the reason for which the model abstains."""
    value = {"valueQuantity": _percent(share)}
    if reason:
        value = {"dataAbsentReason": {"coding": [UNKNOWN], "text": codes.ABSTAINS[reason].meaning}}
    return {
        "resourceType": "Observation",
        "status": "preliminary",
        "category": [{"coding": [OBSERVATION]}],
        "code": _concept(codes.probability_code(diagnosis), codes.CERTAINTY),
        **value,
    }


def _percent(share: float) -> dict:
    return {"value": round(100 * float(share), DIGITS), "unit": "%", "system": SYSTEMS["UCUM"], "code": "%"}


def _concept(code: Code, *broader: Code, text: str = "") -> dict:
    """A CodeableConcept. Its text is by default the meaning of its code."""
    return {"coding": [coding(one) for one in (code, *broader)], "text": text or code.meaning}


def _risk(answer: Answer, deployment: Deployment) -> dict:
    prediction = {"outcome": _concept(codes.MALIGNANT)}
    if not answer.abstained:
        # With its unit, since some readers take a bare number as a fraction and others as a percentage.
        probability = _percent(answer.malignancy)
        prediction |= {
            "probabilityRange": {"low": probability, "high": probability},
            "qualitativeRisk": _concept(codes.risk_code(answer.suspicious)),
            "rationale": " ".join(sentences.describe_worth(answer, deployment)),
        }
    return {
        "resourceType": "RiskAssessment",
        "status": "preliminary",
        "prediction": [prediction],
        "note": [{"text": text} for text in (sentences.describe_malignant_classes(deployment), *_caveats(answer))],
    }


def _report(answer: Answer, deployment: Deployment, place: Place | None) -> dict:
    """The report. In R4 its performer cannot be a device, so only the observations and the risk name the device."""
    worth = sentences.describe_worth(answer, deployment)
    order = {}
    if is_named(place) and place.accession_number:
        number = {"type": {"coding": [ACCESSION]}, "value": place.accession_number}
        order = {"basedOn": [{"type": "ServiceRequest", "identifier": number}]}
    code = _concept(codes.procedure_code(place), codes.IMAGING_STUDY, text="Classification of a skin lesion")
    return order | {
        "resourceType": "DiagnosticReport",
        "status": "preliminary",
        "category": [{"coding": [RADIOLOGY]}],
        "code": code,
        "conclusion": " ".join([f"{sentences.describe_answer(answer)}.", *worth, *_caveats(answer)]),
    }


def _day(place: Place | None) -> dict:
    """The day on which the image was taken, if it is known."""
    if place is None or not place.acquired:
        return {}
    return {"effectiveDateTime": datetime.date.fromisoformat(place.acquired).isoformat()}


def _image(name: str, place: Place | None) -> dict:
    """The image that was classified, by its name in results or, of DICOM, by its UID; its pixels are not in it."""
    content = {"title": name}
    if is_named(place):
        content |= {"contentType": "application/dicom", "url": f"urn:oid:{place.sop_instance}"}
    return {"resourceType": "Media", "status": "completed", "type": {"coding": [MEDIA_IMAGE]}, "content": content}


def _site(place: Place, patient: Mapping) -> dict:
    """Where on the body a DICOM image was taken, and on which side."""
    region = {"location": _region(place)} if place.region else {}
    side = {"locationQualifier": [_concept(codes.SIDES[place.laterality])]} if place.laterality else {}
    return {"resourceType": "BodyStructure", "patient": _reference(patient)} | region | side


def _region(place: Place) -> dict:
    code = codes.region_code(place)
    return {"coding": [coding(code) if code else {"system": SYSTEMS["SCT"], "code": place.region}]}


def _at(sites: list[dict], place: Place | None) -> dict:
    """The site of an observation, if it is known."""
    if not sites:
        return {}
    refers = {"url": f"{EXTENSIONS}/bodySite", "valueReference": _reference(sites[0])}
    return {"bodySite": {"extension": [refers]} | (_region(place) if place.region else {})}


def _caveats(answer: Answer) -> list[str]:
    """Warnings about the image, and the disclaimer."""
    return [*(f"Warning: {warning}." for warning in answer.warnings), DISCLAIMER]
