"""Results in DICOM: valid, in the study of their image, and with no more about the patient than filing needs."""

import subprocess
from dataclasses import replace

import numpy as np
import pytest
from clinical import CODES, NAMING, PLACE, SECRETS, SIDE, an_answer, deployment, secret_object
from conftest import picture
from pydicom import config, dcmread

from clinic.answering.answers import UNLIKE, UNSURE
from clinic.example import as_bytes, dermoscopic_object
from clinic.reading.dicom import place_of, read_object
from clinic.reading.pictures import ImageFormat, Unreadable
from clinic.reading.place import NAMED
from clinic.writing.codes import SCHEME, SCHEME_UID, SYSTEMS, diagnosis_code
from clinic.writing.datasets import save
from clinic.writing.structured import outline, report
from helpers.data.lesions import HAM10000
from helpers.study import StudyError

PIXELS = np.asarray(picture(5, 48))
SOURCE = secret_object(PIXELS)
needs_dciodvfy = pytest.mark.needs("dciodvfy")  # Debian: dicom3tools


def make_report(place=PLACE, *answers):
    return report(place, answers or [an_answer()], deployment())


@pytest.fixture(scope="module")
def document():
    """The report about PLACE with the usual answer."""
    return make_report()


def errors(image, folder) -> list[str]:
    """The errors that dciodvfy finds in an object; it only warns of a coding scheme that it does not know."""
    (folder / "object.dcm").write_bytes(as_bytes(image))
    done = subprocess.run(["dciodvfy", folder / "object.dcm"], capture_output=True, text=True, timeout=60)
    assert done.stdout or done.stderr
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]


def groups(document) -> list:
    """The measurement groups of a report."""
    measurements = [one for one in document.ContentSequence if one.ConceptNameCodeSequence[0].CodeValue == "126010"]
    return list(measurements[0].ContentSequence)


def items(group) -> dict[str, list]:
    """The values in a group, as numbers, texts or codes, by the meanings of their names."""
    found = {}
    for item in group.ContentSequence:
        if "ConceptNameCodeSequence" in item:
            value = item.ConceptCodeSequence[0].CodeValue if "ConceptCodeSequence" in item else item.get("TextValue")
            if "MeasuredValueSequence" in item:
                value = float(item.MeasuredValueSequence[0].NumericValue)
            found.setdefault(item.ConceptNameCodeSequence[0].CodeMeaning, []).append(value)
    return found


@needs_dciodvfy
@pytest.mark.parametrize("jpeg", [False, True])
def test_the_example_is_valid(tmp_path, jpeg):
    example = dermoscopic_object(PIXELS, jpeg)
    assert errors(example, tmp_path) == [] and as_bytes(example) == as_bytes(dermoscopic_object(PIXELS, jpeg))


OF_THE_PATIENT = ("patient_id", "patient_issuer", "patient_name", "birth_date", "sex")
PLACES = {
    "usual": {},
    "frames": {"frames": 2, "sop_class": "1.2.840.10008.5.1.4.1.1.7.4"},
    "capture": {"sop_class": "1.2.840.10008.5.1.4.1.1.7"},
    "empty": dict.fromkeys(OF_THE_PATIENT, ""),
    "sited": {"region": "53120007", "laterality": "B"},
}


@needs_dciodvfy
@pytest.mark.parametrize("kind", [*PLACES, "deidentified"])
def test_results_are_valid(tmp_path, kind):
    place = replace(place_of(SOURCE), **PLACES.get(kind, {}))
    place = place.without_identifiers(b"key") if kind == "deidentified" else place
    answers = [an_answer(), an_answer(UNSURE)]
    assert errors(make_report(place, *answers[: place.frames]), tmp_path) == []
    assert errors(make_report(place, *answers[-place.frames :]), tmp_path) == []


def test_a_report_holds_the_answer(document):
    malignancy, *classes = map(items, groups(document))
    assert malignancy["Calibrated probability of the malignant classes"] == [60] and len(classes) == len(CODES)
    assert malignancy["Probability of the malignant classes at the operating point"] == ["reached"]
    melanoma = classes[CODES.index("mel")]
    assert melanoma["Calibrated probability of melanoma"] == [40]
    assert melanoma["Candidate diagnosis, not a finding"] == ["93655004"]
    assert melanoma["Algorithm Name"] == ["MobileNet"] and melanoma["Algorithm Version"] == ["0123456789ab"]
    checksum, calibration, malignant, _ = melanoma["Algorithm Parameters"]
    assert (
        "ab" * 32 in checksum
        and deployment().checksum in checksum
        and "from a probability of malignancy of 30 % on" in calibration
        and "pre-malignant" in malignant
    )
    assert (document.PreliminaryFlag, document.VerificationFlag) == ("PRELIMINARY", "UNVERIFIED")
    assert document.ContentQualification == "RESEARCH"


@pytest.mark.parametrize(("laterality", "side"), [("L", ["7771000"]), ("", [])])
def test_each_group_has_the_region_and_the_side_of_its_image(laterality, side):
    """In the words of DICOM's tables, since those of the image could be anything."""
    made = make_report(replace(PLACE, region="53120007", laterality=laterality))
    for group in groups(made):
        (site,) = [item for item in group.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "363698007"]
        assert site.ConceptCodeSequence[0].CodeMeaning == "Upper limb structure (body structure)"
        assert [one.ConceptCodeSequence[0].CodeValue for one in site.get("ContentSequence", [])] == side
    assert all("Finding Site" not in items(group) for group in groups(make_report(replace(PLACE, region="1234567"))))


@pytest.mark.parametrize("reason", [UNLIKE, UNSURE])
def test_where_the_model_abstains_there_is_no_number(reason):
    (group,) = map(items, groups(make_report(PLACE, an_answer(reason))))
    assert group["Whether the model answers"] == [reason] and ("Finding" in group) == (reason == UNSURE)
    assert not [name for name in group if "robability" in name or "Certainty" in name or "Candidate" in name]


def test_no_group_by_itself_states_a_diagnosis(document):
    """A group may be read without the others: its finding is a lesion, and a class is only named as a candidate."""
    diagnoses = {diagnosis_code(one).value for one in HAM10000}
    for group in map(items, groups(document)):
        assert group.pop("Finding") == ["95324001"]  # skin lesion
        group.pop("Candidate diagnosis, not a finding", None)
        assert not diagnoses & {value for values in group.values() for value in values}


def test_a_report_as_an_outline(document):
    lines = [line.strip() for line in outline(document)]
    assert "Imaging Measurements" in lines and "Calibrated probability of melanoma: 40.0 %" in lines
    assert "Candidate diagnosis, not a finding: Malignant melanoma of skin (SCT 93655004)" in lines
    assert lines.count("Measurement Group") == lines.count("Finding: Skin lesion (SCT 95324001)") == 1 + len(CODES)


def test_a_report_refers_to_its_image_frame_by_frame():
    document = make_report(replace(PLACE, frames=2), an_answer(), an_answer(UNSURE))
    images = [item for group in groups(document) for item in group.ContentSequence if item.ValueType == "IMAGE"]
    referred = [image.ReferencedSOPSequence[0] for image in images]
    assert {one.ReferencedSOPInstanceUID for one in referred} == {PLACE.sop_instance}
    assert [one.ReferencedFrameNumber for one in referred] == [1] * (1 + len(CODES)) + [2]


def test_the_same_report_has_the_same_uids_and_another_names_its_predecessor():
    again, other = make_report(), report(PLACE, [an_answer()], deployment(suspicious_from=0.4), former=make_report())
    for name in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert again[name].value == make_report()[name].value != other[name].value
    assert report(PLACE, [an_answer()], deployment(), options="deidentified").SOPInstanceUID != again.SOPInstanceUID
    (predecessor,) = other.PredecessorDocumentsSequence
    named = predecessor.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert named.ReferencedSOPInstanceUID == again.SOPInstanceUID and "PredecessorDocumentsSequence" not in again


def test_a_report_in_a_file_keeps_all_alphabets_and_the_identifier_of_the_coding_scheme(tmp_path):
    """FHIR uses the same identifier."""
    name = "Müller^Jürgen=山田^太郎"
    save(make_report(replace(PLACE, patient_name=name)), tmp_path / "report.dcm")
    read = dcmread(tmp_path / "report.dcm")
    schemes = {one.CodingSchemeDesignator: one.CodingSchemeUID for one in read.CodingSchemeIdentificationSequence}
    assert read.PatientName == name and schemes == {SCHEME: SCHEME_UID}
    assert SYSTEMS[SCHEME] == f"urn:oid:{SCHEME_UID}"


def test_results_are_in_the_study_and_take_over_nothing_else():
    made = make_report(place_of(SOURCE))
    assert made.StudyInstanceUID == SOURCE.StudyInstanceUID and made.SeriesInstanceUID != SOURCE.SeriesInstanceUID
    assert made.SOPInstanceUID != SOURCE.SOPInstanceUID and made.ReferringPhysicianName == "Dr^House"
    kept = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate")
    assert all(made[name].value == SOURCE[name].value for name in (*kept, "AccessionNumber"))
    data = as_bytes(made)
    assert not any(secret.encode() in data for secret in SECRETS[len(NAMING) :])
    with pytest.raises(Unreadable, match="a result of this program"):  # if it comes back, it is not predicted
        read_object(data, ImageFormat(SIDE))


def test_deidentified_results_have_no_identifiers():
    place = place_of(SOURCE).without_identifiers(b"key")
    made = make_report(place)
    assert made.PatientIdentityRemoved == "YES" and made.LongitudinalTemporalInformationModified == "REMOVED"
    assert "not taken over" in made.DeidentificationMethod and "DeidentificationMethodCodeSequence" not in made
    uids, data = [SOURCE.StudyInstanceUID, SOURCE.SeriesInstanceUID, SOURCE.SOPInstanceUID], as_bytes(made)
    assert not any(secret.encode() in data for secret in (*SECRETS, *uids))
    assert made.StudyInstanceUID == place.study


@pytest.mark.parametrize(
    ("name", "value"),
    [("patient_id", "7" * 70), ("patient_issuer", "R" * 70), ("patient_name", "M" * 70), ("birth_date", "yesterday")],
)
def test_identifiers_that_dicom_does_not_allow_are_refused(name, value):
    with pytest.raises(StudyError, match=f"{NAMED[name]} is not what DICOM allows") as refused:
        make_report(replace(PLACE, **{name: value}))
    assert value not in str(refused.value) and config.settings.reading_validation_mode == config.WARN


def test_optional_identifiers_that_are_missing_or_not_allowed_are_left_out():
    optional = {"sex": "female", "study_time": "99", "study_id": "7" * 17, "accession_number": "A" * 17}
    made = make_report(replace(PLACE, patient_issuer="", **optional))
    assert "IssuerOfPatientID" not in made and made.PatientID == "P-17"
    for keyword in ("PatientSex", "StudyTime", "StudyID", "AccessionNumber"):
        assert made[keyword].value in ("", None)
