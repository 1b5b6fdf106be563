"""The tables of a run: their columns, and what stands in them."""

import json

import numpy as np
import pandas as pd
import pytest
from clinical import CODES, bright, by_brightness, deployment

from clinic.answering.prediction import answer_files
from clinic.reading.files import find_files
from clinic.reading.reader import Reader
from clinic.writing.tables import Tables, answer_rows

DEPLOYED = deployment()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A dark, a bright and a grey image, and a broken file."""
    folder = tmp_path_factory.mktemp("Erika")
    for name, level in (("=Muster", 20), ("b", 235), ("c", 128)):
        bright(level).save(folder / f"{name}.png")
    (folder / "d.png").write_bytes(b"")
    return find_files([folder])


@pytest.fixture(scope="module")
def outcomes(files):
    with Reader(DEPLOYED.image_format()) as reader:
        return list(answer_files(reader.read(files), DEPLOYED, by_brightness))


def written(folder, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.csv")


def test_rows_of_a_dark_a_bright_and_a_grey_image(outcomes):
    rows = [row for outcome in outcomes for row in answer_rows(outcome, DEPLOYED)]
    assert [row["answer"] for row in rows] == ["mel", "nv", ""]
    assert [row["suspicious"] for row in rows] == [True, False, None]
    assert [row["abstained"] for row in rows] == [False, False, True]
    assert all("unlike a dermatoscopic image" in row["warnings"] for row in rows)
    assert np.allclose([sum(row[f"p_{code}"] for code in CODES) for row in rows], 1, atol=1e-5)


def test_tables_hold_every_answer_and_fault_and_no_name(files, outcomes, tmp_path):
    tables = Tables(tmp_path, DEPLOYED, files)
    for outcome in outcomes:
        tables.add(outcome)
    tables.write()
    content = json.loads((tmp_path / "predictions.json").read_text())
    assert len(written(tmp_path, "predictions")) == len(content["predictions"]) == 3
    assert content["failed"] == [{"file": 4, "image": outcomes[3].file.image, "fault": "the file is empty"}]
    assert content["model"]["model_sha256"] == "ab" * 32 and "Not a medical device" in content["disclaimer"]
    assert "before calibration" in content["operating_point"]["summary"]
    assert content["abstention"]["on_test"] == DEPLOYED.abstention
    text = "".join(path.read_text() for path in tmp_path.iterdir())
    assert "Erika" not in text and "Muster" not in text


def test_files_that_were_not_reached_have_failed_until_they_are(files, outcomes, tmp_path):
    tables = Tables(tmp_path, DEPLOYED, files[:3])
    for count, outcome in enumerate(outcomes[:3]):
        tables.write()
        failed = written(tmp_path, "failed")
        assert list(failed["file"]) == [1, 2, 3][count:] and set(failed["fault"]) == {"the run ended before this file"}
        tables.add(outcome)
    tables.write()
    assert not (tmp_path / "failed.csv").exists()


def test_tables_without_an_answer_have_their_columns(files, outcomes, tmp_path):
    Tables(tmp_path, DEPLOYED, files[3:]).write()
    table = written(tmp_path, "predictions")
    assert len(table) == 0 and list(table) == list(answer_rows(outcomes[0], DEPLOYED)[0])


def test_tables_are_saved_when_it_is_due(files, tmp_path, monkeypatch):
    """At most every minute, and in a twentieth of the time: writing for a minute, then, is due after 19 more."""
    clock = iter([0, 59, 60, 120, 1259, 1260, 1260])
    monkeypatch.setattr("clinic.writing.tables.monotonic", lambda: next(clock))
    tables, saved = Tables(tmp_path, DEPLOYED, files), []
    monkeypatch.setattr(Tables, "write", lambda _: saved.append(1))
    for count in (0, 1, 1, 2):
        tables.save()
        assert len(saved) == count
