"""What a run leaves: pages, DICOM and FHIR under names without a name, and nothing of the patient that must not be."""

import json
import zlib

import numpy as np
import pytest
from clinical import SECRETS, SIDE, by_brightness, deployment, dicom_file, image_file
from pydicom import dcmread

from helpers.clinic.intake import Reader, find_files
from helpers.clinic.maps import overlay
from helpers.clinic.outputs import Outputs, prepare_folder, shortened
from helpers.clinic.pages import verdict
from helpers.clinic.prediction import faults, predict_files, rows, write_tables
from helpers.study import StudyError

DEPLOYED = deployment(silence=-9.0)


def centre(model, images):
    """A map of the middle."""
    maps = np.zeros(images.shape[:3], np.float32)
    maps[:, 12:20, 12:20] = 1
    return maps


def run(source, folder, **wanted):
    """Everything that is wanted about the files of `source`; gives what could not be written."""
    outputs = Outputs(folder, wanted.pop("deployed", DEPLOYED), draw_map=wanted.pop("draw_map", centre), **wanted)
    table, failed, unwritten = [], [], []
    with Reader(outputs.deployment.wanted(outputs.preview)) as reader:
        for outcome in predict_files(find_files([source]), reader, outputs.deployment, by_brightness):
            table += rows(outcome, outputs.deployment)
            failed += faults([outcome])
            unwritten += outputs.write(outcome)
    write_tables(folder, outputs.deployment, table, failed)
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


@pytest.mark.parametrize("pages", ["png", "pdf"])
def test_no_patient_in_names_tables_or_pages(tmp_path, source, pages):
    assert run(source, tmp_path / "out", pages=pages) == []
    found = everything(tmp_path / "out")
    assert sum(name.endswith(pages) for name in found) == 2
    for name, data in found.items():
        streams = decompressed(data) if name.endswith("pdf") else []
        assert bool(streams) == name.endswith("pdf")
        for text in (name.encode(), data, *streams):
            assert not any(secret.encode() in text for secret in SECRETS), name


def decompressed(data: bytes) -> list[bytes]:
    """The streams of a pdf, each between the words `stream` and `endstream`."""
    parts = [part.lstrip(b"\r\n") for part in data.split(b"stream")[1::2]]
    return [zlib.decompressobj().decompress(part) for part in parts if part[:1] == b"x"]


def test_dicom_and_fhir_carry_the_identifiers_of_the_study_alone(tmp_path, source):
    assert run(source, tmp_path / "out", dicom=True, fhir=True) == []
    found = everything(tmp_path / "out")
    assert sorted(name.split("-", 1)[-1] for name in found if name.startswith("dicom")) == ["map-1.dcm", "report.dcm"]
    assert sum(name.startswith("fhir") for name in found) == 2
    for name, data in found.items():
        there = {secret for secret in SECRETS if secret.encode() in data}
        assert there <= set(SECRETS[:4]), name
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
    uid = dcmread(source / "P-17 Muster.dcm").StudyInstanceUID
    assert run(source, tmp_path / "out", dicom=True, fhir=True, pages="png", deidentify=True) == []
    for name, data in everything(tmp_path / "out").items():
        assert not any(secret.encode() in data for secret in (*SECRETS, uid)), name


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
    assert len(unwritten) == 1 and "burned into the image" in unwritten[0]
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


def test_identifiers_that_dicom_does_not_allow_cost_one_result(tmp_path):
    path = dicom_file(tmp_path / "in" / "a.dcm")
    data = path.read_bytes()
    assert data.count(b"19640812") == 1
    path.write_bytes(data.replace(b"19640812", b"1964-812"))
    (fault,) = run(tmp_path / "in", tmp_path / "out", dicom=True, draw_map=None)
    assert "identifiers" in fault and "1964" not in fault
    assert not list(tmp_path.glob("out/dicom/*"))


def test_the_verdict_in_words(tmp_path):
    image_file(tmp_path / "a.png")
    for silence, words in ((-9.0, "Likeliest"), (99.0, "NO ANSWER")):
        deployed = deployment(silence=silence)
        with Reader(deployed.wanted()) as reader:
            (outcome,) = predict_files(find_files([tmp_path]), reader, deployed, by_brightness)
        text = verdict(outcome.answers[0], deployed)
        assert text.startswith(words) and ("melan" in text) == (silence < 0)


def test_a_map_is_laid_over_the_image_where_it_is_high():
    preview, cells = np.full((64, 64, 3), 100, np.uint8), np.zeros((SIDE, SIDE), np.float32)
    assert (overlay(preview, cells) == preview).all()
    cells[8:24, 8:24] = 1
    shown = overlay(preview, cells)
    assert (shown[:8] == preview[:8]).all() and (shown[32, 32] != preview[32, 32]).any()


def test_results_go_into_a_folder_of_their_own(tmp_path):
    image_file(tmp_path / "in" / "a.png")
    folder = prepare_folder(tmp_path / "new" / "out", [tmp_path / "in"])
    assert folder.stat().st_mode & 0o077 == 0
    for bad, message in (
        (tmp_path / "in" / "out", "lies in"),
        (tmp_path / "in" / ".." / "in" / "out", "lies in"),
        (tmp_path / "in", "not an empty folder"),
        (tmp_path / "in" / "a.png", "not an empty folder"),
    ):
        with pytest.raises(StudyError, match=message):
            prepare_folder(bad, [tmp_path / "in"])
