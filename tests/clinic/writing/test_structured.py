"""Results in DICOM: valid, in the study of the image, and with nothing of the patient that filing does not need."""

import subprocess
from dataclasses import replace

import numpy as np
import pytest
from clinical import CODES, NAMING, PLACE, SECRETS, SIDE, an_answer, deployment, secret_object
from conftest import picture
from pydicom import config, dcmread

from clinic.example import as_bytes, dermoscopic_object
from clinic.reading.dicom import place_of, read_object
from clinic.reading.pictures import Unreadable, Wanted
from clinic.writing.codes import OWN_OID, SCHEME, SNOMED, SYSTEMS, concept, probability_of
from clinic.writing.structured import Filed, map_image, outline, report
from helpers.data.lesions import BENIGN_OR_MALIGNANT, HAM10000, ISIC2019
from helpers.study import StudyError

PIXELS = np.asarray(picture(5, 48))
FILED = Filed("1.2.99", 3)
OF_THE_PATIENT = ("patient_id", "patient_issuer", "patient_name", "birth_date", "sex")
needs_dciodvfy = pytest.mark.needs("dciodvfy")  # Debian: dicom3tools


def errors(image, folder) -> list[str]:
    """What dciodvfy holds against an object; its own scheme of codes is unknown to it, which is but a warning."""
    (folder / "object.dcm").write_bytes(as_bytes(image))
    done = subprocess.run(["dciodvfy", folder / "object.dcm"], capture_output=True, text=True, timeout=60)
    assert done.stdout or done.stderr
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]


def groups(document) -> list:
    """The measurement groups of a report."""
    (measurements,) = (
        item for item in document.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "126010"
    )
    return list(measurements.ContentSequence)


def said(group) -> dict[str, list]:
    """What a group says, by the meaning of each item's name."""
    found = {}
    for item in group.ContentSequence:
        value = next((getattr(item, name) for name in ("TextValue", "ConceptCodeSequence") if name in item), None)
        if "MeasuredValueSequence" in item:
            value = float(item.MeasuredValueSequence[0].NumericValue)
        name = item.ConceptNameCodeSequence[0].CodeMeaning if "ConceptNameCodeSequence" in item else item.ValueType
        found.setdefault(name, []).append(value if value is not None else item)
    return found


@needs_dciodvfy
@pytest.mark.parametrize("jpeg", [False, True])
def test_the_example_is_valid(tmp_path, jpeg):
    assert errors(dermoscopic_object(PIXELS, jpeg), tmp_path) == []


@needs_dciodvfy
@pytest.mark.parametrize("kind", ["one", "silent", "frames", "anonymous", "capture", "empty", "burned in"])
def test_a_report_is_valid(tmp_path, kind):
    place = place_of(secret_object(PIXELS))
    answers = [an_answer(silent=kind == "silent")]
    if kind == "frames":
        several = {"frames": 2, "sop_class": "1.2.840.10008.5.1.4.1.1.7.4"}
        place, answers = type(place)(**vars(place) | several), answers * 2
    if kind == "anonymous":
        place = place.without_identifiers(b"key")
    if kind == "burned in":
        place = type(place)(**vars(place) | {"burned_in": "", "recognisable": "YES"})
    if kind == "capture":
        place = type(place)(**vars(place) | {"sop_class": "1.2.840.10008.5.1.4.1.1.7"})
    if kind == "empty":
        place = type(place)(**vars(place) | dict.fromkeys(OF_THE_PATIENT, ""))
    assert errors(report(place, answers, deployment(), FILED), tmp_path) == []
    assert errors(map_image(place, PIXELS, deployment(), FILED), tmp_path) == []


@needs_dciodvfy
def test_the_map_of_a_lossy_image_is_valid(tmp_path):
    place = place_of(dermoscopic_object(PIXELS, jpeg=True))
    image = map_image(place, np.zeros((33, 33, 3), np.uint8), deployment(), FILED)
    assert image.LossyImageCompression == "01" and errors(image, tmp_path) == []


def test_a_map_carries_what_maps_are_worth():
    told = map_image(PLACE, PIXELS, deployment(), FILED).DerivationDescription
    assert told.startswith("Grad-CAM") and deployment().map_told() in told
    figure = {"value": 0.1, "low": -0.1, "high": 0.2, "images": 42}
    wordy = deployment(maps={f"figure {n}": figure for n in range(40)})
    assert len(wordy.map_told()) > 1024 == len(map_image(PLACE, PIXELS, wordy, FILED).DerivationDescription)


def test_a_report_says_what_the_model_says():
    document = report(PLACE, [an_answer()], deployment(), FILED)
    malignancy, *classes = map(said, groups(document))
    assert malignancy["Calibrated probability of the malignant classes"] == [60.0] and len(classes) == len(CODES)
    assert malignancy["Malignancy score at the operating point"][0][0].CodeValue == "reached"
    melanoma = classes[CODES.index("mel")]
    assert melanoma["Calibrated probability of melanoma"] == [40.0]
    (candidate,) = melanoma["Candidate diagnosis, not a finding"][0]
    assert (candidate.CodeValue, candidate.CodingSchemeDesignator) == ("93655004", "SCT")
    assert melanoma["Algorithm Name"] == ["MobileNet"] and melanoma["Algorithm Version"] == ["0123456789ab"]
    parameters = melanoma["Algorithm Parameters"]
    assert f"SHA-256 {'ab' * 32}" in parameters and any("before calibration" in one for one in parameters)
    assert any("pre-malignant" in one for one in parameters)
    assert (document.PreliminaryFlag, document.VerificationFlag) == ("PRELIMINARY", "UNVERIFIED")
    assert document.ContentQualification == "RESEARCH"


@pytest.mark.parametrize("silent", [False, True])
def test_no_group_says_by_itself_that_there_is_a_diagnosis(silent):
    """A group may be read without the others: what it finds is a lesion, and a class is named as a candidate alone."""
    diagnoses = {(own.scheme, own.value) for own in map(concept, HAM10000)}
    for group in groups(report(PLACE, [an_answer(silent)], deployment(), FILED)):
        codes = {
            item.ConceptNameCodeSequence[0].CodeValue: item.ConceptCodeSequence[0]
            for item in group.ContentSequence
            if "ConceptCodeSequence" in item
        }
        assert codes["121071"].CodeValue == "95324001"  # finding: skin lesion
        codes.pop("candidate", None)
        assert not {(one.CodingSchemeDesignator, one.CodeValue) for one in codes.values()} & diagnoses


def written(document, folder):
    """A report as it is read again from its file."""
    (folder / "report.dcm").write_bytes(as_bytes(document))
    return dcmread(folder / "report.dcm")


def test_the_scheme_of_the_own_codes_has_its_identifier_in_the_file(tmp_path):
    """The one that FHIR knows it by."""
    schemes = written(report(PLACE, [an_answer()], deployment(), FILED), tmp_path).CodingSchemeIdentificationSequence
    (own,) = (one for one in schemes if one.CodingSchemeDesignator == SCHEME)
    assert own.CodingSchemeUID == OWN_OID and SYSTEMS[SCHEME] == f"urn:oid:{OWN_OID}"


def test_a_report_in_short():
    lines = outline(report(PLACE, [an_answer()], deployment(), FILED))
    assert "Imaging Measurements" in lines
    stripped = [line.strip() for line in lines]
    assert "Candidate diagnosis, not a finding: Malignant melanoma of skin (SCT 93655004)" in stripped
    assert "Calibrated probability of melanoma: 40.0 %" in stripped
    groups_and_findings = stripped.count("Measurement Group"), stripped.count("Finding: Skin lesion (SCT 95324001)")
    assert groups_and_findings == (1 + len(CODES),) * 2


def test_a_report_names_its_image_frame_by_frame():
    place = type(PLACE)(**vars(PLACE) | {"frames": 2})
    document = report(place, [an_answer(), an_answer(silent=True)], deployment(), FILED)
    named = [
        item.ReferencedSOPSequence[0]
        for group in groups(document)
        for item in group.ContentSequence
        if item.ValueType == "IMAGE"
    ]
    assert {one.ReferencedSOPInstanceUID for one in named} == {PLACE.sop_instance}
    assert [one.ReferencedFrameNumber for one in named] == [1] * (1 + len(CODES)) + [2]


def test_where_the_model_is_silent_no_number_is_told():
    (group,) = map(said, groups(report(PLACE, [an_answer(silent=True)], deployment(), FILED)))
    assert group["Whether the model answers"][0][0].CodeValue == "silent"
    assert not [name for name in group if "robability" in name or "Certainty" in name]


@pytest.mark.parametrize("make", ["report", "map"])
def test_results_lie_in_the_study_and_hold_nothing_else_of_it(make):
    source = secret_object(PIXELS)
    place = place_of(source)
    if make == "report":
        made = report(place, [an_answer()], deployment(), FILED)
    else:
        made = map_image(place, PIXELS, deployment(), FILED)
    assert (made.StudyInstanceUID, made.SeriesInstanceUID) == (source.StudyInstanceUID, "1.2.99")
    assert made.SOPInstanceUID != source.SOPInstanceUID and made.InstanceNumber == 3
    for name in ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate"):
        assert str(getattr(made, name)) == str(getattr(source, name))
    assert made.AccessionNumber == source.AccessionNumber
    assert not any(secret.encode() in as_bytes(made) for secret in SECRETS[len(NAMING) :])


def test_without_an_issuer_none_is_named():
    place = replace(PLACE, patient_issuer="")
    for made in (report(place, [an_answer()], deployment(), FILED), map_image(place, PIXELS, deployment(), FILED)):
        assert "IssuerOfPatientID" not in made and made.PatientID == "P-17"


def test_without_identifiers_there_is_none():
    source = secret_object(PIXELS)
    place = place_of(source).without_identifiers(b"key")
    made = report(place, [an_answer()], deployment(), FILED), map_image(place, PIXELS, deployment(), FILED)
    uids = [source.StudyInstanceUID, source.SeriesInstanceUID, source.SOPInstanceUID]
    for one in made:
        assert one.PatientIdentityRemoved == "YES" and one.LongitudinalTemporalInformationModified == "REMOVED"
        assert "not taken over" in one.DeidentificationMethod and "DeidentificationMethodCodeSequence" not in one
        assert not any(secret.encode() in as_bytes(one) for secret in (*SECRETS, *uids))
    assert made[0].StudyInstanceUID == made[1].StudyInstanceUID


def test_letters_of_all_alphabets(tmp_path):
    place = type(PLACE)(**vars(PLACE) | {"patient_name": "Müller^Jürgen=山田^太郎"})
    read = written(report(place, [an_answer()], deployment(), FILED), tmp_path)
    assert read.PatientName == "Müller^Jürgen=山田^太郎"


def test_the_pixels_of_a_map():
    image = map_image(PLACE, PIXELS, deployment(), FILED)
    assert (image.pixel_array == PIXELS).all()
    (source,) = image.SourceImageSequence
    assert source.ReferencedSOPInstanceUID == PLACE.sop_instance and "ReferencedFrameNumber" not in source


@pytest.mark.parametrize("told", ["NO", "YES", ""])
def test_a_map_says_of_its_pixels_what_its_source_says_and_no_more(tmp_path, told):
    source = secret_object(PIXELS, BurnedInAnnotation=told, RecognizableVisualFeatures=told)
    for place in (place_of(source), place_of(source).without_identifiers(b"key")):
        image = map_image(place, PIXELS, deployment(), FILED)
        assert image.get("BurnedInAnnotation", "") == ("NO" if told == "NO" else "")
        assert image.get("RecognizableVisualFeatures", "") == told


def test_a_result_that_comes_back_is_not_predicted():
    made = map_image(PLACE, PIXELS, deployment(), FILED), report(PLACE, [an_answer()], deployment(), FILED)
    for one in made:
        with pytest.raises(Unreadable, match="a result of this program"):
            read_object(as_bytes(one), Wanted(SIDE))


LONG = {"patient_id": "7" * 70, "patient_issuer": "R" * 70, "patient_name": "M" * 70, "birth_date": "yesterday"}


@pytest.mark.parametrize("name", LONG)
def test_a_place_that_cannot_be_written(name):
    place = replace(PLACE, **{name: LONG[name]})
    for make in (
        lambda: report(place, [an_answer()], deployment(), FILED),
        lambda: map_image(place, PIXELS, deployment(), FILED),
    ):
        with pytest.raises(StudyError, match="identifiers") as refused:
            make()
        assert LONG[name] not in str(refused.value)
    assert config.settings.reading_validation_mode == config.WARN


@pytest.mark.parametrize(
    ("name", "keyword", "value"),
    [
        ("sex", "PatientSex", "female"),
        ("study_time", "StudyTime", "99"),
        ("study_id", "StudyID", "7" * 17),
        ("accession_number", "AccessionNumber", "A" * 17),
    ],
)
def test_what_filing_does_not_need_is_left_out_if_it_is_not_allowed(name, keyword, value):
    place = replace(PLACE, **{name: value})
    for made in (report(place, [an_answer()], deployment(), FILED), map_image(place, PIXELS, deployment(), FILED)):
        assert made[keyword].value in ("", None) and made.PatientID == "P-17"


def verhoeff(number: str) -> bool:
    """Whether the last digit is the check digit of Verhoeff (1969), as that of every SNOMED CT identifier is."""
    turn = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)

    def combine(a: int, b: int) -> int:  # in the dihedral group of the pentagon
        return (a + (b if a < 5 else -b)) % 5 + 5 * ((a < 5) != (b < 5))

    check = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit)
        for _ in range(place % 8):
            value = turn[value]
        check = combine(check, value)
    return check == 0


def test_codes_are_identifiers_and_each_class_has_one():
    assert all(verhoeff(code) for code, _ in SNOMED.values()) and not verhoeff("93655005")
    for classes in (HAM10000, ISIC2019, BENIGN_OR_MALIGNANT):
        found = [concept(one) for one in classes]
        assert len({one.value for one in found}) == len(classes)
        found += map(probability_of, classes)
        assert len({one.value for one in found}) == 2 * len(classes)
        assert all(one.scheme in SYSTEMS and len(one.value) <= 16 and len(one.meaning) <= 64 for one in found)
