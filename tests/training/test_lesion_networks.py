import numpy as np
import pandas as pd
import pytest

from helpers.data.histories import PatientEncoder, make_histories
from helpers.models.lesion_network import Branches, lesion_network
from helpers.models.recipe import Recipe
from helpers.training.lesions import concatenate_lesions, fit_lesions, mean_over_photographs, predict_lesions

PATIENTS = pd.DataFrame(
    {
        "age": [30.0, 70.0, np.nan, 50.0],
        "sex": ["male", "female", "unknown", "male"],
        "site": ["back", "face", "back", "ear"],
    }
)
TABLE = pd.DataFrame(
    {
        "image_id": ["i4", "i1", "i3", "i2", "i5"],
        "lesion_id": ["b", "a", "b", "a", "b"],
        "label": ["mel", "nv", "mel", "nv", "mel"],
    }
)
FEATURES = np.array([[4], [1], [3], [2], [5]], np.float32)
PATIENT = FEATURES * 10


def put_together(**more) -> object:
    return make_histories(TABLE.assign(**more), FEATURES, PATIENT, codes=["mel", "nv"], steps=more.pop("steps", 4))


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


def test_no_age_is_known():
    encoder = PatientEncoder(PATIENTS.assign(age=np.nan))
    assert encoder(PATIENTS.assign(age=np.nan))[:, :2].tolist() == [[0, 0]] * 4 and np.isfinite(encoder.blank()).all()


def test_photographs_become_lesions_in_order():
    own = put_together()
    assert own.lesions.tolist() == ["a", "b"] and own.first.tolist() == ["i1", "i3"] and own.count.tolist() == [2, 3]
    assert own.images[..., 0].tolist() == [[1, 2, 0, 0], [3, 4, 5, 0]]
    assert own.table(["mel", "nv"]).values.tolist() == [["i1", "a", "nv"], ["i3", "b", "mel"]]
    assert own.labels.tolist() == [1, 0] and own.patient.tolist() == [[10], [30]]


def test_dates_come_before_names():
    own = put_together(date=["2017-01-01", "2016-05-01", "2018-01-01", "2016-01-01", "2016-01-01"])
    assert own.images[..., 0].tolist() == [[2, 1, 0, 0], [5, 4, 3, 0]]
    assert own.first.tolist() == ["i2", "i5"]


def test_of_many_photographs_the_first():
    own = make_histories(TABLE, FEATURES, PATIENT, codes=["mel", "nv"], steps=2)
    assert own.images[..., 0].tolist() == [[1, 2], [3, 4]] and own.count.tolist() == [2, 2]


def test_shuffling_moves_photographs_and_nothing_else():
    rows = pd.DataFrame(
        {"image_id": [f"i{k:02}" for k in range(40)], "lesion_id": np.repeat(list("abcdefghij"), 4), "label": "nv"}
    )
    own = make_histories(rows, np.arange(1, 41, dtype=np.float32)[:, None], np.zeros((40, 1)), codes=["nv"], steps=6)
    other = own.shuffle(0)
    assert np.array_equal(np.sort(other.images, axis=1), np.sort(own.images, axis=1))
    assert (other.images[:, 4:] == 0).all() and (other.images[:, :4] > 0).all()
    assert not np.array_equal(other.images, own.images)
    assert np.array_equal(other.images, own.shuffle(0).images)


def test_without_patient_and_both():
    encoder = PatientEncoder(PATIENTS)
    own = make_histories(TABLE.iloc[:4], FEATURES[:4], encoder(PATIENTS), codes=["mel", "nv"], steps=4)
    blank = own.without_patient(encoder)
    assert np.array_equal(blank.patient, np.stack([encoder.blank()] * 2)) and np.array_equal(blank.images, own.images)
    both = concatenate_lesions(own, blank)
    assert len(both) == 4 and both.lesions.tolist() == ["a", "b", "a", "b"]


@pytest.mark.parametrize("sees", [["image"], ["sequence"], ["patient"], ["image", "patient"], ["sequence", "patient"]])
def test_a_network_sees_what_it_is_said_to(sees):
    own = put_together()
    network = lesion_network(own, 2, Branches(sees, 64, 0.0, 0))
    answer = predict_lesions(network, own)
    assert np.allclose(answer.sum(axis=1), 1, atol=1e-5)
    later = own.images.copy()
    later[:, 1] += 1
    others = {"sequence": type(own)(own.lesions, own.first, later, own.count, own.patient, own.labels)}
    others["patient"] = type(own)(own.lesions, own.first, own.images, own.count, own.patient + 1, own.labels)
    for name, changed in others.items():
        assert np.allclose(predict_lesions(network, changed), answer, atol=1e-6) == (name not in sees)


def test_photographs_that_are_not_there_do_not_count():
    short, long = make_histories(TABLE, FEATURES, PATIENT, codes=["mel", "nv"], steps=3), put_together()
    network = lesion_network(short, 2, Branches(["sequence"], 8, 0.0, 0))
    wide = lesion_network(long, 2, Branches(["sequence"], 8, 0.0, 0))
    wide.set_weights(network.get_weights())
    assert np.allclose(predict_lesions(network, short), predict_lesions(wide, long), atol=1e-6)


def test_the_mean_over_photographs():
    own = put_together()
    network = lesion_network(own, 2, Branches(["image"], 8, 0.0, 0))
    single = predict_lesions(
        network,
        make_histories(TABLE.assign(lesion_id=TABLE["image_id"]), FEATURES, PATIENT, codes=["mel", "nv"], steps=4),
    )
    expected = [single[:2].mean(axis=0), single[2:].mean(axis=0)]
    assert np.allclose(mean_over_photographs(network, own), expected, atol=1e-6)


def test_it_learns_what_only_the_order_tells():
    random = np.random.default_rng(0)
    rises = random.random(200) < 0.5
    pairs = np.sort(random.normal(size=(200, 2, 1)).astype(np.float32), axis=1)
    pairs[~rises] = pairs[~rises, ::-1]
    rows = pd.DataFrame(
        {
            "image_id": [f"{k:03}{v}" for k in range(200) for v in "ab"],
            "lesion_id": np.repeat([f"{k:03}" for k in range(200)], 2),
        }
    )
    rows["label"] = np.where(rises, "mel", "nv").repeat(2)
    own = make_histories(rows, pairs.reshape(-1, 1), np.zeros((400, 1), np.float32), codes=["mel", "nv"], steps=3)
    accuracy = {}
    for name, seen in {"in order": own, "shuffled": own.shuffle(1)}.items():
        network = lesion_network(seen, 2, Branches(["sequence"], 16, 0.0, 0))
        history = fit_lesions(network, seen, seen, recipe=Recipe(20, 64, 1e-2, 1e-3, "class_weight", 20, 0), label=name)
        assert list(history["epoch"]) == list(range(1, 21))
        accuracy[name] = (predict_lesions(network, seen).argmax(axis=1) == seen.labels).mean()
    assert accuracy["in order"] > 0.95 and accuracy["shuffled"] < 0.75
