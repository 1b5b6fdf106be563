import numpy as np
import pandas as pd
import pytest

from helpers.data.histories import PatientEncoder, make_histories

PATIENTS = pd.DataFrame({"age": [30.0, 70.0, np.nan, 50.0], "sex": ["male", "female", "unknown", "male"]})
PATIENTS["site"] = ["back", "face", "back", "ear"]
TABLE = pd.DataFrame({"image_id": ["i4", "i1", "i3", "i2", "i5"], "lesion_id": list("babab")})
TABLE["label"] = ["mel", "nv", "mel", "nv", "mel"]
FEATURES = np.array([[4], [1], [3], [2], [5]], np.float32)
DATES = ["2017-01-01", "2016-05-01", "2018-01-01", "2016-01-01", "2016-01-01"]


def test_patients_as_numbers():
    encoder = PatientEncoder(PATIENTS)
    seen = encoder(PATIENTS)
    assert seen.shape == (4, len(encoder.columns)) and seen.dtype == np.float32
    assert seen[:, 0].tolist() == [-1, 1, 0, 0] and seen[:, 1].tolist() == [1, 1, 0, 1]
    words = pd.DataFrame(seen, columns=encoder.columns)
    assert words["sex: male"].tolist() == [1, 0, 0, 1] and words["site: face"].tolist() == [0, 1, 0, 0]
    new = encoder(pd.DataFrame({"age": [50.0], "sex": ["male"], "site": ["scalp"]}))
    assert pd.Series(new[0], encoder.columns)["site: unknown"] == 1
    assert encoder.blank()[:2].tolist() == [0, 0] and encoder.blank().sum() == 2
    nobody = PATIENTS.assign(age=np.nan)
    assert PatientEncoder(nobody)(nobody)[:, :2].tolist() == [[0, 0]] * 4


@pytest.mark.parametrize(
    ("table", "steps", "images", "first"),
    [
        (TABLE, 4, [[1, 2, 0, 0], [3, 4, 5, 0]], ["i1", "i3"]),
        (TABLE.assign(date=DATES), 4, [[2, 1, 0, 0], [5, 4, 3, 0]], ["i2", "i5"]),
        (TABLE, 2, [[1, 2], [3, 4]], ["i1", "i3"]),
    ],
    ids=["by name", "by date", "of many the first"],
)
def test_photographs_become_lesions_in_order(table, steps, images, first):
    found = make_histories(table, FEATURES, FEATURES * 10, codes=["mel", "nv"], steps=steps)
    assert found.lesions.tolist() == ["a", "b"] and found.first.tolist() == first
    assert found.images[..., 0].tolist() == images and found.count.tolist() == [2, min(3, steps)]
    assert found.labels.tolist() == [1, 0] and found.patient.tolist() == [[10 * images[0][0]], [10 * images[1][0]]]
    assert found.table(["mel", "nv"]).values.tolist() == [[first[0], "a", "nv"], [first[1], "b", "mel"]]


def test_shuffling_moves_photographs_and_nothing_else():
    rows = pd.DataFrame({"image_id": [f"i{k:02}" for k in range(40)], "lesion_id": np.arange(40) // 4, "label": "nv"})
    found = make_histories(rows, np.arange(1, 41, dtype=np.float32)[:, None], np.zeros((40, 1)), codes=["nv"], steps=6)
    other = found.shuffle(0)
    assert np.array_equal(np.sort(other.images, axis=1), np.sort(found.images, axis=1))
    assert (other.images[:, 4:] == 0).all() and (other.images[:, :4] > 0).all()
    assert not np.array_equal(other.images, found.images) and np.array_equal(other.images, found.shuffle(0).images)


def test_lesions_without_their_patients():
    encoder = PatientEncoder(PATIENTS)
    found = make_histories(TABLE.iloc[:4], FEATURES[:4], encoder(PATIENTS), codes=["mel", "nv"], steps=4)
    blank = found.without_patient(encoder)
    assert np.array_equal(blank.patient, np.stack([encoder.blank()] * 2))
    assert np.array_equal(blank.images, found.images)
