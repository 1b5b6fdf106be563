from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_up import make, random_predictions

from helpers.evaluation.predictions import Predictions, concatenate_predictions, ensemble, per_lesion
from helpers.study import StudyError

TABLE = pd.DataFrame(
    {"image_id": ["i1", "i2"], "part": "test", "label": ["nv", "mel"], "nv": [0.7, 0.4], "mel": [0.3, 0.6]},
    index=[7, 3],
)
LESIONS = pd.Series({"i2": "l2", "i1": "l1", "i0": "l0"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [], "probabilities": np.empty((0, 2)), "lesions": []}, "no images"),
        ({"labels": [0, 2]}, "whole numbers from 0 to 1"),
        ({"labels": [0.0, 1.0]}, "whole numbers from 0 to 1"),
        ({"labels": [0]}, "do not fit"),
        ({"lesions": ["x"]}, "do not fit"),
        ({"classes": ("a", "b", "c")}, "do not fit"),
        ({"probabilities": [0.5, 0.5]}, "do not fit"),
        ({"probabilities": [[0.5, 0.5], [np.nan, 1]]}, "finite and between 0 and 1"),
        ({"probabilities": [[0.5, 0.5], [1.2, -0.2]]}, "finite and between 0 and 1"),
        ({"probabilities": [[0.5, 0.5], [0.5, 0.502]]}, "image 1 sum to 1.0020"),
        ({"lesions": ["x", None]}, "every image needs a lesion"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(change, message):
    good = {"labels": [0, 1], "probabilities": [[0.5, 0.5], [0.5, 0.5005]], "lesions": ["x", "y"]}
    good |= {"classes": ("a", "b"), "malignant": (True, False)}
    assert len(Predictions(**good)) == 2
    with pytest.raises(StudyError, match=message):
        Predictions(**good | change)


def test_predictions_are_read_from_a_table():
    p = Predictions.from_table(TABLE, ["mel", "nv"], [True, False], lesions=LESIONS)
    assert p.probabilities.tolist() == [[0.3, 0.7], [0.6, 0.4]]
    assert p.labels.tolist() == p.predicted.tolist() == [1, 0]
    assert p.lesions.tolist() == ["l1", "l2"] and p.is_malignant.tolist() == [False, True]


@pytest.mark.parametrize(
    ("table", "lesions", "message"),
    [
        (TABLE.drop(columns="mel"), LESIONS, "no column mel"),
        (TABLE.drop(columns=["image_id", "label"]), LESIONS, "no column image_id, label"),
        (TABLE.assign(label=["nv", "df"]), LESIONS, "1 images are labelled with a class that is not one of mel, nv"),
        (TABLE.assign(image_id="i1"), LESIONS, "1 images are listed more than once; the first is i1"),
        (TABLE, {"i1": "l1"}, "1 images are not assigned to a lesion; the first is i2"),
    ],
)
def test_tables_that_do_not_fit_are_refused(table, lesions, message):
    with pytest.raises(StudyError, match=message):
        Predictions.from_table(table, ["mel", "nv"], [True, False], lesions=lesions)


def test_malignant_score_is_the_sum_over_malignant_classes():
    p = make([0, 1, 2], [[0.3, 0.3, 0.4], [0.2, 0.1, 0.7], [0.1, 0.3, 0.6]], malignant=(True, True, False))
    assert p.malignant_score == pytest.approx([0.6, 0.3, 0.4])
    assert p.confidence.tolist() == [0.4, 0.7, 0.6] and p.is_right.tolist() == [False, False, True]


def test_restricted_to_fewer_classes_the_rest_of_the_probability_does_not_count():
    """(0.2, 0.5, 0.3), restricted to the first and the last, is 0.4 and 0.6; images of other classes are left out."""
    probabilities = [[0.2, 0.5, 0.3], [0.0, 1.0, 0.0], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1]]
    whole = Predictions([2, 0, 0, 1], probabilities, list("abcd"), ("nv", "bcc", "mel"), (False, True, True))
    both = whole.restrict_to(["mel", "nv"])
    assert (both.classes, both.malignant, list(both.lesions)) == (("mel", "nv"), (True, False), ["a", "b", "c"])
    assert both.labels.tolist() == [0, 1, 1]
    assert np.allclose(both.probabilities, [[0.6, 0.4], [0.5, 0.5], [1 / 7, 6 / 7]])


def test_an_ensemble_is_the_mean_of_its_members():
    one, other = make([0, 1], [[0.9, 0.1], [0.6, 0.4]]), make([0, 1], [[0.5, 0.5], [0.2, 0.8]])
    assert ensemble([one, other]).probabilities.tolist() == [[0.7, 0.3], [0.4, pytest.approx(0.6)]]


def test_concatenated_subsets_are_the_whole():
    whole = random_predictions(90, 0)
    again = concatenate_predictions([whole.subset(np.arange(start, start + 30)) for start in (0, 30, 60)])
    for name in ("labels", "probabilities", "lesions", "classes", "malignant"):
        assert np.array_equal(getattr(again, name), getattr(whole, name))
    with pytest.raises(StudyError, match="different classes"):
        concatenate_predictions([whole, replace(whole, malignant=(True,) * 7)])


def test_a_lesion_has_one_verdict_from_the_mean_of_its_images():
    whole = Predictions([1, 0, 1], [[0.2, 0.8], [0.9, 0.1], [0.6, 0.4]], ["b", "a", "b"], ("x", "y"), (False, True))
    lesions = per_lesion(whole)
    assert lesions.lesions.tolist() == ["a", "b"] and lesions.labels.tolist() == [0, 1]
    assert lesions.probabilities.tolist() == [[0.9, 0.1], pytest.approx([0.4, 0.6])]
