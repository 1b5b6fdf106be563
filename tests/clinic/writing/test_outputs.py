"""What a run leaves: pages, DICOM and FHIR under names without a name, and nothing of the patient that must not be."""

import hashlib
import json

import numpy as np
import pytest
from clinical import NAMING, SECRETS, SIDE, by_brightness, deployment, dicom_file, image_file, maps_of_the_middle
from matplotlib.text import Text
from pydicom import dcmread

from clinic.answering.prediction import predict_files
from clinic.reading.intake import Reader, find_files
from clinic.writing import outputs, pages
from clinic.writing.maps import overlay
from clinic.writing.outputs import Outputs, prepare_folder, shortened
from clinic.writing.sentences import verdict
from clinic.writing.tables import faults, rows, write_tables
from helpers.study import StudyError

DEPLOYED = deployment(silence=-9.0)


def run(source, folder, **wanted):
    """Everything that is wanted about the files of `source`; gives what could not be written."""
    own = Outputs(
        folder, wanted.pop("deployed", DEPLOYED), draw_map=wanted.pop("draw_map", maps_of_the_middle), **wanted
    )
    table, failed, unwritten = [], [], []
    with Reader(own.deployment.wanted(own.preview), key=own.key) as reader:
        for outcome in predict_files(find_files([source]), reader, own.deployment, by_brightness):
            table += rows(outcome, own.deployment)
            failed += faults(outcome)
            unwritten += own.write(outcome)
    write_tables(folder, own.deployment, table, failed)
    return unwritten


def everything(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def source(tmp_path):
    """A DICOM object and a JPEG of a patient who is named wherever a name can stand."""
    folder = tmp_path / "Muster Erika 19640812"
    dicom_file(folder / "P-17 Muster.dcm")
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + b"\0\x01\x01\x0e\0\x02\0\0\0\x0d\0\0\0\x1a\0\0\0\0" + b"Erika Muster\0"
    image_file(folder / "Dr^House Muster.jpg", exif=exif, comment=b"Ward 7")
    return folder


@pytest.mark.parametrize("form", ["png", "pdf"])
def test_no_patient_in_names_tables_or_pages(tmp_path, source, form, monkeypatch):
    drawn, draw = [], pages.draw_page

    def kept(*arguments):
        drawn.append(draw(*arguments))
        return drawn[-1]

    monkeypatch.setattr(pages, "draw_page", kept)
    assert run(source, tmp_path / "out", pages=form) == []
    found = everything(tmp_path / "out")
    assert sum(name.endswith(form) for name in found) == len(drawn) == 2
    for name, data in found.items():
        assert not any(secret.encode() in text for secret in SECRETS for text in (name.encode(), data)), name
    for figure in drawn:  # whose letters are no letters any more in a file
        shown = " ".join(text.get_text() for text in figure.findobj(Text))
        assert "Image " in shown and "melanoma" in shown and not any(secret in shown for secret in SECRETS)


def test_dicom_and_fhir_carry_the_identifiers_of_the_study_alone(tmp_path, source):
    assert run(source, tmp_path / "out", dicom=True, fhir=True) == []
    found = everything(tmp_path / "out")
    assert sorted(name.split("-", 1)[-1] for name in found if name.startswith("dicom")) == ["map-1.dcm", "report.dcm"]
    assert sum(name.startswith("fhir") for name in found) == 2
    for name, data in found.items():
        there = {secret for secret in SECRETS if secret.encode() in data}
        assert there <= set(NAMING), name
        assert bool(there) == (name.startswith("dicom") or (b"P-17" in data and name.startswith("fhir")))
        assert not any(secret in name for secret in SECRETS)


def test_a_bundle_in_short(tmp_path):
    image_file(tmp_path / "in" / "a.png")
    run(tmp_path / "in", tmp_path / "out", fhir=True)
    (path,) = (tmp_path / "out" / "fhir").iterdir()
    *lines, size = shortened(json.loads(path.read_text())).splitlines()
    kinds = [line.split()[0] for line in lines]
    assert kinds.count("Observation") == 7 and {"DiagnosticReport", "RiskAssessment", "Device", "Patient"} < set(kinds)
    assert size.endswith("characters of JSON")


def test_deidentified_results_carry_none(tmp_path, source):
    """Nor do they tell by their names which file they are of."""
    uid = dcmread(source / "P-17 Muster.dcm").StudyInstanceUID
    known = [hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in source.iterdir()]
    (fault,) = run(source, tmp_path / "out", dicom=True, fhir=True, pages="png", deidentify=True)
    assert "does not say that no text" in fault  # a JPEG says nothing of the kind
    found = everything(tmp_path / "out")
    assert sum(name.startswith("pages") for name in found) == sum("map" in name for name in found) == 1
    for name, data in found.items():
        assert not any(secret.encode() in data for secret in (*SECRETS, uid, *known)), name
        assert not any(own in name for own in known)


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        ({"BurnedInAnnotation": None}, "does not say that no text"),
        ({"BurnedInAnnotation": "YES"}, "says that text is burned"),
        ({"RecognizableVisualFeatures": "YES"}, "a person can be recognised"),
    ],
)
def test_without_identifiers_no_pixels_are_shown_that_may_name_somebody(tmp_path, told, fault):
    dicom_file(tmp_path / "in" / "a.dcm", **told)
    page, mapped = run(tmp_path / "in", tmp_path / "out", dicom=True, pages="png", deidentify=True)
    assert fault in page and page.startswith("no page") and fault in mapped and mapped.startswith("no map")
    assert not [name for name in everything(tmp_path / "out") if "map" in name or name.startswith("pages")]


def test_a_header_that_says_nothing_of_text_is_shown_but_vouched_for_by_nobody(tmp_path):
    dicom_file(tmp_path / "in" / "a.dcm", BurnedInAnnotation=None)
    assert run(tmp_path / "in", tmp_path / "out", dicom=True, pages="png") == []
    (path,) = (tmp_path / "out" / "dicom").glob("*-map-1.dcm")
    assert "BurnedInAnnotation" not in dcmread(path)


def test_results_of_one_study_are_in_one_series_each(tmp_path):
    for seed in range(3):
        dicom_file(tmp_path / "in" / f"{seed}.dcm", seed, StudyInstanceUID="1.2.3")
    run(tmp_path / "in", tmp_path / "out", dicom=True)
    made = [dcmread(path) for path in sorted((tmp_path / "out" / "dicom").iterdir())]
    by_kind = {kind: [one for one in made if one.Modality == kind] for kind in ("SR", "OT")}
    for own in by_kind.values():
        assert len({one.SeriesInstanceUID for one in own}) == 1
        assert sorted(one.InstanceNumber for one in own) == [1, 2, 3]
    assert len({one.SOPInstanceUID for one in made}) == 6


def test_text_in_the_pixels_is_not_shown_again(tmp_path):
    dicom_file(tmp_path / "in" / "a.dcm", BurnedInAnnotation="YES")
    unwritten = run(tmp_path / "in", tmp_path / "out", dicom=True, pages="png")
    assert len(unwritten) == 2 and all("burned into the image" in fault for fault in unwritten)
    assert [name for name in everything(tmp_path / "out") if name.startswith(("pages", "dicom/"))] == [
        next(name for name in everything(tmp_path / "out") if name.endswith("report.dcm"))
    ]
    table = json.loads((tmp_path / "out" / "predictions.json").read_text())["predictions"]
    assert "burned into the image" in table[0]["warnings"]


def test_without_a_map_there_is_a_page_all_the_same(tmp_path):
    image_file(tmp_path / "in" / "a.png")
    assert run(tmp_path / "in", tmp_path / "out", pages="png", draw_map=None) == []
    assert Outputs(tmp_path, DEPLOYED, dicom=True).preview == Outputs(tmp_path, DEPLOYED).preview == 0
    assert len(list((tmp_path / "out" / "pages").iterdir())) == 1


def test_where_the_model_is_silent_no_map_is_drawn(tmp_path):
    dicom_file(tmp_path / "in" / "a.dcm")
    run(tmp_path / "in", tmp_path / "out", dicom=True, deployed=deployment(silence=99.0))
    assert [path.name.split("-", 1)[1] for path in (tmp_path / "out" / "dicom").iterdir()] == ["report.dcm"]


def test_a_network_that_has_no_map(tmp_path):
    def without(model, images):
        raise StudyError("no map")

    image_file(tmp_path / "in" / "a.png")
    assert run(tmp_path / "in", tmp_path / "out", pages="png", draw_map=without) == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("keyword", "value"),
    [("PatientBirthDate", "1964-812"), ("PatientID", "P" * 70), ("PatientName", "Muster" * 12)],
)
def test_identifiers_that_dicom_does_not_allow_cost_one_result(tmp_path, keyword, value):
    dicom_file(tmp_path / "in" / "a.dcm", **{keyword: value})
    (fault,) = run(tmp_path / "in", tmp_path / "out", dicom=True, draw_map=None)
    assert "identifiers" in fault and value not in fault
    assert not list(tmp_path.glob("out/dicom/*"))


@pytest.mark.parametrize("silent", [False, True])
def test_a_map_that_must_not_be_shown_is_told_like_a_page(tmp_path, silent):
    """Where the model is silent there would be none in any case."""
    dicom_file(tmp_path / "in" / "a.dcm", BurnedInAnnotation="YES")
    deployed = deployment(silence=99.0 if silent else -9.0)
    told = run(tmp_path / "in", tmp_path / "out", dicom=True, deployed=deployed)
    assert told == ([] if silent else ["no map, since its file says that text is burned into the image"])
    assert [path.name.split("-", 1)[1] for path in (tmp_path / "out" / "dicom").iterdir()] == ["report.dcm"]


def test_the_verdict_in_words(tmp_path):
    image_file(tmp_path / "a.png")
    for silence, words in ((-9.0, "Answer: "), (99.0, "No answer")):
        deployed = deployment(silence=silence)
        with Reader(deployed.wanted()) as reader:
            (outcome,) = predict_files(find_files([tmp_path]), reader, deployed, by_brightness)
        text = verdict(outcome.answers[0], deployed)
        assert text.startswith(words) and ("melan" in text) == ("uncalibrated score" in text) == (silence < 0)


def test_what_cannot_be_written_costs_itself_alone(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", str(tmp_path / "Erika Muster"))

    dicom_file(tmp_path / "in" / "a.dcm")
    monkeypatch.setattr(pages, "write_page", full)
    monkeypatch.setattr(outputs, "laid_over", full)
    unwritten = run(tmp_path / "in", tmp_path / "out", dicom=True, fhir=True, pages="png")
    assert unwritten == ["its map could not be written", "its page could not be written"]
    assert sum(name.startswith(("dicom", "fhir")) for name in everything(tmp_path / "out")) == 2


def test_a_map_is_laid_over_the_image_where_it_is_high():
    preview, cells = np.full((64, 64, 3), 100, np.uint8), np.zeros((SIDE, SIDE), np.float32)
    assert (overlay(preview, cells) == preview).all()
    cells[8:24, 8:24] = 1
    shown = overlay(preview, cells)
    assert (shown[:8] == preview[:8]).all() and (shown[32, 32] != preview[32, 32]).any()


def test_results_go_into_a_folder_of_their_own(tmp_path):
    image_file(tmp_path / "in" / "a.png")
    (tmp_path / "empty").mkdir(mode=0o755)
    for place in (tmp_path / "new" / "out", tmp_path / "empty"):
        folder = prepare_folder(place, [tmp_path / "in"])
        assert folder.stat().st_mode & 0o077 == 0
    for bad, message in (
        (tmp_path / "in" / "out", "lies in input 1"),
        (tmp_path / "in" / ".." / "in" / "out", "lies in input 1"),
        (tmp_path / "in", "not an empty folder"),
        (tmp_path / "in" / "a.png", "not an empty folder"),
    ):
        with pytest.raises(StudyError, match=message) as refused:
            prepare_folder(bad, [tmp_path / "in"])
        assert tmp_path.name not in str(refused.value)
