"""Results in FHIR: valid R4, with every reference resolved, and silent where the model is."""

import datetime
import json
from dataclasses import replace

import pytest
from clinical import CODES, PLACE, SECRETS, an_answer, deployment

from clinic.writing import fhir
from clinic.writing.codes import MALIGNANT, SYSTEMS, concept
from clinic.writing.fhir import bundle, references
from helpers.data.lesions import HAM10000
from helpers.study import StudyError


def by_type(content: dict) -> dict[str, list[dict]]:
    found = {}
    for entry in content["entry"]:
        found.setdefault(entry["resource"]["resourceType"], []).append(entry["resource"])
    return found


@pytest.mark.parametrize("place", [None, PLACE, PLACE.without_identifiers(b"key")], ids=["file", "DICOM", "anonymous"])
@pytest.mark.parametrize("silent", [False, True])
def test_every_reference_resolves_and_every_resource_is_valid(place, silent):
    from fhir.resources.R4B.bundle import Bundle

    content = bundle("0123", 1, an_answer(silent, warnings=("blurred",)), deployment(), place)
    read = Bundle.model_validate_json(json.dumps(content))
    names = [entry.fullUrl for entry in read.entry]
    assert len(set(names)) == len(names) and all(name.startswith("urn:uuid:") for name in names)
    pointed = list(references(content))
    assert set(pointed) <= set(names) and len(pointed) > len(CODES)
    assert {type(entry.resource).__name__ for entry in read.entry} >= {"DiagnosticReport", "RiskAssessment", "Device"}


def test_it_says_what_the_model_says():
    found = by_type(bundle("0123", 2, an_answer(), deployment(), PLACE))
    (report,), (risk,), (device,) = found["DiagnosticReport"], found["RiskAssessment"], found["Device"]
    assert report["status"] == risk["status"] == "preliminary"
    assert report["identifier"][0]["value"] == "0123-2" and "Not a medical device" in report["conclusion"]
    assert len(found["Observation"]) == len(report["result"]) == len(CODES)
    melanoma = found["Observation"][CODES.index("mel")]
    assert melanoma["status"] == "preliminary" and melanoma["valueQuantity"]["value"] == 40.0
    (prediction,) = risk["prediction"]
    probability = prediction["probabilityRange"]
    assert probability["low"] == probability["high"] and probability["low"]["unit"] == "%"
    assert float(probability["low"]["value"]) == 60 and prediction["qualitativeRisk"]["coding"][0]["code"] == "reached"
    assert "before calibration" in prediction["rationale"]
    assert prediction["outcome"]["coding"] == [MALIGNANT.coding()] and "pre-malignant" in MALIGNANT.meaning
    assert any("pre-malignant" in note["text"] for note in risk["note"])
    assert device["property"][0]["valueCode"][0]["text"] == "ab" * 32


def test_each_observation_says_by_its_code_which_class_it_is_of():
    found = by_type(bundle("0", 1, an_answer(), deployment()))["Observation"]
    own, broader = zip(*(one["code"]["coding"] for one in found), strict=True)
    assert [one["code"] for one in own] == [f"prob-{code}" for code in CODES]
    assert {one["code"] for one in broader} == {"111012"}


@pytest.mark.parametrize(("modality", "told"), [("OT", "OT"), ("XC", "XC"), ("", "OT")])
def test_the_study_has_the_modality_of_the_image_and_names_its_frame(modality, told):
    place = replace(PLACE, modality=modality, frames=3)
    (study,) = by_type(bundle("0", 2, an_answer(), deployment(), place))["ImagingStudy"]
    assert study["series"][0]["modality"]["code"] == told
    assert study["series"][0]["instance"][0]["title"] == "Frame 2 of 3"
    (study,) = by_type(bundle("0", 1, an_answer(), deployment(), PLACE))["ImagingStudy"]
    assert "title" not in study["series"][0]["instance"][0]


def test_the_name_of_the_device_is_its_checksum():
    """RFC 6920: the digest in base64url; that of 32 bytes 0xab is `q6ur` again and again."""
    (device,) = by_type(bundle("0", 1, an_answer(), deployment()))["Device"]
    assert device["identifier"][0]["value"] == f"ni:///sha-256;{'q6ur' * 10}q6s"


def test_where_the_model_is_silent_no_number_is_told():
    found = by_type(bundle("0", 1, an_answer(silent=True), deployment()))
    assert all("valueQuantity" not in one and "dataAbsentReason" in one for one in found["Observation"])
    (prediction,) = found["RiskAssessment"][0]["prediction"]
    assert set(prediction) == {"outcome"}
    assert {one["dataAbsentReason"]["coding"][0]["code"] for one in found["Observation"]} == {"unknown"}


def coded(content) -> set[tuple[str, str]]:
    """Every code in a resource or a bundle, with its system."""
    if isinstance(content, list):
        return set().union(*map(coded, content))
    if not isinstance(content, dict):
        return set()
    own = {(content["system"], content["code"])} if {"system", "code"} <= set(content) else set()
    return own.union(*map(coded, content.values()))


@pytest.mark.parametrize("silent", [False, True])
def test_no_diagnosis_is_coded_that_was_not_made(silent):
    """Neither by SNOMED CT nor by an own code; what there is of SNOMED CT is the kind of imaging."""
    found = coded(bundle("0", 1, an_answer(silent), deployment(), PLACE))
    diagnoses = {(SYSTEMS[own.scheme], own.value) for own in map(concept, HAM10000)}
    assert not found & diagnoses
    assert {code for system, code in found if system == SYSTEMS["SCT"]} == {"446078004"}


def observed_times(place) -> set[str | None]:
    found = by_type(bundle("0", 1, an_answer(), deployment(), place))
    return {one.get("effectiveDateTime") for one in found["Observation"] + found["DiagnosticReport"]}


def test_what_is_observed_is_of_the_day_of_the_image():
    """The day that it was taken, not the one of its study, of the run, or of a time zone that nobody told."""
    assert observed_times(PLACE) == {"2024-02-29"}
    for place in (None, replace(PLACE, acquired=""), PLACE.without_identifiers(b"key")):
        assert observed_times(place) == {None}
    issued = {one["issued"][:4] for one in by_type(bundle("0", 1, an_answer(), deployment(), PLACE))["Observation"]}
    assert issued == {str(datetime.datetime.now(datetime.UTC).year)}


def test_of_the_patient_only_the_number_of_the_study_is_told_and_who_gave_it_out():
    content = bundle("0", 1, an_answer(), deployment(), PLACE)
    found = by_type(content)
    number = {"value": "P-17", "assigner": {"display": "Registry of Elsewhere"}}
    assert found["Patient"] == [{"resourceType": "Patient", "identifier": [number]}]
    assert found["ImagingStudy"][0]["identifier"][0]["value"] == "urn:oid:1.2"
    assert [secret for secret in SECRETS if secret in json.dumps(content)] == ["P-17", "Registry of Elsewhere"]


def test_a_number_of_nobody_knows_whom_has_no_issuer():
    found = by_type(bundle("0", 1, an_answer(), deployment(), replace(PLACE, patient_issuer="")))
    assert found["Patient"] == [{"resourceType": "Patient", "identifier": [{"value": "P-17"}]}]
    found = by_type(bundle("0", 1, an_answer(), deployment(), replace(PLACE, patient_id="")))
    assert found["Patient"] == [{"resourceType": "Patient"}]


def identifier(**other) -> dict:
    """What the report about a picture is known by."""
    (report,) = by_type(bundle("0123", 1, an_answer(), deployment(**other)))["DiagnosticReport"]
    (own,) = report["identifier"]
    return own


def test_a_report_has_an_identifier_among_those_of_its_model():
    """Which are no codes: the same in every run, another for another model."""
    own = identifier()
    assert own == identifier() and own["value"] == "0123-1"
    assert own["system"].startswith("urn:oid:2.25.") and own["system"] not in SYSTEMS.values()
    assert own["system"] != identifier(model_sha256="cd" * 32)["system"]


def test_without_identifiers_there_is_none():
    content = bundle("0", 1, an_answer(), deployment(), PLACE.without_identifiers(b"key"))
    found = by_type(content)
    assert found["Patient"] == [{"resourceType": "Patient"}] and "ImagingStudy" not in found
    assert not any(secret in json.dumps(content) for secret in (*SECRETS, PLACE.sop_instance))


def test_an_invalid_bundle_is_not_given_out(monkeypatch):
    monkeypatch.setattr(fhir, "_device", lambda _: {"resourceType": "Device", "status": ["no", "status"]})
    with pytest.raises(StudyError, match="not valid FHIR"):
        bundle("0", 1, an_answer(), deployment())
    monkeypatch.setattr(fhir, "_to", lambda _: {"reference": "Patient/1"})
    monkeypatch.setattr(fhir, "_device", lambda _: {"resourceType": "Device"})
    with pytest.raises(StudyError, match="refers to what is not in it"):
        bundle("0", 1, an_answer(), deployment())
