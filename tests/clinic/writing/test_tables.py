"""The tables of a run: their columns, and what stands in them."""

import json

import numpy as np
import pandas as pd
import pytest
from clinical import CODES, by_brightness, deployment, dicom_file, grey_image
from pydicom import dcmread

from clinic.answering.prediction import answer_files
from clinic.reading.files import find_files
from clinic.reading.reader import Reader
from clinic.writing.tables import Tables, answer_rows, as_text, write_tables

DEPLOYED = deployment()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A dark, a bright and a grey image, and a broken file."""
    folder = tmp_path_factory.mktemp("Erika")
    (folder / "sub").mkdir()
    for name, level in (("=Muster", 20), ("b", 235), ("sub/c", 128)):
        grey_image(level).save(folder / f"{name}.png")
    (folder / "sub" / "d.png").write_bytes(b"")
    return find_files([folder])


@pytest.fixture(scope="module")
def outcomes(files):
    with Reader(DEPLOYED.image_format()) as reader:
        return list(answer_files(reader.read(files), DEPLOYED, by_brightness))


def read_written(folder, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.csv")


def test_rows_of_a_dark_a_bright_and_a_grey_image(outcomes):
    rows = [row for outcome in outcomes for row in answer_rows(outcome, DEPLOYED)]
    assert [row["answer"] for row in rows] == ["mel", "nv", "no answer"]
    assert [row["suspicious"] for row in rows] == ["yes", "no", "no answer"]
    assert [row["reason"] for row in rows] == ["", "", "unsure"]
    assert {rows[2][name] for name in ("malignancy", "p_mel", "confidence")} == {None}
    assert np.allclose([sum(row[f"p_{code}"] for code in CODES) for row in rows[:2]], 1, atol=1e-5)


def test_tables_hold_every_answer_and_fault(files, outcomes, tmp_path):
    tables = Tables(tmp_path, DEPLOYED, files, "fhir")
    for outcome in outcomes:
        tables.add(outcome)
    tables.write()
    content, table = json.loads((tmp_path / "predictions.json").read_text()), read_written(tmp_path, "predictions")
    assert list(table["path"]) == ["'=Muster.png", "b.png", "sub/c.png"] and set(table["options"]) == {"fhir"}
    assert set(table["deployment"]) == {DEPLOYED.checksum} == {content["deployment"]} and table["time"].notna().all()
    assert [row["path"] for row in content["predictions"]] == ["=Muster.png", "b.png", "sub/c.png"]
    assert [(row["file"], row["path"], row["fault"]) for row in content["failed"]] == [
        (4, "sub/d.png", "the file is empty")
    ]
    assert content["model"]["model_sha256"] == "ab" * 32 and "Not a medical device" in content["disclaimer"]
    assert content["abstention"]["on_test"] == DEPLOYED.abstention


def test_results_of_a_dicom_object_can_be_joined(tmp_path):
    dicom_file(tmp_path / "a.dcm", AccessionNumber="+A1")
    with Reader(DEPLOYED.image_format()) as reader:
        (outcome,) = answer_files(reader.read(find_files([tmp_path])), DEPLOYED, by_brightness)
    write_tables(tmp_path, DEPLOYED, answer_rows(outcome, DEPLOYED), failed=[])
    (row,) = read_written(tmp_path, "predictions").to_dict("records")
    header = dcmread(tmp_path / "a.dcm")
    assert row["sop_instance"] == header.SOPInstanceUID and row["accession_number"] == "'+A1"
    assert (row["series"], row["study"]) == (header.SeriesInstanceUID, header.StudyInstanceUID)
    (hidden,) = answer_rows(outcome, DEPLOYED, hide=True)
    assert not {"path", "time", "sop_instance", "series", "study", "accession_number"} & set(hidden)
    numbers = [hidden[name] for name in ("p_mel", "malignancy", "confidence", "distance")]
    assert all(value is None or value == round(value, 2) for value in numbers)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "  =", "\t=", "\u3000＝", "＋", "－", "＠"])
def test_no_text_becomes_a_formula(start):
    assert as_text(f"{start}1+1").startswith("'") and as_text(f"a{start}1").startswith("a")


def test_tables_without_an_answer_have_their_columns(files, outcomes, tmp_path):
    Tables(tmp_path, DEPLOYED, files[3:]).write()
    table = read_written(tmp_path, "predictions")
    whose = {"path", "time", "sop_instance", "series", "study", "accession_number"}
    assert len(table) == 0 and set(table) == set(answer_rows(outcomes[0], DEPLOYED)[0]) - whose
    assert list(read_written(tmp_path, "failed")["fault"]) == ["the run ended before this file"]
