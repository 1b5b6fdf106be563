"""What a run writes: pages, DICOM and FHIR under names that name nobody, without what must not be shown."""

import hashlib
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from clinical import NAMING, PLACE, SECRETS, SIDE, an_answer, by_brightness, deployment, dicom_file, image_file
from conftest import picture
from matplotlib.text import Text
from pydicom import dcmread

from clinic.answering.answers import UNSURE
from clinic.answering.prediction import Outcome, answer_files
from clinic.reading.files import InputFile, find_files
from clinic.reading.pictures import Picture
from clinic.reading.reader import Reader
from clinic.writing import outputs
from clinic.writing.outputs import Outputs, prepare_folder
from clinic.writing.pages import Page
from clinic.writing.tables import Tables
from helpers.study import StudyError

CLEAR = replace(PLACE, burned_in="NO", recognisable="NO")
PIXELS = np.asarray(picture(5, SIDE))


def outcome(place=CLEAR, reason: str = "") -> Outcome:
    """The outcome for an image of one frame; place: None for a JPEG."""
    image = Picture(PIXELS, np.zeros(9), SIDE, SIDE, preview=PIXELS)
    file = InputFile(1, Path("Muster.dcm"), image="0123", pictures=(image,), place=place and asdict(place))
    return Outcome(file, (an_answer(reason),))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(source: Path, folder: Path, **options) -> list[str]:
    """Read, predict and write everything about the files of a folder; gives what could not be written."""
    deployed, files = deployment(abstention_threshold=-9.0), find_files([source])
    written = Outputs(folder, deployed, dicom=True, fhir=True, **options)
    tables, unwritten = Tables(folder, deployed, files, deidentify=bool(options.get("deidentify"))), []
    with Reader(deployed.image_format(written.preview), key=written.key) as reader:
        for one in answer_files(reader.read(files), deployed, by_brightness):
            tables.add(one)
            unwritten += written.write(one)
    tables.write()
    return unwritten


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A DICOM object and a JPEG of a patient who is named wherever a name can be."""
    folder = tmp_path_factory.mktemp("in") / "Muster Erika 19640812"
    dicom_file(folder / "P-17 Muster.dcm")
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + b"\0\x01\x01\x0e\0\x02\0\0\0\x0d\0\0\0\x1a\0\0\0\0" + b"Erika Muster\0"
    image_file(folder / "Dr^House Muster.jpg", exif=exif, comment=b"Ward 7")
    return folder


def test_results_carry_identifiers_of_filing_and_no_others(tmp_path, source, monkeypatch):
    drawn, draw = [], Page.draw
    monkeypatch.setattr(Page, "draw", lambda page: drawn.append(draw(page)) or drawn[-1])
    assert run(source, tmp_path, pages="pdf") == []
    found = contents(tmp_path)
    kinds = sorted(name.rsplit("-", 1)[-1] for name in found)
    assert kinds == ["1.json", "1.json", "1.pdf", "1.pdf", "predictions.csv", "predictions.json", "report.dcm"]
    for name, data in found.items():
        assert not any(secret in name for secret in SECRETS)
        there = {secret for secret in SECRETS if secret.encode() in data}
        assert there <= {*NAMING, "Dr^House"} and (not there or not name.startswith("pages")), name
    named = 0
    for figure in drawn:  # in a file, its letters are drawn
        shown = " ".join(text.get_text() for text in figure.findobj(Text))
        assert "melanoma" in shown and not any(secret in shown for secret in SECRETS[len(NAMING) :])
        named += "Muster Erika" in shown
    assert named == 1  # the page about the DICOM object


def test_deidentified_results_carry_none_and_do_not_lead_to_their_files(tmp_path, source):
    uid = dcmread(source / "P-17 Muster.dcm").StudyInstanceUID
    names = [hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in source.iterdir()]
    (fault,) = run(source, tmp_path, pages="png", deidentify=True)
    assert "does not say that no text" in fault  # a JPEG cannot say it
    found = contents(tmp_path)
    assert sum(name.startswith("pages") for name in found) == 1
    for name, data in found.items():
        assert not any(secret.encode() in data for secret in (*SECRETS, uid, *names)), name
        assert not any(known in name for known in names)


@pytest.mark.parametrize(
    ("stated", "deidentify", "reason"),
    [
        ({"burned_in": ""}, True, "its file does not say that no text is burned into the image"),
        ({"burned_in": "YES"}, True, "its file says that text is burned into the image"),
        ({"burned_in": "YES"}, False, "its file says that text is burned into the image"),
        ({"recognisable": "YES"}, True, "its file says that a person can be recognised in the image"),
    ],
)
def test_pixels_that_may_name_or_show_a_person_are_not_shown(tmp_path, stated, deidentify, reason):
    written = Outputs(tmp_path, deployment(), pages="png", dicom=True, deidentify=deidentify)
    hidden = replace(CLEAR, **stated)
    assert written.write(outcome(hidden)) == [f"no page, since {reason}"]
    assert list(contents(tmp_path)) == ["dicom/0123-report.dcm"]


def test_reports_of_one_study_share_a_series_and_name_those_of_an_earlier_run(tmp_path):
    Outputs(tmp_path / "old", deployment(), dicom=True).write(outcome())
    written, made = (
        Outputs(tmp_path / "new", deployment(suspicious_from=0.4), dicom=True, previous=tmp_path / "old"),
        [],
    )
    for place in (CLEAR, replace(CLEAR, sop_instance="1.2.3.5")):
        assert written.write(outcome(place)) == []
        made.append(dcmread(tmp_path / "new" / "dicom" / "0123-report.dcm"))
    assert made[0].SeriesInstanceUID == made[1].SeriesInstanceUID and made[0].SOPInstanceUID != made[1].SOPInstanceUID
    former = dcmread(tmp_path / "old" / "dicom" / "0123-report.dcm")
    (named,) = made[0].PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert named.ReferencedSOPInstanceUID == former.SOPInstanceUID


def test_where_the_model_abstains_there_are_a_page_and_a_report(tmp_path):
    """The image is shown where nothing is said about text, and kept for showing only if there are pages."""
    written = Outputs(tmp_path, deployment(), pages="png", dicom=True)
    assert written.write(outcome(replace(CLEAR, burned_in=""), reason=UNSURE)) == []
    assert set(contents(tmp_path)) == {"pages/0123-1.png", "dicom/0123-report.dcm"}
    assert written.preview == outputs.PREVIEW and Outputs(tmp_path, deployment(), dicom=True, fhir=True).preview == 0


def test_identifiers_that_dicom_does_not_allow_cost_the_dicom_results_alone(tmp_path):
    (fault,) = Outputs(tmp_path, deployment(), dicom=True, fhir=True).write(
        outcome(replace(CLEAR, patient_id="P" * 70))
    )
    assert "PatientID is not what DICOM allows" in fault and "PPP" not in fault
    assert list(contents(tmp_path)) == ["fhir/0123-1.json"]


def test_a_result_that_cannot_be_written_does_not_stop_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(Page, "write", lambda *_: {}["Erika Muster"])
    written = Outputs(tmp_path, deployment(), pages="png", dicom=True, fhir=True)
    assert written.write(outcome()) == ["its page could not be written"]
    assert set(contents(tmp_path)) == {"dicom/0123-report.dcm", "fhir/0123-1.json"}


def test_a_file_without_answers_leaves_nothing(tmp_path):
    unread = Outcome(InputFile(1, Path("a.jpg"), fault="the file is empty"))
    assert Outputs(tmp_path, deployment(), pages="png", fhir=True).write(unread) == [] and not contents(tmp_path)


def test_results_go_into_a_new_or_empty_folder_for_its_owner_alone(tmp_path):
    (tmp_path / "empty").mkdir(mode=0o755)
    for place in (tmp_path / "new" / "out", tmp_path / "empty"):
        assert prepare_folder(place, [tmp_path / "in"]).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("in/out", "lies in input 1"),
        ("in/../in/out", "lies in input 1"),
        ("in", "not an empty folder"),
        ("in/a.png", "not an empty folder"),
    ],
)
def test_results_do_not_go_among_images_or_other_files(tmp_path, folder, message):
    image_file(tmp_path / "in" / "a.png")
    with pytest.raises(StudyError, match=message) as refused:
        prepare_folder(tmp_path / folder, [tmp_path / "in"])
    assert tmp_path.name not in str(refused.value)
