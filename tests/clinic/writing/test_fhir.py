"""Results in FHIR: valid R4, with every reference resolved and no number where the model abstains."""

import datetime
import json
import os
import re
import subprocess
from dataclasses import replace
from functools import cache

import pytest
from clinical import CODES, PLACE, SECRETS, an_answer, deployment
from fhir.resources.R4B.bundle import Bundle

from clinic.answering.answers import UNLIKE
from clinic.writing import fhir
from clinic.writing.codes import ABSTAINS, MALIGNANT, SYSTEMS, coding, diagnosis_code
from clinic.writing.fhir import bundle
from clinic.writing.transactions import Server, transaction
from helpers.data.lesions import HAM10000
from helpers.study import ROOT, StudyError

DEIDENTIFIED = PLACE.without_identifiers(b"key")
SITED = replace(PLACE, region="53120007", laterality="L", accession_number="A|1")
SERVER = Server("urn:oid:1.2.36.1", "http://example.org/orders")


@cache
def content(place=None, reason: str = "", frame: int = 1) -> dict:
    answer = an_answer(reason, warnings=("blurred",))
    return bundle("0123", answer, deployment(), place=place, frame=frame)


def resources(*arguments) -> dict[str, list[dict]]:
    """The resources of the same bundle by their types."""
    found = {}
    for entry in content(*arguments)["entry"]:
        found.setdefault(entry["resource"]["resourceType"], []).append(entry["resource"])
    return found


@pytest.mark.parametrize("place", [None, PLACE, DEIDENTIFIED, SITED], ids=["file", "DICOM", "deidentified", "sited"])
@pytest.mark.parametrize("reason", ["", UNLIKE])
def test_every_resource_is_valid_and_every_reference_resolves(place, reason):
    text = json.dumps(content(place, reason))
    read = Bundle.model_validate_json(text)
    urls = [entry.fullUrl for entry in read.entry]
    assert len(set(urls)) == len(urls) and all(url.startswith("urn:uuid:") for url in urls)
    assert set(re.findall(r'"reference": "([^"]*)"', text)) == set(urls[1:])  # to all but the report
    kinds = ["DiagnosticReport", "RiskAssessment", *["Observation"] * len(CODES), "Patient", "Device", "Media"]
    kinds += ["ImagingStudy"] * (place in (PLACE, SITED)) + ["BodyStructure"] * (place is SITED)
    assert [entry["resource"]["resourceType"] for entry in content(place, reason)["entry"]] == kinds


def test_a_bundle_holds_the_answer_and_its_model():
    found = resources(PLACE, "", 2)
    (report,), (risk,), (device,) = found["DiagnosticReport"], found["RiskAssessment"], found["Device"]
    assert {one["status"] for one in (report, risk, *found["Observation"])} == {"preliminary"}
    assert report["identifier"][0]["value"] == "0123-2" and len(report["result"]) == len(CODES)
    assert "Warning: blurred." in report["conclusion"] and "Not a medical device" in report["conclusion"]
    (prediction,) = risk["prediction"]
    probability = prediction["probabilityRange"]
    assert probability["low"] == probability["high"] and probability["low"]["unit"] == "%"
    assert probability["low"]["value"] == pytest.approx(60)
    assert prediction["qualitativeRisk"]["coding"][0]["code"] == "reached"
    assert prediction["rationale"].startswith(
        "On average, 80 of 100 images called suspicious in the test were malignant."
    )
    assert prediction["outcome"]["coding"] == [coding(MALIGNANT)] and "pre-malignant" in risk["note"][0]["text"]
    digests = [one["valueCode"][0]["text"] for one in device["property"]]
    assert digests == ["ab" * 32, deployment().checksum]
    # RFC 6920: the digest in base64url; that of 32 bytes 0xab repeats `q6ur`.
    assert device["identifier"][0]["value"] == f"ni:///sha-256;{'q6ur' * 10}q6s"


def test_the_code_of_an_observation_names_its_class():
    found = resources()["Observation"]
    codes = [[one["code"] for one in observation["code"]["coding"]] for observation in found]
    assert codes == [[f"prob-{code}", "111012"] for code in CODES]
    assert found[CODES.index("mel")]["valueQuantity"]["value"] == 40


@pytest.mark.parametrize(("modality", "expected"), [("OT", "OT"), ("XC", "XC"), ("", "OT")])
@pytest.mark.parametrize(("frames", "title"), [(1, None), (3, "Frame 2 of 3")])
def test_the_study_has_the_modality_of_the_image_and_names_one_of_several_frames(modality, expected, frames, title):
    (study,) = resources(replace(PLACE, modality=modality, frames=frames), "", 2)["ImagingStudy"]
    (series,) = study["series"]
    assert series["modality"]["code"] == expected and series["instance"][0].get("title") == title
    assert study["identifier"][0]["value"] == "urn:oid:1.2"


def test_where_the_model_abstains_there_is_no_number():
    found = resources(None, UNLIKE)
    assert all("valueQuantity" not in one for one in found["Observation"])
    assert {one["dataAbsentReason"]["text"] for one in found["Observation"]} == {ABSTAINS[UNLIKE].meaning}
    assert set(found["RiskAssessment"][0]["prediction"][0]) == {"outcome"}


def codes_in(content) -> set[tuple[str, str]]:
    """Every code in a resource or a bundle, with its system."""
    if isinstance(content, list):
        return set().union(*map(codes_in, content))
    if not isinstance(content, dict):
        return set()
    found = {(content["system"], content["code"])} if {"system", "code"} <= set(content) else set()
    return found.union(*map(codes_in, content.values()))


@pytest.mark.parametrize("reason", ["", UNLIKE])
def test_no_diagnosis_is_coded(reason):
    """Neither by SNOMED CT nor by a code of the study; only the kind of imaging is coded by SNOMED CT."""
    found = codes_in(content(PLACE, reason))
    assert not found & {(SYSTEMS[code.scheme_designator], code.value) for code in map(diagnosis_code, HAM10000)}
    assert {code for system, code in found if system == SYSTEMS["SCT"]} == {"446078004"}


@pytest.mark.parametrize(
    ("place", "day"),
    [(PLACE, "2024-02-29"), (None, None), (replace(PLACE, acquired=""), None), (DEIDENTIFIED, None)],
    ids=["DICOM", "file", "undated", "deidentified"],
)
def test_observations_are_of_the_day_of_the_image(place, day):
    """The day on which it was taken, not the day of its study or of the run, and no time zone that nobody gave."""
    found = resources(place)
    dated = found["Observation"] + found["DiagnosticReport"]
    assert {one.get("effectiveDateTime") for one in dated} == {day}
    assert {one["issued"][:4] for one in dated} == {str(datetime.datetime.now(datetime.UTC).year)}


@pytest.mark.parametrize(
    ("place", "identifiers"),
    [
        (PLACE, [{"value": "P-17", "assigner": {"display": "Registry of Elsewhere"}}]),
        (replace(PLACE, patient_issuer=""), [{"value": "P-17"}]),
        (replace(PLACE, patient_id=""), None),
        (DEIDENTIFIED, None),
    ],
    ids=["issuer", "no issuer", "no number", "deidentified"],
)
def test_the_patient_has_a_number_and_its_issuer_and_nothing_else(place, identifiers):
    expected = {"resourceType": "Patient"} | ({"identifier": identifiers} if identifiers else {})
    assert resources(place)["Patient"] == [expected]
    text = json.dumps(content(place))
    assert all(secret in json.dumps(expected) for secret in SECRETS if secret in text)
    assert (PLACE.sop_instance in text) == (place is not DEIDENTIFIED)


def test_a_report_has_an_identifier_among_the_reports_of_its_model():
    """It is the same in every run and another for another model; its system is none of codes."""
    another = bundle("0123", an_answer(), deployment(suspicious_from=0.4))["entry"][0]["resource"]
    (first,), (second,) = resources()["DiagnosticReport"][0]["identifier"], another["identifier"]
    assert first["value"] == second["value"] == "0123-1" and first["system"] != second["system"]
    assert first["system"].startswith("urn:oid:2.25.") and first["system"] not in SYSTEMS.values()
    assert [first] == bundle("0123", an_answer(), deployment())["entry"][0]["resource"]["identifier"]


def test_the_report_leads_to_the_risk_the_image_and_the_order():
    found = resources(SITED)
    (report,), (media,), (risk,) = found["DiagnosticReport"], found["Media"], found["RiskAssessment"]
    urls = {entry["fullUrl"]: entry["resource"] for entry in content(SITED)["entry"]}
    (leads,) = report["extension"]
    assert urls[leads["valueReference"]["reference"]] is risk and leads["url"].endswith("/diagnosticReport-risk")
    assert urls[report["media"][0]["link"]["reference"]] is media and media["content"]["url"] == "urn:oid:1.2.3.4"
    assert report["basedOn"][0]["identifier"]["value"] == "A|1" and "basedOn" not in resources()["DiagnosticReport"][0]
    assert {one["system"] for one in report["code"]["coding"]} == {SYSTEMS["SCT"], "http://loinc.org"}
    assert not any("meta" in one for one in urls.values())


def test_every_resource_but_the_patient_says_in_words_what_it_is():
    for kind, found in resources(replace(SITED, patient_id="<P>")).items():
        for one in found:
            assert ("text" in one) == (kind != "Patient"), kind
            assert "<P>" not in one.get("text", {}).get("div", "")
    assert "melanoma: 40.0 %" in resources()["Observation"][CODES.index("mel")]["text"]["div"]


def test_an_observation_has_the_region_and_the_side_of_its_image():
    (site,) = resources(SITED)["BodyStructure"]
    assert site["location"]["coding"][0]["code"] == "53120007"
    assert site["locationQualifier"][0]["coding"][0]["display"] == "Left"
    for one in resources(SITED)["Observation"]:
        assert one["bodySite"]["coding"][0]["code"] == "53120007" and one["bodySite"]["extension"]


def test_a_transaction_finds_patient_and_order_by_their_numbers_and_can_be_sent_twice():
    sent = transaction(content(SITED), SITED, SERVER)
    again = transaction(bundle("0123", an_answer(), deployment(), place=SITED), SITED, SERVER)
    assert [one["request"] for one in sent["entry"]] == [one["request"] for one in again["entry"]]
    kinds = {one["resource"]["resourceType"]: one["request"] for one in sent["entry"]}
    assert sent["type"] == "transaction" and "Patient" not in kinds
    assert {kind for kind, one in kinds.items() if one["method"] == "POST"} == {"Device", "ImagingStudy"}
    assert all("ifNoneExist" in one for one in kinds.values() if one["method"] == "POST")
    text, report = json.dumps(sent), sent["entry"][0]["resource"]
    urls = {entry["fullUrl"] for entry in sent["entry"]}
    outside = set(re.findall(r'"reference": "([^"]*)"', text)) - urls
    assert outside == {
        "Patient?identifier=urn%3Aoid%3A1.2.36.1|P-17",
        "ServiceRequest?identifier=http%3A%2F%2Fexample.org%2Forders|A%7C1",
    }
    assert report["subject"]["reference"].startswith("Patient?") and len({*map(str, kinds.values())}) == len(kinds)


@pytest.mark.parametrize("place", [DEIDENTIFIED, replace(PLACE, patient_id=""), None])
def test_without_a_patient_there_is_no_transaction(place):
    with pytest.raises(StudyError, match="names no patient"):
        transaction(content(place), place, SERVER)


VALIDATE = """
const {Fhir} = require("fhir/fhir"), bundles = JSON.parse(require("fs").readFileSync(0));
const faults = (one) => new Fhir().validate(one).messages.filter((found) => found.severity === "error");
console.log(JSON.stringify(bundles.flatMap(faults).map((found) => found.message)));
"""


@pytest.mark.needs("node", "build/node_modules/fhir")  # npm install --prefix build fhir@4.12.0
def test_bundles_have_the_codes_that_hl7_requires():
    """By HL7's own sets of values: they accept each bundle, and miss each status that is none."""
    bundles = [content(place, reason) for place in (None, DEIDENTIFIED, SITED) for reason in ("", UNLIKE)]
    bundles.append(transaction(bundles[-1], SITED, SERVER))
    right, modules = json.dumps(bundles), {"NODE_PATH": str(ROOT / "build" / "node_modules")}
    for text, faults in ((right, 0), (right.replace('"preliminary"', '"wrong"'), right.count('"preliminary"'))):
        words = {"input": text, "env": os.environ | modules, "capture_output": True, "text": True, "check": True}
        found = json.loads(subprocess.run(["node", "-e", VALIDATE], **words).stdout)
        assert found == ['Code "wrong" not found in value set'] * faults


@pytest.mark.needs("fhirkit")
@pytest.mark.parametrize("place", [None, PLACE, DEIDENTIFIED, SITED], ids=["file", "DICOM", "deidentified", "sited"])
@pytest.mark.parametrize("reason", ["", UNLIKE])
def test_bundles_fit_the_structure_definitions(place, reason):
    """Those of R4 itself, from another package than the one that the program checks them with."""
    import fhirkit

    bundles = [content(place, reason)]
    if place in (PLACE, SITED):
        bundles.append(transaction(bundles[0], place, SERVER))
    for one in bundles:
        assert not [*map(str, fhirkit.validate(one))]
    assert fhirkit.validate(bundles[0] | {"timestamp": "today"}) and fhirkit.validate(bundles[0] | {"types": "x"})


def test_an_invalid_bundle_is_refused(monkeypatch):
    monkeypatch.setattr(fhir, "_device", lambda _: {"resourceType": "Device", "status": ["no", "status"]})
    with pytest.raises(StudyError, match="not valid FHIR"):
        bundle("0", an_answer(), deployment())
