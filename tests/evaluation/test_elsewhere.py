import numpy as np
import pandas as pd
import pytest

from helpers.data.diagnoses import Diagnosis
from helpers.evaluation.bootstrap import Bootstrap
from helpers.evaluation.external import (
    Collection,
    collection,
    compare,
    external_collection,
    malignancy_scores,
    parts_of_difference,
    reliance,
    same_mix,
    scores,
)
from helpers.evaluation.predictions import Predictions

CLASSES = (Diagnosis("bcc", "", True), Diagnosis("mel", "", True), Diagnosis("nv", "", False))
BOOTSTRAP = Bootstrap(200, 0)


def predictions(labels, answers, certainty=0.8):
    """One lesion per image; the answer gets `certainty`, the other two classes the rest."""
    probabilities = np.full((len(labels), 3), (1 - certainty) / 2)
    probabilities[np.arange(len(labels)), answers] = certainty
    lesions = [f"L{k}" for k in range(len(labels))]
    return Predictions(np.array(labels), probabilities, lesions, ("bcc", "mel", "nv"), (True, True, False))


def external(labels, malignant, answers):
    table = pd.DataFrame({"unit": [f"P{k}" for k in range(len(labels))], "label": labels, "malignant": malignant})
    given = pd.DataFrame(predictions([0] * len(labels), answers).probabilities, columns=["bcc", "mel", "nv"])
    return external_collection(table, given, CLASSES)


def test_a_diagnosis_without_a_class_counts_for_malignancy_alone():
    found = external(["mel", "", "nv"], [True, True, False], [1, 2, 2])
    assert len(found.by_class) == 2 and len(found.malignancy) == 3 and found.present == ("mel", "nv")
    score = {name: values[0] for name, values in scores(found, 0.5, BOOTSTRAP).items()}
    assert score["balanced_accuracy"] == score["accuracy"] == 1  # both images that have a class are right
    # The image without a class is malignant and looks like a nevus: one of two malignant ones is missed.
    assert score["malignant_sensitivity"] == 0.5 and score["malignant_specificity"] == 1
    assert score["malignant_auc"] == 0.75


def test_a_clinic_may_count_a_class_otherwise():
    found = external(["mel", "bcc", "nv"], [True, False, False], [1, 0, 2])
    assert scores(found, 0.5, BOOTSTRAP)["malignant_specificity"][0] == 0.5


def test_reweighted_images_have_the_mix_of_the_others():
    # Four melanomas, one of them found; one nevus, found. At home half of the images are nevi.
    there, home = predictions([1, 1, 1, 1, 2], [1, 2, 2, 2, 2]), predictions([1, 2, 0], [1, 2, 0])
    weights = same_mix(there, home)(np.ones((1, 5)))
    assert weights[0] == pytest.approx([0.25, 0.25, 0.25, 0.25, 1])
    found = scores(collection(there), 0.5, BOOTSTRAP)
    mixed = malignancy_scores(collection(there).malignancy, 0.5, BOOTSTRAP, scale=same_mix(there, home))
    # Only one class is malignant and one benign, so their mix changes none of these scores.
    assert {name: values[0] for name, values in mixed.items()} == pytest.approx(
        {name: found[name][0] for name in mixed}
    )


def test_each_resample_has_the_wanted_mix():
    there = predictions([1] * 30 + [2] * 10, [1] * 15 + [2] * 25)
    home = predictions([1, 2], [1, 2])
    weights = same_mix(there, home)(BOOTSTRAP.weights(there.lesions).astype(float))
    assert weights[:, there.labels == 1].sum(axis=1) == pytest.approx(1)
    assert weights[:, there.labels == 2].sum(axis=1) == pytest.approx(1)


def test_scores_stand_beside_each_other_with_their_difference():
    inside, outside = (collection(predictions([0, 1, 2] * 20, answers * 20)) for answers in ([0, 1, 2], [0, 0, 2]))
    row = compare(inside, outside, 0.5, bootstrap=BOOTSTRAP).loc["accuracy"]
    assert row["inside", "value"] == 1 and row["outside", "value"] == pytest.approx(2 / 3)
    assert row["difference", "value"] == pytest.approx(-1 / 3) and row["difference", "high"] < 0
    assert row["difference", "low"] < -1 / 3 < row["difference", "high"]


def test_classes_are_compared_on_the_diagnoses_that_both_have():
    home = collection(predictions([0, 1, 2] * 20, [2, 1, 2] * 20))  # bcc is always missed
    there = Collection(*(getattr(home.only(["mel", "nv"]), name) for name in ("by_class", "malignancy")))
    table = compare(home, there, 0.5, bootstrap=BOOTSTRAP)
    assert table.loc["balanced_accuracy", ("inside", "value")] == 1
    assert table.loc["malignant_sensitivity", ("inside", "value")] == 0.5  # of the whole test part


def test_the_parts_of_a_difference():
    """At home bcc is always missed and mel always found; elsewhere there are no bcc, and half of mel is missed."""
    home = collection(predictions([0, 1, 2, 2] * 20, [2, 1, 2, 2] * 20))
    there = collection(predictions([1, 1, 2] * 20, [1, 2, 2] * 20))
    found = parts_of_difference(home, there, 0.5, bootstrap=BOOTSTRAP)["value"].unstack()["malignant_sensitivity"]
    assert found.to_dict() == pytest.approx({"diagnoses": 0.5, "images": -0.5, "mix": 0, "all": 0})


def test_the_mix_is_told_from_the_images():
    """The same answers to each class; only the mix of the two malignant classes differs."""
    home = collection(predictions([0] * 10 + [1] * 30 + [2] * 10, [2] * 10 + [1] * 30 + [2] * 10))
    there = collection(predictions([0] * 30 + [1] * 10 + [2] * 10, [2] * 30 + [1] * 10 + [2] * 10))
    found = parts_of_difference(home, there, 0.5, bootstrap=BOOTSTRAP)["value"].unstack()["malignant_sensitivity"]
    assert found.to_dict() == pytest.approx({"diagnoses": 0, "images": 0, "mix": -0.5, "all": -0.5})


def test_calibrated_probabilities_and_abstention_elsewhere():
    """Two of three malignant images are called so with 0.9, one has 0.2, like the benign one; one has no answer."""
    found = external(["mel", "bcc", "mel", "nv"], [True, True, True, False], [1, 0, 2, 2])
    abstains = np.array([True, False, False, False])
    relied = reliance(found, found, abstains, threshold=0.25, bootstrap=BOOTSTRAP)
    values = {name: figure["value"] for name, figure in relied.items()}
    assert values.pop("ECE, calibrated") > 0
    assert values == pytest.approx(
        {
            "stated minus true share malignant": (0.9 + 0.9 + 0.2 + 0.2) / 4 - 0.75,
            "sensitivity, malignant, calibrated": 2 / 3,
            "specificity, malignant, calibrated": 1,
            "abstained": 0.25,
            "abstained, of the malignant": 1 / 3,
        }
    )
