from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import make, random_predictions, values
from sklearn import metrics as sk

from helpers.evaluation.bootstrap import Bootstrap
from helpers.evaluation.malignancy import (
    called_malignant,
    compare_malignancy,
    decision_curve,
    malignant_by_fifths,
    operating_point,
    predictive_values,
    threshold_for_sensitivity,
    threshold_for_specificity,
)
from helpers.evaluation.predictions import Predictions
from helpers.evaluation.scores import measure
from helpers.study import StudyError


@given(
    rows=st.lists(
        st.tuples(st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0]), st.booleans()), min_size=1, max_size=40
    ),
    sensitivity=st.sampled_from([0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 1.0]),
)
def test_threshold_is_the_largest_that_reaches_the_sensitivity(rows, sensitivity):
    score, malignant = np.array([score for score, _ in rows]), np.array([kind for _, kind in rows])
    p = make(np.where(malignant, 0, 1), np.c_[score, 1 - score])
    if not malignant.any():
        with pytest.raises(StudyError, match="No image is malignant"):
            threshold_for_sensitivity(p, sensitivity)
        return
    threshold = threshold_for_sensitivity(p, sensitivity)
    assert (score[malignant] >= threshold).mean() >= sensitivity
    for higher in score[score > threshold]:
        assert (score[malignant] >= higher).mean() < sensitivity


def test_nothing_that_is_probably_malignant_is_below_the_operating_point():
    score = np.array([0.9, 0.8, 0.7, 0.2])
    p = make([0, 0, 0, 1], np.c_[score, 1 - score])
    assert operating_point(p, 1.0) == 0.5 < threshold_for_sensitivity(p, 1.0)
    low = make([0, 0, 0, 1], np.c_[score / 2, 1 - score / 2])
    assert operating_point(low, 1.0) == threshold_for_sensitivity(low, 1.0) == 0.35


@pytest.mark.parametrize(("specificity", "threshold"), [(0.5, 0.2), (0.75, 0.3), (0.76, 0.4), (1.0, 0.4)])
def test_threshold_is_the_smallest_that_reaches_the_specificity(specificity, threshold):
    score = np.array([0.1, 0.2, 0.3, 0.4, 0.35, 0.9])
    p = make([1, 1, 1, 1, 0, 0], np.c_[score, 1 - score])
    found = threshold_for_specificity(p, specificity)
    assert found > threshold and found == pytest.approx(threshold)
    assert values(p, found)["malignant_specificity"] >= specificity > values(p, threshold)["malignant_specificity"]


@pytest.mark.parametrize("share", [0, -0.1, 1.1, 90])
def test_impossible_shares_have_no_threshold(share):
    for choose in (threshold_for_sensitivity, threshold_for_specificity):
        with pytest.raises(StudyError, match="above 0 and at most 1"):
            choose(random_predictions(50, 0), share)
    with pytest.raises(StudyError, match="No image is benign"):
        threshold_for_specificity(make([0, 0], [[0.5, 0.5]] * 2))


def two_sided(n, separation, seed, malignant_share=0.3):
    """Scores with a known answer: benign N(0, 1), malignant N(separation, 1), squeezed into (0, 1)."""
    random = np.random.default_rng(seed)
    malignant = random.random(n) < malignant_share
    score = 1 / (1 + np.exp(-(random.normal(size=n) + separation * malignant)))
    return make(np.where(malignant, 0, 1), np.c_[score, 1 - score])


def test_operating_points_of_two_normal_distributions():
    """At specificity s the sensitivity is P(N(2, 1) > z_s), and the other way round; the AUC is P(N(2, 2) > 0)."""
    normal = NormalDist()
    parts = two_sided(20_000, 2, 0), two_sided(20_000, 2, 1)
    table = compare_malignancy(parts, parts, Bootstrap(50))
    found = table["first"]["value"]
    assert found["ranking", "AUC"] == pytest.approx(normal.cdf(2 / np.sqrt(2)), abs=0.01)
    for share in (0.9, 0.95):
        other = normal.cdf(2 - normal.inv_cdf(share))
        for kind, opposite in (("specificity", "sensitivity"), ("sensitivity", "specificity")):
            point = f"{100 * share:.0f} % {kind}"
            assert found[point, kind] == pytest.approx(share, abs=0.015)
            assert found[point, opposite] == pytest.approx(other, abs=0.03)
    assert (table["difference"] == 0).all(axis=None)
    assert (table["first"]["low"] < found).all() and (found < table["first"]["high"]).all()


def test_a_two_class_model_is_compared_with_summed_classes():
    summed = random_predictions(400, 23, skill=1), random_predictions(400, 24, skill=1)
    dedicated = []
    for p in summed:
        score = np.clip(p.malignant_score + 0.2 * p.is_malignant, 0, 1)
        chances = np.c_[1 - score, score]
        dedicated.append(Predictions(p.is_malignant.astype(int), chances, p.lesions, ("b", "m"), (False, True)))
    table = compare_malignancy(tuple(dedicated), summed, Bootstrap(200))
    area = measure(summed[1], "malignant_auc", bootstrap=Bootstrap(200))
    assert table["second"].loc[("ranking", "AUC")].to_dict() == pytest.approx(area)
    assert table.loc[("ranking", "AUC"), ("difference", "low")] > 0
    average_precision = sk.average_precision_score(summed[1].is_malignant, summed[1].malignant_score)
    assert table.loc[("ranking", "average precision"), ("second", "value")] == pytest.approx(average_precision)


def test_decision_curve_by_hand():
    p = make([0, 0, 1, 1, 1], [[0.9, 0.1], [0.3, 0.7], [0.6, 0.4], [0.2, 0.8], [0.1, 0.9]])
    found = decision_curve(p, np.array([0.25, 0.5]))
    assert found["value"].tolist() == pytest.approx([2 / 5 - 1 / 5 / 3, 1 / 5 - 1 / 5])
    assert found["all"].tolist() == pytest.approx([2 / 5 - 3 / 5 / 3, 2 / 5 - 3 / 5])
    assert found.loc[0.25, ["low", "high"]].tolist() == pytest.approx([-2 / 15, 14 / 15], abs=0.15)


def test_predictive_values_by_hand():
    # Three of four malignant images are flagged, and one of two benign ones.
    p = make([0, 0, 0, 0, 2, 2], np.eye(3)[[0, 0, 0, 2, 0, 2]])
    found = predictive_values(p, 0.5, [0.5, 0.1], bootstrap=Bootstrap(200))
    assert found["ppv"]["value"].tolist() == pytest.approx([0.75 / 1.25, 0.075 / (0.075 + 0.45)])
    assert found["npv"]["value"].tolist() == pytest.approx([0.5 / 0.75, 0.45 / (0.45 + 0.025)])
    assert (found["ppv"]["low"] <= found["ppv"]["value"]).all() and (found["npv"]["high"] <= 1).all()


def test_images_are_counted_by_fifths_of_the_stated_probability():
    stated = np.array([0.05, 0.15, 0.5, 0.95, 1.0])
    probabilities = np.column_stack([1 - stated, stated])
    images = Predictions(np.array([0, 1, 0, 1, 1]), probabilities, np.arange(5).astype(str), ("b", "m"), (False, True))
    table = malignant_by_fifths(images, Bootstrap(50))
    assert list(table.index) == ["0 to 20 %", "40 to 60 %", "80 to 100 %"] and list(table["images"]) == ["2", "1", "2"]
    assert list(table["stated on average"]) == ["0.10", "0.50", "0.97"]
    assert [text.split(" ")[0] for text in table["malignant"]] == ["0.50", "0.00", "1.00"]


def test_a_malignant_image_is_called_so_by_any_malignant_class():
    """Of four malignant images, one gets its own class, one the other malignant class, and two a benign one."""
    answers = np.eye(3)[[0, 1, 2, 2, 0]]
    given = Predictions([0, 0, 0, 1, 2], answers, list("abcde"), ("mel", "bcc", "nv"), (True, True, False))
    found = called_malignant(given, Bootstrap(200))
    assert found["value"] == 0.5 and found["low"] < 0.5 < found["high"]
