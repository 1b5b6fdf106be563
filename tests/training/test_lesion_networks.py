from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from helpers.data.histories import Histories, make_histories
from helpers.models.lesion_network import Branches, lesion_network
from helpers.models.recipe import Recipe
from helpers.training.lesions import concatenate_lesions, fit_lesions, mean_over_photographs, predict_lesions

TABLE = pd.DataFrame(
    {
        "image_id": ["i4", "i1", "i3", "i2", "i5"],
        "lesion_id": ["b", "a", "b", "a", "b"],
        "label": ["mel", "nv", "mel", "nv", "mel"],
    }
)
FEATURES = np.array([[4], [1], [3], [2], [5]], np.float32)
PATIENT = FEATURES * 10


def put_together() -> Histories:
    return make_histories(TABLE, FEATURES, PATIENT, codes=["mel", "nv"], steps=4)


def test_lesions_of_several_parts_become_one_set():
    both = concatenate_lesions(put_together(), put_together())
    assert len(both) == 4 and both.lesions.tolist() == ["a", "b", "a", "b"]


@pytest.mark.parametrize("sees", [["image"], ["sequence"], ["patient"], ["image", "patient"], ["sequence", "patient"]])
def test_a_network_sees_what_it_is_said_to(sees):
    lesions = put_together()
    network = lesion_network(lesions, 2, Branches(sees, 64, 0.0, 0))
    answer = predict_lesions(network, lesions)
    assert np.allclose(answer.sum(axis=1), 1, atol=1e-5)
    later = lesions.images.copy()
    later[:, 1] += 1
    others = {"sequence": replace(lesions, images=later), "patient": replace(lesions, patient=lesions.patient + 1)}
    for name, changed in others.items():
        assert np.allclose(predict_lesions(network, changed), answer, atol=1e-6) == (name not in sees)


def test_photographs_that_are_not_there_do_not_count():
    short, long = make_histories(TABLE, FEATURES, PATIENT, codes=["mel", "nv"], steps=3), put_together()
    network = lesion_network(short, 2, Branches(["sequence"], 8, 0.0, 0))
    wide = lesion_network(long, 2, Branches(["sequence"], 8, 0.0, 0))
    wide.set_weights(network.get_weights())
    assert np.allclose(predict_lesions(network, short), predict_lesions(wide, long), atol=1e-6)


def test_the_mean_over_photographs():
    lesions = put_together()
    network = lesion_network(lesions, 2, Branches(["image"], 8, 0.0, 0))
    single = predict_lesions(
        network,
        make_histories(TABLE.assign(lesion_id=TABLE["image_id"]), FEATURES, PATIENT, codes=["mel", "nv"], steps=4),
    )
    expected = [single[:2].mean(axis=0), single[2:].mean(axis=0)]
    assert np.allclose(mean_over_photographs(network, lesions), expected, atol=1e-6)


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
    lesions = make_histories(rows, pairs.reshape(-1, 1), np.zeros((400, 1), np.float32), codes=["mel", "nv"], steps=3)
    accuracy = {}
    for name, seen in {"in order": lesions, "shuffled": lesions.shuffle(1)}.items():
        network = lesion_network(seen, 2, Branches(["sequence"], 16, 0.0, 0))
        history = fit_lesions(network, seen, seen, recipe=Recipe(20, 64, 1e-2, 1e-3, "class_weight", 20, 0), label=name)
        assert list(history["epoch"]) == list(range(1, 21))
        accuracy[name] = (predict_lesions(network, seen).argmax(axis=1) == seen.labels).mean()
    assert accuracy["in order"] > 0.95 and accuracy["shuffled"] < 0.75
