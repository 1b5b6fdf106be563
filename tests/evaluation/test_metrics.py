"""Figures against closed-form cases and scikit-learn, and intervals against simulations with a known truth."""

import json
import time
from dataclasses import replace
from statistics import NormalDist
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics as sk

from helpers.evaluation import (
    bootstrap,
    calibration,
    comparison,
    expected,
    malignancy,
    predictions,
    ranking,
    scores,
    subgroups,
)
from helpers.evaluation import curves as curves_module
from helpers.evaluation import judge as judge_module
from helpers.evaluation import means as means_module
from helpers.evaluation.predictions import Predictions
from helpers.study import StudyError

HAM10000 = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
MALIGNANT = (True, True, False, False, True, False, False)


def make(labels, probabilities, lesions=None, malignant=None):
    """Predictions for classes a, b, c, …, of which by default the first is malignant; each image its own lesion."""
    k = np.shape(probabilities)[1]
    lesions = [f"lesion{i}" for i in range(len(labels))] if lesions is None else lesions
    malignant = (True,) + (False,) * (k - 1) if malignant is None else malignant
    return Predictions(labels, probabilities, lesions, tuple("abcdefgh"[:k]), malignant)


def random_predictions(n, seed, skill=2.0, digits=None):
    """Random predictions for seven unequal classes, about 1.4 images a lesion; few `digits` make many ties."""
    random = np.random.default_rng(seed)
    share = np.array([0.03, 0.05, 0.11, 0.02, 0.11, 0.66, 0.02])
    lesion_label = random.choice(7, int(n / 1.4) + 1, p=share)
    lesion = random.integers(len(lesion_label), size=n)
    labels = lesion_label[lesion]
    scores = random.normal(size=(n, 7)) + skill * np.eye(7)[labels]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    if digits is not None:
        largest, probabilities = probabilities.argmax(axis=1), np.floor(probabilities * 10**digits) / 10**digits
        probabilities[np.arange(n), largest] += 1 - probabilities.sum(axis=1)
        probabilities = probabilities.round(digits)
    return Predictions(labels, probabilities, lesion, HAM10000, MALIGNANT)


def values(predictions, threshold=0.5):
    """Every test figure without its interval."""
    return {name: figure["value"] for name, figure in scores.evaluate(predictions, threshold, 2)["test"].items()}


def width(figure):
    return figure["high"] - figure["low"]


# Closed-form cases


def test_perfect_predictor():
    labels, lesions = np.arange(7).repeat(9), np.arange(21).repeat(3)
    judged = scores.evaluate(Predictions(labels, np.eye(7)[labels], lesions, HAM10000, MALIGNANT), 0.5, 200)
    for name, figure in judged["test"].items():
        right = 0.0 if name in ("ece", "brier") else 1.0
        assert figure == {"value": right, "low": right, "high": right}, name
    assert judged["per_class"]["mel"]["f1"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert (judged["per_class"]["mel"]["images"], judged["per_class"]["mel"]["lesions"]) == (9, 3)


def test_uniform_predictor_knows_nothing():
    found = values(make([0, 0, 1, 2, 3, 3, 3, 3], np.full((8, 4), 0.25)), threshold=0.3)
    assert found["macro_auc"] == found["malignant_auc"] == 0.5
    assert found["balanced_accuracy"] == 0.25  # ties go to the first class: one recall of four is 1
    assert found["accuracy"] == 0.25
    assert found["ece"] == 0.0
    assert found["brier"] == pytest.approx(1 - 1 / 4)
    assert (found["malignant_sensitivity"], found["malignant_specificity"]) == (0.0, 1.0)


def test_constant_predictor_has_no_precision_where_it_never_answers():
    judged = scores.evaluate(make([0, 1, 1, 1], [[0, 1]] * 4), 0.5, 20)
    assert judged["per_class"]["a"]["precision"]["value"] == 0.0
    assert judged["per_class"]["b"]["precision"]["value"] == 0.75
    assert judged["test"]["macro_precision"]["value"] == 0.375
    assert judged["test"]["balanced_accuracy"]["value"] == 0.5
    assert judged["test"]["brier"]["value"] == 0.5  # one image of four is wrong by (1, -1)


def test_confusion_of_three_classes_by_hand():
    counts = np.array([[3, 1, 0], [1, 2, 1], [0, 0, 2]])
    labels, predicted = np.repeat(np.argwhere(counts >= 0), counts.ravel(), axis=0).T
    predictions = make(labels, np.eye(3)[predicted])
    assert curves_module.confusion(predictions).tolist() == counts.tolist()
    judged = scores.evaluate(predictions, 0.5, 2)
    by_hand = {"precision": [3 / 4, 2 / 3, 2 / 3], "recall": [3 / 4, 1 / 2, 1], "f1": [3 / 4, 4 / 7, 4 / 5]}
    for name, wanted in by_hand.items():
        assert [judged["per_class"][code][name]["value"] for code in "abc"] == pytest.approx(wanted)
        assert judged["test"][f"macro_{name}"]["value"] == pytest.approx(np.mean(wanted))
    assert judged["test"]["accuracy"]["value"] == 0.7
    assert judged["test"]["malignant_sensitivity"]["value"] == 3 / 4
    assert judged["test"]["malignant_specificity"]["value"] == 5 / 6


def test_malignant_score_is_the_sum_over_malignant_classes():
    predictions = make([0, 1, 2], [[0.3, 0.3, 0.4], [0.2, 0.1, 0.7], [0.1, 0.3, 0.6]], malignant=(True, True, False))
    assert predictions.malignant_score == pytest.approx([0.6, 0.3, 0.4])
    found = values(predictions, threshold=0.5)
    assert found["malignant_auc"] == 0.5  # 0.6 above 0.4, 0.3 below it
    assert (found["malignant_sensitivity"], found["malignant_specificity"]) == (0.5, 1.0)


def test_sensitivity_counts_scores_on_the_threshold():
    assert values(make([0, 1], [[0.4, 0.6], [0.1, 0.9]]), threshold=0.4)["malignant_sensitivity"] == 1.0


def test_auc_with_ties_and_weights_by_hand():
    positive, score = np.array([1, 1, 1, 0, 0], bool), np.array([0.8, 0.5, 0.5, 0.5, 0.2])
    # Won pairs: 0.8 beats both; each 0.5 ties with one and beats the other. The second row counts 0.8 and 0.2 twice.
    weights = np.array([[1, 1, 1, 1, 1], [2, 1, 1, 1, 2], [0, 0, 0, 1, 1]], float)
    assert ranking.auc(weights, positive, score) == pytest.approx([5 / 6, (6 + 2.5 + 2.5) / 12, np.nan], nan_ok=True)


def test_ece_and_reliability_by_hand():
    # Bins of 1/15 are closed above, so 0.6 = 9/15 is in bin 8 with 0.55, and 0.9 in bin 13.
    confidence, right = np.array([0.6, 0.55, 0.9, 0.9, 0.9]), np.array([1, 0, 1, 1, 0])
    predictions = make(1 - right, np.c_[confidence, 1 - confidence], lesions=["a", "b", "c", "c", "d"])
    wanted = 2 / 5 * abs(1 / 2 - 0.575) + 3 / 5 * abs(2 / 3 - 0.9)
    assert values(predictions)["ece"] == pytest.approx(wanted)
    table = curves_module.reliability(predictions)
    assert table["images"].to_dict() == {**dict.fromkeys(range(15), 0), 8: 2, 13: 3}
    assert table.loc[13, ["above", "up_to", "lesions", "confidence", "accuracy"]].tolist() == pytest.approx(
        [13 / 15, 14 / 15, 2, 0.9, 2 / 3]
    )
    assert table.loc[0, ["confidence", "accuracy", "low", "high"]].isna().all()


def test_reliability_interval_is_wilsons_by_lesion():
    table = curves_module.reliability(make([0] * 10, [[1, 0]] * 10), bins=5)
    assert table.loc[4, ["low", "high"]].tolist() == pytest.approx([10 / (10 + 1.959964**2), 1], abs=1e-6)
    by_lesion = curves_module.reliability(make([0] * 10, [[1, 0]] * 10, lesions=["a"] * 5 + ["b"] * 5), bins=5)
    assert by_lesion.loc[4, "low"] == pytest.approx(2 / (2 + 1.959964**2), abs=1e-6)


def test_brier_by_hand():
    assert values(make([0, 1], [[0.7, 0.2, 0.1], [0.5, 0.3, 0.2]]))["brier"] == pytest.approx((0.14 + 0.78) / 2)


def test_a_calibrated_model_is_found_calibrated_and_an_overconfident_one_is_not():
    random = np.random.default_rng(0)
    confidence = random.uniform(0.5, 1, 20_000)
    labels = (random.random(20_000) > confidence).astype(int)
    calibrated = make(labels, np.c_[confidence, 1 - confidence])
    assert values(calibrated)["ece"] < 0.02
    filled = curves_module.reliability(calibrated, bins=10).query("images > 0")
    assert filled["images"].sum() == 20_000
    inside = (filled["low"] <= filled["confidence"]) & (filled["confidence"] <= filled["high"])
    assert inside.sum() >= len(filled) - 1
    bold = (1 + confidence) / 2  # on average 0.875 is said where 0.75 is right
    assert values(make(labels, np.c_[bold, 1 - bold]))["ece"] == pytest.approx(0.125, abs=0.01)


# Agreement with scikit-learn


def by_scikit_learn(p, threshold, sample_weight=None):
    truth, options = p.labels, {"sample_weight": sample_weight}
    macro = options | {"average": "macro", "zero_division": 0}
    drawn = np.unique(truth if sample_weight is None else truth[sample_weight > 0])
    areas = [sk.roc_auc_score(truth == k, p.probabilities[:, k], **options) for k in drawn]
    flagged = p.malignant_score >= threshold
    return {
        "accuracy": sk.accuracy_score(truth, p.predicted, **options),
        "balanced_accuracy": sk.recall_score(truth, p.predicted, labels=drawn, **macro),
        "macro_precision": sk.precision_score(truth, p.predicted, labels=drawn, **macro),
        "macro_recall": sk.recall_score(truth, p.predicted, labels=drawn, **macro),
        "macro_f1": sk.f1_score(truth, p.predicted, labels=drawn, **macro),
        "macro_auc": np.mean(areas),
        "malignant_auc": sk.roc_auc_score(p.is_malignant, p.malignant_score, **options),
        "malignant_sensitivity": sk.recall_score(p.is_malignant, flagged, **options),
        "malignant_specificity": sk.recall_score(p.is_malignant, flagged, pos_label=False, **options),
        "brier": np.average(((p.probabilities - np.eye(7)[truth]) ** 2).sum(axis=1), weights=sample_weight),
    }


@pytest.mark.parametrize(("seed", "digits"), [(0, None), (1, 1), (2, 2), (3, None)])
def test_figures_agree_with_scikit_learn(seed, digits):
    p = random_predictions(400, seed, digits=digits)
    found, wanted = values(p, 0.4), by_scikit_learn(p, 0.4)
    assert {name: found[name] for name in wanted} == pytest.approx(wanted)
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(p.labels, p.predicted))
    assert found["macro_auc"] == pytest.approx(sk.roc_auc_score(p.labels, p.probabilities, multi_class="ovr"))
    assert curves_module.confusion(p).tolist() == sk.confusion_matrix(p.labels, p.predicted).tolist()


@pytest.mark.parametrize("digits", [None, 1])
def test_resampled_figures_agree_with_weighted_scikit_learn(digits):
    p = random_predictions(300, 5, digits=digits)
    weights = bootstrap.bootstrap_weights(p.lesions, 8)
    found = bootstrap.resampled(p, weights, 0.4)
    for row, weight in enumerate(weights):
        wanted = by_scikit_learn(p, 0.4, weight)
        assert {name: found[name][row] for name in wanted} == pytest.approx(wanted)


def test_a_weight_of_two_is_the_image_twice():
    p = random_predictions(200, 6)
    weights = bootstrap.bootstrap_weights(p.lesions, 5)
    found = bootstrap.resampled(p, weights, 0.4)
    for row, weight in enumerate(weights):
        copied = p.subset(np.repeat(np.arange(200), weight))
        assert {name: found[name][row] for name in found} == pytest.approx(values(copied, 0.4))


@pytest.mark.parametrize("digits", [None, 1])
def test_areas_agree_with_weighted_scikit_learn(digits):
    p = random_predictions(300, 7, digits=digits)
    weights = np.random.default_rng(0).exponential(size=(4, 300)) * (np.random.default_rng(1).random((4, 300)) > 0.3)
    for k in range(7):
        positive, score = p.labels == k, p.probabilities[:, k]
        auc, ap = ranking.auc(weights, positive, score), ranking.average_precision(weights, positive, score)
        assert auc == pytest.approx([sk.roc_auc_score(positive, score, sample_weight=w) for w in weights])
        assert ap == pytest.approx([sk.average_precision_score(positive, score, sample_weight=w) for w in weights])


def test_blocks_do_not_change_the_figures(monkeypatch):
    p = random_predictions(150, 8)
    weights = bootstrap.bootstrap_weights(p.lesions, 100)
    whole = bootstrap.resampled(p, weights, 0.4)
    monkeypatch.setattr(bootstrap, "BLOCK", 7 * 150)
    for name, found in bootstrap.resampled(p, weights, 0.4).items():
        assert found == pytest.approx(whole[name], nan_ok=True), name


def test_curves_hold_points_areas_and_intervals():
    p = random_predictions(400, 9)
    found, judged = curves_module.curves(p, 200), scores.evaluate(p, 0.5, 200)
    assert list(found) == [*HAM10000, "malignant"]
    for name, curve in found.items():
        auc = judged["test"]["malignant_auc"] if name == "malignant" else judged["per_class"][name]["auc"]
        assert curve["auc"] == auc["value"]
        assert curve["auc_interval"] == (auc["low"], auc["high"])
        assert sk.auc(curve["false_positive_rate"], curve["true_positive_rate"]) == pytest.approx(curve["auc"])
        low, high = curve["average_precision_interval"]
        assert low < curve["average_precision"] < high
    average_precision = sk.average_precision_score(p.labels == 4, p.probabilities[:, 4])
    assert found["mel"]["average_precision"] == pytest.approx(average_precision)


# The bootstrap


def test_images_of_a_lesion_share_their_weight():
    lesions = np.array(["b", "a", "b", "c", "a", "b"])
    weights = bootstrap.bootstrap_weights(lesions, 3000)
    assert weights.shape == (3000, 6) and weights.dtype == np.uint8
    assert (weights[:, 0] == weights[:, 2]).all() and (weights[:, 0] == weights[:, 5]).all()
    assert (weights[:, 1] == weights[:, 4]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()  # as many lesions are drawn as there are
    assert weights.mean(axis=0) == pytest.approx(np.ones(6), abs=0.06)
    assert weights[:, 3].var() == pytest.approx(2 / 3, abs=0.06)  # multinomial: 3 draws, each with chance 1/3


def test_weights_depend_on_seed_and_lesions_alone():
    lesions = np.random.default_rng(0).integers(50, size=80)
    weights, order = bootstrap.bootstrap_weights(lesions, 100, seed=3), np.random.default_rng(1).permutation(80)
    assert (bootstrap.bootstrap_weights(lesions, 100, seed=3) == weights).all()
    assert (bootstrap.bootstrap_weights(lesions[order], 100, seed=3) == weights[:, order]).all()
    assert (bootstrap.bootstrap_weights(lesions, 100, seed=4) != weights).any()


def test_same_seed_same_numbers():
    p = random_predictions(200, 10)
    assert scores.evaluate(p, 0.4, 100, seed=1) == scores.evaluate(p, 0.4, 100, seed=1)
    first, second = (scores.evaluate(p, 0.4, 100, seed=seed)["test"] for seed in (1, 2))
    assert first["accuracy"]["value"] == second["accuracy"]["value"]
    assert first["accuracy"] != second["accuracy"]


def test_interval_is_the_percentiles_of_what_is_defined():
    assert bootstrap.interval(np.arange(1001.0)) == pytest.approx((25, 975))
    assert bootstrap.interval(np.array([np.nan, *np.arange(101.0)]), level=0.8) == pytest.approx((10, 90))
    assert np.isnan(bootstrap.interval(np.full(3, np.nan))).all()


def test_copies_of_an_image_narrow_the_interval_only_if_taken_for_lesions_of_their_own():
    p = random_predictions(300, 11)
    fourfold = np.repeat(np.arange(300), 4)
    labels, probabilities = p.labels[fourfold], p.probabilities[fourfold]
    singles = scores.evaluate(make(p.labels, p.probabilities, np.arange(300)), 0.5, 1000)["test"]["accuracy"]
    copies = scores.evaluate(make(labels, probabilities, fourfold), 0.5, 1000)["test"]["accuracy"]
    naive = scores.evaluate(make(labels, probabilities, np.arange(1200)), 0.5, 1000)["test"]["accuracy"]
    assert copies == pytest.approx(singles)
    assert width(naive) == pytest.approx(width(copies) / 2, rel=0.15)


def test_interval_covers_the_truth_when_resampled_by_lesion_and_not_by_image():
    """80 lesions of 1 to 7 images; of a lesion all images are right (chance 0.7) or all are wrong."""
    random, covered = np.random.default_rng(0), np.zeros(2)
    accuracy = {"accuracy": scores.METRICS["accuracy"]}
    for study in range(300):
        lesions = np.repeat(np.arange(80), random.integers(1, 8, 80))
        right = (random.random(80) < 0.7)[lesions]
        p = make(np.zeros(len(right), int), np.c_[right, ~right])
        for way, units in enumerate((lesions, np.arange(len(right)))):
            weights = bootstrap.bootstrap_weights(units, 200, seed=study)
            low, high = bootstrap.interval(bootstrap.resampled(p, weights, None, accuracy)["accuracy"])
            covered[way] += low <= 0.7 <= high
    assert 0.90 < covered[0] / 300 < 0.98
    assert covered[1] / 300 < 0.75


def test_interval_of_a_small_ece_holds_it():
    random = np.random.default_rng(0)
    for _ in range(20):
        confidence = random.uniform(0.5, 1, 1000)
        p = make((random.random(1000) > confidence).astype(int), np.c_[confidence, 1 - confidence])
        ece = scores.evaluate(p, 0.5, 200)["test"]["ece"]
        assert 0 <= ece["low"] < ece["value"] < ece["high"]


def test_a_class_missing_from_resamples_leaves_no_gap():
    labels = np.r_[0, np.ones(9, int), np.full(10, 2)]  # the only image of class a is missing from a third of them
    random = np.random.default_rng(0)
    judged = scores.evaluate(make(labels, random.dirichlet(np.ones(3), 20)), 0.3, 500)
    json.dumps(judged, allow_nan=False)
    for figure in judged["test"].values():
        assert figure["low"] <= figure["high"]
    assert judged["per_class"]["a"]["recall"]["low"] == judged["per_class"]["a"]["recall"]["high"]


def test_a_figure_over_all_classes_is_not_taken_over_fewer():
    labels, constant = np.r_[0, np.ones(9, int), np.full(10, 2)], np.tile([0.2, 0.5, 0.3], (20, 1))
    judged = scores.evaluate(make(labels, constant), 0.3, 500)["test"]["balanced_accuracy"]
    assert judged == {"value": pytest.approx(1 / 3), "low": pytest.approx(1 / 3), "high": pytest.approx(1 / 3)}


def test_one_class_alone_leaves_areas_and_absent_classes_undefined():
    undefined = {"value": None, "low": None, "high": None}
    judged = scores.evaluate(make([1, 1, 1], [[0.2, 0.8], [0.6, 0.4], [0.1, 0.9]]), 0.5, 50)
    for name in ("macro_auc", "malignant_auc", "malignant_sensitivity"):
        assert judged["test"][name] == undefined
    assert judged["test"]["malignant_specificity"]["value"] == pytest.approx(2 / 3)
    assert judged["test"]["macro_precision"]["value"] == 1.0  # class a is not there, so its 0 does not count
    absent = dict.fromkeys(("precision", "recall", "f1", "auc"), undefined)
    assert judged["per_class"]["a"] == {**absent, "images": 0, "lesions": 0}
    assert curves_module.curves(make([1, 1], [[0.2, 0.8], [0.6, 0.4]])) == {}


def test_two_thousand_resamples_of_two_thousand_images_take_less_than_twenty_seconds():
    p, start = random_predictions(2000, 12), time.perf_counter()
    scores.evaluate(p, 0.4)
    assert time.perf_counter() - start < 20


# Comparison and judgement


def test_a_model_does_not_differ_from_itself_and_pairs_are_sharper_than_two_intervals():
    p = random_predictions(500, 13)
    none = {"value": 0.0, "low": 0.0, "high": 0.0}
    assert comparison.paired_difference(p, p, "balanced_accuracy", 100) == none
    other = random_predictions(500, 13, digits=1)  # the same model, rounded
    difference = comparison.paired_difference(p, other, "brier", 500)
    first, second = (scores.evaluate(q, 0.5, 500)["test"]["brier"] for q in (p, other))
    assert difference["value"] == pytest.approx(first["value"] - second["value"])
    assert width(difference) < 0.5 * np.hypot(width(first), width(second))


def test_pairs_have_a_sign():
    better, worse = random_predictions(500, 14, skill=3), random_predictions(500, 14, skill=1)
    assert comparison.paired_difference(better, worse, "macro_auc", 200)["low"] > 0
    assert comparison.paired_difference(worse, better, "macro_auc", 200)["high"] < 0
    calibrated, bold = make([0, 1] * 50, [[0.5, 0.5]] * 100), make([0, 1] * 50, [[0.9, 0.1]] * 100)
    assert comparison.paired_difference(calibrated, bold, "ece", 200)["high"] < 0


def test_only_like_is_compared_with_like():
    with pytest.raises(StudyError, match="same images in the same order"):
        comparison.paired_difference(random_predictions(50, 0), random_predictions(50, 1), "accuracy")
    p = random_predictions(50, 0)
    with pytest.raises(StudyError, match="same images in the same order"):
        comparison.paired_difference(
            p, Predictions(p.labels, p.probabilities, p.lesions[::-1], HAM10000, MALIGNANT), "ece"
        )
    with pytest.raises(TypeError):  # a sensitivity needs a threshold, and each model has its own
        comparison.paired_difference(p, p, "malignant_sensitivity", 5)


def test_judge_chooses_on_validation_and_judges_test():
    p = random_predictions(300, 15)
    table = pd.DataFrame(p.probabilities, columns=HAM10000)
    table["image_id"] = [f"ISIC_{i}" for i in range(300)]
    table["part"], table["label"] = np.repeat(["validation", "test", "train"], 100), np.array(HAM10000)[p.labels]
    classes = [SimpleNamespace(code=code, malignant=m) for code, m in zip(HAM10000, MALIGNANT, strict=True)]
    judged = judge_module.judge(table, classes, dict(zip(table["image_id"], p.lesions, strict=True)), 0.8, 50)
    threshold = malignancy.operating_threshold(p.subset(np.arange(100)), 0.8)
    validation, test = (scores.evaluate(p.subset(np.arange(k, k + 100)), threshold, 50) for k in (0, 100))
    chosen = {"threshold": threshold, "temperature": calibration.temperature(p.subset(np.arange(100)))}
    assert judged == {**chosen, "validation": validation["test"], **test}


@given(
    scores=st.lists(
        st.tuples(st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0]), st.booleans()), min_size=1, max_size=40
    ),
    sensitivity=st.sampled_from([0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 1.0]),
)
def test_threshold_is_the_largest_that_reaches_the_sensitivity(scores, sensitivity):
    score, malignant = np.array([s for s, _ in scores]), np.array([m for _, m in scores])
    p = make(np.where(malignant, 0, 1), np.c_[score, 1 - score])
    if not malignant.any():
        with pytest.raises(StudyError, match="No image is malignant"):
            malignancy.operating_threshold(p, sensitivity)
        return
    threshold = malignancy.operating_threshold(p, sensitivity)
    assert values(p, threshold)["malignant_sensitivity"] >= sensitivity
    for higher in score[score > threshold]:
        assert values(p, higher)["malignant_sensitivity"] < sensitivity


@pytest.mark.parametrize("sensitivity", [0, -0.1, 1.1, 90])
def test_threshold_for_an_impossible_sensitivity(sensitivity):
    with pytest.raises(StudyError, match="above 0 and at most 1"):
        malignancy.operating_threshold(random_predictions(50, 0), sensitivity)


# Temperature and ensemble


@pytest.mark.parametrize("known", [0.5, 1.0, 2.5])
def test_temperature_is_recovered(known):
    """Labels are drawn from softmax(logits), the model says softmax(known * logits): `known` undoes it."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 1, (20_000, 3))
    truth = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (truth.cumsum(axis=1) < random.random((20_000, 1))).sum(axis=1)
    said = truth**known / (truth**known).sum(axis=1, keepdims=True)
    predictions = make(labels, said)
    assert calibration.temperature(predictions) == pytest.approx(known, rel=0.04)
    undone = calibration.calibrated(predictions, known)
    assert undone.probabilities == pytest.approx(truth, abs=2e-3)  # what is below SMALLEST is lost
    assert (undone.predicted == predictions.predicted).all()
    assert values(undone)["ece"] < 0.02


def test_temperature_by_hand():
    """Two classes at logits (1, 0), three of four right: the best probability is 3/4, so T = 1 / log 3."""
    said = 1 / (1 + np.exp(-1))
    predictions = make([0, 0, 0, 1], [[said, 1 - said]] * 4)
    assert calibration.temperature(predictions) == pytest.approx(1 / np.log(3), abs=1e-4)


def test_temperature_stays_within_its_bounds_and_takes_zeros():
    sure = make([0, 1], [[1, 0], [0, 1]])
    assert calibration.TEMPERATURES[0] <= calibration.temperature(sure) < 0.5  # all that low are equally good
    wrong = make([1, 0], [[1, 0], [0, 1]])
    assert calibration.temperature(wrong) == pytest.approx(calibration.TEMPERATURES[1], rel=0.01)
    assert calibration.calibrated(wrong, 20).probabilities[0, 1] > 0.3


def test_biases_undo_what_training_with_other_classes_did():
    """Labels are drawn from softmax(logits), the model says softmax(2 * (logits + shift)): half of it, and -shift."""
    random, shift = np.random.default_rng(0), np.array([2.0, -0.5, -1.5])
    logits = random.normal(0, 1, (20_000, 3)) + [2, 0, 0]
    truth = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (truth.cumsum(axis=1) < random.random((20_000, 1))).sum(axis=1)
    said = np.exp(2 * (logits - shift))
    predictions = make(labels, said / said.sum(axis=1, keepdims=True))
    temperature, biases = calibration.bias_corrected(predictions)
    assert temperature == pytest.approx(2, rel=0.05) and biases == pytest.approx(shift, abs=0.1)
    undone = calibration.calibrated(predictions, temperature, biases).probabilities.mean(axis=0)
    assert undone == pytest.approx(np.bincount(labels) / len(labels), abs=0.01)


def test_a_class_that_is_not_there_keeps_a_finite_bias():
    temperature, biases = calibration.bias_corrected(make([0, 0, 1] * 20, [[0.5, 0.3, 0.2]] * 60))
    low, high = calibration.TEMPERATURES
    assert low <= temperature <= high and np.isfinite(biases).all() and biases.argmin() == 2


def test_an_ensemble_is_the_mean_of_its_members():
    one, other = make([0, 1], [[0.9, 0.1], [0.6, 0.4]]), make([0, 1], [[0.5, 0.5], [0.2, 0.8]])
    assert predictions.ensemble([one, other]).probabilities.tolist() == [[0.7, 0.3], [0.4, pytest.approx(0.6)]]
    assert predictions.ensemble([one]).probabilities.tolist() == one.probabilities.tolist()
    with pytest.raises(StudyError, match="same images in the same order"):
        predictions.ensemble([one, make([1, 0], [[0.5, 0.5]] * 2)])


# Pairs of models


def answering(right, lesions=None):
    """A model that is right where `right` says so, for images that are all of class a."""
    right = np.asarray(right, bool)
    return make(np.zeros(len(right), int), np.c_[right, ~right], lesions)


def test_mcnemar_by_hand():
    """One lesion is won by the first and nine by the second: 2 (1 + 10) / 2**10."""
    first, second = np.r_[1, [0] * 9, [1] * 20, [0] * 5], np.r_[0, [1] * 9, [1] * 20, [0] * 5]
    found = comparison.mcnemar(answering(first), answering(second))
    assert found == {"lesions_first": 1, "lesions_second": 9, "p": pytest.approx(22 / 1024)}
    assert comparison.mcnemar(answering(second), answering(first))["p"] == pytest.approx(22 / 1024)
    none = {"lesions_first": 0, "lesions_second": 0, "p": 1.0}
    assert comparison.mcnemar(answering(first), answering(first)) == none


def test_mcnemar_gives_a_lesion_one_verdict():
    lesions = ["a"] * 3 + ["b"] * 2 + ["c"] * 2
    # Lesion a: 2 images to 1. Lesion b: one each, so none wins. Lesion c: 2 to 0.
    first, second = answering([1, 1, 0, 1, 0, 1, 1], lesions), answering([0, 0, 1, 0, 1, 0, 0], lesions)
    assert comparison.mcnemar(first, second) == {"lesions_first": 2, "lesions_second": 0, "p": 0.5}


def test_mcnemar_holds_its_level_by_lesion_and_not_by_image():
    """Two equally good models whose answers are the same for all of a lesion's six images."""
    random, called = np.random.default_rng(0), np.zeros(2)
    for _ in range(200):
        models, lesions = [np.repeat(random.random(60) < 0.7, 6) for _ in range(2)], np.repeat(np.arange(60), 6)
        for way, units in enumerate((lesions, None)):
            called[way] += comparison.mcnemar(*(answering(right, units) for right in models))["p"] < 0.05
    assert called[0] / 200 < 0.07
    assert called[1] / 200 > 0.3


def test_holm_by_hand():
    # 4 x 0.005, 3 x 0.01, 2 x 0.03, then 0.04 which may not fall below the one before it.
    assert comparison.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert comparison.holm([0.5, 0.9]) == pytest.approx([1, 1])
    assert comparison.holm([]).shape == (0,)


def test_holm_calls_something_different_in_one_study_of_twenty():
    p_values = np.random.default_rng(0).random((4000, 10))
    assert np.mean([comparison.holm(row).min() < 0.05 for row in p_values]) == pytest.approx(0.05, abs=0.012)


def test_pairwise_has_every_pair_once_and_agrees_with_one_pair():
    models = {f"skill {k}": random_predictions(300, 21, skill=k) for k in (3, 2, 1)}
    table = comparison.pairwise(models, "accuracy", 100)
    assert list(zip(table["first"], table["second"], strict=True)) == [
        ("skill 3", "skill 2"),
        ("skill 3", "skill 1"),
        ("skill 2", "skill 1"),
    ]
    for row in table.to_dict("records"):
        pair = models[row["first"]], models[row["second"]]
        difference = comparison.paired_difference(*pair, "accuracy", 100)
        assert {key: row[key] for key in difference} == difference
        assert {key: row[key] for key in ("lesions_first", "lesions_second", "p")} == comparison.mcnemar(*pair)
    assert table["p_holm"].tolist() == comparison.holm(table["p"]).tolist()
    assert len(comparison.pairwise({"alone": models["skill 1"]}, resamples=10)) == 0
    with pytest.raises(StudyError, match="same images in the same order"):
        comparison.pairwise({"one": models["skill 1"], "other": random_predictions(200, 21)}, resamples=10)


def test_interval_of_a_difference_covers_it_and_shared_luck_narrows_it():
    """Both models are right where a lesion is easy (chance 0.6); where it is not, with chances 0.5 and 0.2."""
    random, covered, studies = np.random.default_rng(0), 0, 200
    for study in range(studies):
        lesions = np.repeat(np.arange(100), random.integers(1, 5, 100))
        easy, luck = random.random(100) < 0.6, random.random((2, 100))
        models = [answering((easy | (luck[k] < chance))[lesions], lesions) for k, chance in enumerate((0.5, 0.2))]
        found = comparison.paired_difference(*models, "accuracy", 200, seed=study)
        covered += found["low"] <= 0.4 * (0.5 - 0.2) <= found["high"]
    assert 0.90 < covered / studies < 0.985
    singles = [scores.measure(model, "accuracy", resamples=200) for model in models]
    assert width(found) < 0.9 * np.hypot(*map(width, singles))


def test_measure_is_the_figure_of_the_whole_judgement():
    p = random_predictions(300, 22)
    judged = scores.evaluate(p, 0.4, 100)["test"]
    for name in ("ece", "balanced_accuracy", "malignant_sensitivity"):
        assert scores.measure(p, name, 0.4, 100) == judged[name]


def test_agreement_is_cohens_kappa():
    # Both say a in half of the images, and 6 of 8 answers agree: (6/8 - 1/2) / (1 - 1/2).
    one, other = np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.array([0, 0, 0, 1, 0, 1, 1, 1])
    models = {name: make([0] * 8, np.eye(2)[answers]) for name, answers in (("one", one), ("other", other))}
    models["constant"] = models["also constant"] = make([0] * 8, np.eye(2)[[0] * 8])
    table = comparison.agreement(models)
    assert table.loc["one", "other"] == table.loc["other", "one"] == pytest.approx(0.5)
    assert np.diag(table).tolist() == [1, 1, 1, 1]
    assert table.loc["constant", "one"] == 0 and table.loc["constant", "also constant"] == 1


def test_what_all_miss_and_what_chance_would_give():
    labels = np.repeat([0, 1], [4, 2])
    answers = [[1, 1, 0, 0, 1, 0], [1, 0, 1, 0, 0, 0]]
    missed, expected = comparison.missed_by_all([make(labels, np.eye(2)[chosen]) for chosen in answers])
    assert missed.tolist() == [True, False, False, False, False, True]
    assert expected == pytest.approx((4 * 1 / 2 * 1 / 2 + 2 * 1 / 2 * 1) / 6)


# Operating points and decisions


def two_sided(n, separation, seed, malignant_share=0.3):
    """Scores with a known answer: benign N(0, 1), malignant N(separation, 1), squeezed into (0, 1)."""
    random = np.random.default_rng(seed)
    malignant = random.random(n) < malignant_share
    score = 1 / (1 + np.exp(-(random.normal(size=n) + separation * malignant)))
    return make(np.where(malignant, 0, 1), np.c_[score, 1 - score])


@pytest.mark.parametrize(("wanted", "threshold"), [(0.5, 0.2), (0.75, 0.3), (0.76, 0.4), (1.0, 0.4)])
def test_specific_threshold_by_hand(wanted, threshold):
    scores = [0.1, 0.2, 0.3, 0.4, 0.35, 0.9]
    p = make([1, 1, 1, 1, 0, 0], np.c_[scores, 1 - np.array(scores)])
    found = malignancy.specific_threshold(p, wanted)
    assert found > threshold and found == pytest.approx(threshold)
    assert values(p, found)["malignant_specificity"] >= wanted
    assert values(p, threshold)["malignant_specificity"] < wanted


def test_specific_threshold_refuses_what_cannot_be():
    with pytest.raises(StudyError, match="above 0 and at most 1"):
        malignancy.specific_threshold(random_predictions(50, 0), 90)
    with pytest.raises(StudyError, match="No image is benign"):
        malignancy.specific_threshold(make([0, 0], [[0.5, 0.5]] * 2))


def test_operating_points_of_two_normal_distributions():
    """At specificity s the sensitivity is P(N(2, 1) > z_s), and the other way round; the AUC is P(N(2, 2) > 0)."""
    normal = NormalDist()
    parts = two_sided(20_000, 2, 0), two_sided(20_000, 2, 1)
    table = malignancy.compare_malignancy(parts, parts, 50)
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
    table = malignancy.compare_malignancy(tuple(dedicated), summed, 200)
    test = scores.evaluate(summed[1], 0.5, 200)["test"]
    assert table["second"].loc[("ranking", "AUC")].to_dict() == pytest.approx(test["malignant_auc"])
    assert table.loc[("ranking", "AUC"), ("difference", "low")] > 0
    average_precision = sk.average_precision_score(summed[1].is_malignant, summed[1].malignant_score)
    assert table.loc[("ranking", "average precision"), ("second", "value")] == pytest.approx(average_precision)
    with pytest.raises(StudyError, match="same images in the same order"):
        malignancy.compare_malignancy(tuple(dedicated), summed[::-1], 10)


def test_decision_curve_of_a_perfect_and_of_a_useless_model():
    labels, thresholds = np.repeat([0, 1], [25, 75]), np.array([0.1, 0.2, 0.5])
    perfect = malignancy.decision_curve(make(labels, np.eye(2)[labels]), thresholds, 50)
    assert perfect["value"].tolist() == [0.25] * 3  # a quarter is malignant, and nobody is treated in vain
    useless = malignancy.decision_curve(make(labels, [[0.25, 0.75]] * 100), thresholds, 50)
    everybody = [0.25 - 0.75 / 9, 0.25 - 0.75 / 4, 0.25 - 0.75]
    assert useless["all"].tolist() == perfect["all"].tolist() == pytest.approx(everybody)
    assert useless["value"].tolist() == pytest.approx([*everybody[:2], 0])  # all are treated, then none
    assert useless.index.tolist() == thresholds.tolist()


def test_decision_curve_by_hand_and_its_interval():
    p = make([0, 0, 1, 1, 1], [[0.9, 0.1], [0.3, 0.7], [0.6, 0.4], [0.2, 0.8], [0.1, 0.9]])
    found = malignancy.decision_curve(p, np.array([0.25, 0.5]), 2000)
    assert found["value"].tolist() == pytest.approx([2 / 5 - 1 / 5 / 3, 1 / 5 - 1 / 5])
    assert ((found["low"] < found["value"]) & (found["value"] < found["high"])).all()
    assert found.loc[0.25, ["low", "high"]].tolist() == pytest.approx([-2 / 15, 14 / 15], abs=0.15)


def test_interval_of_the_net_benefit_covers_it():
    """Scores are 0.8 or 0.2; three in ten are malignant, and of these 0.7 score high, of the benign 0.1."""
    truth, covered = 0.3 * 0.7 - 0.7 * 0.1 * (0.4 / 0.6), 0
    for study in range(200):
        random = np.random.default_rng(study)
        malignant = random.random(300) < 0.3
        score = np.where(random.random(300) < np.where(malignant, 0.7, 0.1), 0.8, 0.2)
        p = make(np.where(malignant, 0, 1), np.c_[score, 1 - score])
        found = malignancy.decision_curve(p, np.array([0.4]), 200, seed=study).iloc[0]
        covered += found["low"] <= truth <= found["high"]
    assert 0.90 < covered / 200 < 0.985


# Groups


def test_by_group_counts_and_judges_each_group():
    p = random_predictions(300, 16)
    site = pd.Categorical(["back"] * 150 + ["face"] * 135 + ["unknown"] * 15, ["face", "back", "unknown", "never"])
    table = subgroups.by_group(p, site, 0.4, 100)
    assert table.index.tolist() == ["face", "back", "unknown"]
    assert table["images"].tolist() == [135, 150, 15]
    back = p.subset(site == "back")
    assert table.loc["back", "lesions"] == len(set(p.lesions[:150]))
    assert table.loc["back", "malignant_images"] == np.isin(p.labels[:150], [0, 1, 4]).sum()
    alone = scores.evaluate(back, 0.4, 100)["test"]
    for name in subgroups.GROUP_METRICS:
        figures = table.loc["back", [name, f"{name}_low", f"{name}_high"]].tolist()
        assert figures == pytest.approx(list(alone[name].values()))
    assert table.loc["unknown"].drop(["images", "lesions", "malignant_images"]).isna().all()


def test_by_group_takes_a_group_without_malignant_images():
    p = make([1] * 30, [[0.2, 0.8]] * 30)
    table = subgroups.by_group(p, ["female"] * 30, 0.5, 20)
    assert table.loc["female", [name for name in subgroups.GROUP_METRICS if "malignant" in name]].isna().all()
    assert table.loc["female", "accuracy_low"] == 1.0


def test_by_group_wants_ten_malignant_lesions_for_malignancy():
    labels, chances = [0] * 10 + [1] * 10, np.tile([0.5, 0.5], (20, 1))
    enough = subgroups.by_group(make(labels, chances), ["x"] * 20, 0.5, 20)
    assert enough.loc["x", "malignant_auc"] == 0.5
    two_views = [*range(9), 8, *range(10, 20)]  # ten malignant images, but of nine lesions
    fewer = subgroups.by_group(make(labels, chances, two_views), ["x"] * 20, 0.5, 20)
    assert np.isnan(fewer.loc["x", "malignant_auc"]) and fewer.loc["x", "accuracy"] == 0.5


def test_by_patient_lines_up_age_sex_and_site():
    p = random_predictions(100, 17)
    patients = pd.DataFrame({"age": [20.0] * 60 + [np.nan] * 40, "sex": "male", "site": ["ear"] * 50 + ["back"] * 50})
    table = subgroups.by_patient(p, patients, 0.4, 20)
    names = [
        "age 0-29 (n = 60)",
        "age missing (n = 40)",
        "sex male (n = 100)",
        "site back (n = 50)",
        "site ear (n = 50)",
    ]
    assert table.index.tolist() == names
    assert table.loc["sex male (n = 100)", "accuracy"] == scores.evaluate(p, 0.4, 2)["test"]["accuracy"]["value"]


@pytest.mark.parametrize("groups", [["a"] * 49, ["a"] * 49 + [None]])
def test_every_image_needs_a_group(groups):
    with pytest.raises(StudyError, match="one group for each image"):
        subgroups.by_group(random_predictions(50, 0), groups, 0.5)


def test_age_groups():
    found = subgroups.age_group(pd.Series([0, 29, 29.9, 30, 44, 45, 60, 74, 75, 85, np.nan]))
    assert found.tolist() == ["0-29"] * 3 + ["30-44"] * 2 + ["45-59"] + ["60-74"] * 2 + ["75+"] * 2 + ["missing"]
    assert found.ordered and found.categories.tolist() == ["0-29", "30-44", "45-59", "60-74", "75+", "missing"]


# Input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [], "probabilities": np.empty((0, 2)), "lesions": []}, "no images"),
        ({"labels": [0, 2]}, "whole numbers from 0 to 1"),
        ({"labels": [-1, 0]}, "whole numbers from 0 to 1"),
        ({"labels": [0.0, 1.0]}, "whole numbers from 0 to 1"),
        ({"labels": [0]}, "do not fit"),
        ({"lesions": ["x"]}, "do not fit"),
        ({"malignant": (True,)}, "do not fit"),
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


def test_subset_of_nothing_is_refused():
    with pytest.raises(StudyError, match="no images"):
        random_predictions(50, 0).subset(np.zeros(50, bool))


def test_among_fewer_classes_the_rest_of_the_probability_does_not_count():
    """Of (0.2, 0.5, 0.3), among the first and the last, 0.4 and 0.6 are left; an image of another class goes."""
    probabilities = [[0.2, 0.5, 0.3], [0.0, 1.0, 0.0], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1]]
    whole = Predictions([2, 0, 0, 1], probabilities, list("abcd"), ("nv", "bcc", "mel"), (False, True, True))
    both = whole.among(["mel", "nv"])
    assert (both.classes, both.malignant, list(both.lesions)) == (("mel", "nv"), (True, False), ["a", "b", "c"])
    assert both.labels.tolist() == [0, 1, 1]
    assert np.allclose(both.probabilities, [[0.6, 0.4], [0.5, 0.5], [1 / 7, 6 / 7]])


TABLE = pd.DataFrame(
    {"image_id": ["i1", "i2"], "part": "test", "label": ["nv", "mel"], "nv": [0.7, 0.4], "mel": [0.3, 0.6]},
    index=[7, 3],
)
LESIONS = pd.Series({"i2": "l2", "i1": "l1", "i0": "l0"})


def test_predictions_from_the_contracts_table():
    p = Predictions.from_table(TABLE, ["mel", "nv"], [True, False], LESIONS)
    assert p.labels.tolist() == [1, 0]
    assert p.probabilities.tolist() == [[0.3, 0.7], [0.6, 0.4]]
    assert p.lesions.tolist() == ["l1", "l2"]
    assert p.is_malignant.tolist() == [False, True]
    assert p.predicted.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("table", "lesions", "message"),
    [
        (TABLE.drop(columns="mel"), LESIONS, "no column mel"),
        (TABLE.drop(columns=["image_id", "label"]), LESIONS, "no column image_id, label"),
        (TABLE.assign(label=["nv", "df"]), LESIONS, "1 images are labelled with none of the classes mel, nv, i2 first"),
        (TABLE.assign(image_id="i1"), LESIONS, "1 images are there more than once, i1 first"),
        (TABLE, {"i1": "l1"}, "1 images are of no known lesion, i2 first"),
    ],
)
def test_tables_that_do_not_fit_are_refused(table, lesions, message):
    with pytest.raises(StudyError, match=message):
        Predictions.from_table(table, ["mel", "nv"], [True, False], lesions)


def test_over_seeds_covers_lesions_and_seeds():
    """Two seeds that differ by 0.2, each known to 0.01: the mean is between, and the interval as wide as the seeds."""
    random = np.random.default_rng(0)
    figures = np.array([[0.5], [0.7]])
    drawn = np.hstack([figures, figures + random.normal(0, 0.01, (2, 2000))])
    both, one = comparison.over_seeds(drawn), comparison.over_seeds(drawn[:1])
    assert both["value"] == pytest.approx(0.6) and both["low"] < 0.51 and both["high"] > 0.69
    assert one["value"] == 0.5 and one["high"] - one["low"] == pytest.approx(2 * 1.96 * 0.01, rel=0.1)


def test_seeded_is_the_figure_and_its_paired_resamples():
    random = np.random.default_rng(0)
    labels, lesions = np.arange(60) % 3, np.array([f"l{k // 2}" for k in range(60)])
    runs = [
        Predictions(labels, random.dirichlet(np.ones(3), 60), lesions, ("a", "b", "c"), (True, False, False))
        for _ in range(2)
    ]
    drawn = comparison.seeded(runs, "accuracy", 200, 0)
    assert drawn.shape == (2, 201)
    assert drawn[:, 0] == pytest.approx([(run.predicted == labels).mean() for run in runs])
    apart = comparison.over_seeds(drawn[:1] - drawn[1:])
    expected = comparison.paired_difference(*runs, "accuracy", 200, 0)
    assert apart == pytest.approx(expected)


def test_joined_parts_are_judged_as_one():
    whole = random_predictions(90, 0)
    parts = [whole.subset(np.arange(start, start + 30)) for start in (0, 30, 60)]
    again = predictions.joined(parts)
    assert np.array_equal(again.probabilities, whole.probabilities) and np.array_equal(again.lesions, whole.lesions)
    assert scores.measure(again, "macro_auc", resamples=50) == scores.measure(whole, "macro_auc", resamples=50)
    with pytest.raises(StudyError, match="different classes"):
        predictions.joined([whole, replace(whole, malignant=(True,) * 7)])


def test_an_unpaired_difference_covers_the_true_one_and_is_wider_than_a_paired_one():
    def answers(count, right, seed):
        random = np.random.default_rng(seed)
        correct = random.random(count) < right
        probabilities = np.where(correct[:, None], [0.9, 0.1], [0.1, 0.9])
        return Predictions(np.zeros(count, int), probabilities, np.arange(count).astype(str), ("a", "b"), (False, True))

    covered = 0
    for seed in range(100):
        found = comparison.unpaired_difference(
            answers(150, 0.8, seed), answers(200, 0.6, 1000 + seed), "accuracy", 200, seed
        )
        covered += found["low"] <= 0.2 <= found["high"]
    assert 89 <= covered <= 100
    same = answers(150, 0.8, 0)
    assert comparison.unpaired_difference(same, same, "accuracy", 200)["high"] > 0
    assert comparison.paired_difference(same, same, "accuracy", 200)["high"] == 0


def test_means_of_columns_leave_out_what_is_not_known():
    random = np.random.default_rng(0)
    lesions = np.repeat(np.arange(60), 2)
    values = random.random(120)
    holes = np.where(np.arange(120) % 3, values, np.nan)
    columns = {"all": values, "holes": holes, "none": np.full(120, np.nan), "event": values > 0.5, "one": np.ones(120)}
    table = means_module.means(columns, lesions, 500)
    assert list(table.index) == list(columns) and list(table.columns) == ["value", "low", "high"]
    assert np.allclose(
        table["value"], [values.mean(), np.nanmean(holes), np.nan, (values > 0.5).mean(), 1], equal_nan=True
    )
    assert table.loc["one"].tolist() == [1, 1, 1] and table.loc["none"].isna().all()
    error = values.reshape(60, 2).mean(axis=1).std() / np.sqrt(60)  # of a mean over lesions of two images each
    own = table.loc["all"]
    assert own.high - own.low == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert table.loc["holes"].high - table.loc["holes"].low > own.high - own.low


def test_a_difference_of_means_has_one_set_of_resamples():
    random = np.random.default_rng(1)
    lesions, group = np.repeat(np.arange(80), 2), np.arange(160) % 2 == 0
    shared = np.repeat(random.normal(size=80), 2)  # of a lesion, whose two images are in one group each
    columns = {"shift": shared + 0.3 * group, "own": random.normal(size=160), "none": np.where(group, np.nan, 1.0)}
    table = means_module.mean_differences(columns, group, lesions, 500)
    assert table.loc["shift"].to_numpy() == pytest.approx([0.3] * 3)
    own = columns["own"]
    assert table.loc["own"].value == pytest.approx(own[group].mean() - own[~group].mean())
    error = np.sqrt(own[group].var() / 80 + own[~group].var() / 80)
    assert table.loc["own"].high - table.loc["own"].low == pytest.approx(2 * 1.96 * error, rel=0.2)
    assert table.loc["none"].isna().all()
    parts = [means_module.means({"own": own[rows]}, lesions[rows], 500) for rows in (group, ~group)]
    assert parts[0].loc["own"].value - parts[1].loc["own"].value == pytest.approx(table.loc["own"].value)


def test_shares_of_all_or_nothing_have_the_exact_bound_of_the_lesions():
    lesions = np.repeat(np.arange(30), 2)
    half = np.where(np.arange(60) < 20, 1.0, np.nan)
    columns = {"all": np.ones(60), "none": np.zeros(60, bool), "known of 10": half, "unknown": np.full(60, np.nan)}
    columns |= {"some": np.arange(60) < 20, "other": np.full(60, 0.5)}
    table = means_module.shares(columns, lesions, 200)
    for name, right, trials in (("all", 30, 30), ("none", 0, 30), ("known of 10", 10, 10)):
        exact = binomtest(right, trials).proportion_ci(0.95, "exact")
        assert table.loc[name, ["low", "high"]].tolist() == pytest.approx([exact.low, exact.high])
    assert table.loc["unknown"].isna().all()
    same = ["some", "other"]
    pd.testing.assert_frame_equal(
        table.loc[same], means_module.means({name: columns[name] for name in same}, lesions, 200)
    )


def of_strata(rows):
    """Columns group, stratum and right, a row an image, from rows (group, stratum, right answers, wrong answers)."""
    table = [(group, stratum, 1.0) for group, stratum, right, _ in rows for _ in range(right)]
    table += [(group, stratum, 0.0) for group, stratum, _, wrong in rows for _ in range(wrong)]
    return tuple(map(np.array, zip(*table, strict=True)))


def test_a_standardised_difference_has_the_mix_of_the_group():
    # In a the group is 0.25 ahead with 4 images, in b 0.5 behind with 1; c and d have images on one side only.
    rows = [(True, "a", 3, 1), (False, "a", 5, 5), (True, "b", 0, 1), (False, "b", 1, 1)]
    rows += [(False, "c", 9, 0), (True, "d", 2, 0)]
    group, strata, right = of_strata(rows)
    names = np.arange(len(group))
    columns = {"right": right, "none": np.full(len(group), np.nan), "of a": np.where(strata == "a", right, np.nan)}
    table = means_module.standardised_differences(columns, group, strata, names, 200)
    assert table["value"].tolist() == pytest.approx([0.1, np.nan, 0.25], nan_ok=True)
    assert table.loc["right"].low < 0.1 < table.loc["right"].high and table.loc["none"].isna().all()
    apart = means_module.standardised_differences(columns, group, np.where(group, "x", "y"), names, 20)
    assert apart.isna().all(axis=None)
    alike = means_module.standardised_differences(columns, group, np.zeros(len(group)), names, 200)
    pd.testing.assert_frame_equal(alike, means_module.mean_differences(columns, group, names, 200))


def test_a_stratum_that_a_resample_lacks_is_left_out_of_that_resample():
    # The one lesion of a without it is missing in every third resample; what is left there, b, has no difference.
    group, strata, right = of_strata([(True, "a", 30, 0), (False, "a", 0, 1), (True, "b", 30, 0), (False, "b", 30, 0)])
    row = means_module.standardised_differences({"right": right}, group, strata, np.arange(len(group)), 300).loc[
        "right"
    ]
    assert row.value == pytest.approx(0.5) and row.low == 0 and row.high > 0.5


def test_the_interval_of_a_standardised_difference_covers_the_true_one():
    covered, plain = 0, []
    for seed in range(100):
        random = np.random.default_rng(seed)
        strata = random.integers(0, 2, 300)
        group = random.random(300) < np.where(strata == 1, 0.3, 0.1)  # more often where answers are seldom right
        right = random.random(300) < np.where(strata == 1, 0.5, 0.9) - 0.2 * group
        own = {"right": right}, group
        found = means_module.standardised_differences(*own, strata, np.arange(300), 200, seed).loc["right"]
        covered += found.low <= -0.2 <= found.high
        plain.append(means_module.mean_differences(*own, np.arange(300), 10).loc["right"].value)
    assert 88 <= covered <= 100 and np.mean(plain) < -0.25


def answers_of_kinds(rows):
    """Predictions from rows (label, kind, right answers, wrong answers), each image its own lesion, and the kinds."""
    table = []
    for label, kind, right, wrong in rows:
        table += [(label, kind, True)] * right + [(label, kind, False)] * wrong
    labels, kinds, right = map(np.array, zip(*table, strict=True))
    return make(labels, np.eye(2)[np.where(right, labels, 1 - labels)]), kinds


def test_what_only_follows_kind_and_label_is_no_excess():
    # Images of kind 1 are easier, in both sets alike, and the chosen ones are of that kind.
    first, kinds = answers_of_kinds([(0, 1, 18, 2), (0, 0, 10, 10), (1, 1, 9, 1), (1, 0, 5, 5)])
    second, others = answers_of_kinds([(0, 1, 9, 1), (0, 0, 6, 6), (1, 1, 27, 3), (1, 0, 8, 8)])
    table = expected.excess(first, second, (kinds, others), kinds == 1, 300)
    assert np.allclose(table["value"], 0) and (table["low"] < 0).all() and (table["high"] > 0).all()
    assert table["images"].to_dict() == {"chosen": 30, "others": 30, "difference": 60}


def test_excess_is_a_mean_over_labels():
    # Of label 0 the chosen are right in 1.0, their like in 0.5; of label 1 in 0.5 and 0.25. Others do as their like.
    first, kinds = answers_of_kinds([(0, 1, 40, 0), (0, 0, 10, 10), (1, 1, 5, 5), (1, 0, 4, 6)])
    second, others = answers_of_kinds([(0, 1, 5, 5), (0, 0, 8, 8), (1, 1, 5, 15), (1, 0, 4, 6)])
    table = expected.excess(first, second, (kinds, others), kinds == 1, 300)
    assert np.allclose(table["value"], [0.375, 0, 0.375]) and list(table.index) == ["chosen", "others", "difference"]
    assert (table["low"] < table["value"]).all() and (table["value"] < table["high"]).all()


def test_too_few_are_not_held_against_each_other():
    # Of label 1 the second set has four lesions of kind 1 only, so label 1 has no chosen images and is left out.
    first, kinds = answers_of_kinds([(0, 1, 10, 0), (0, 0, 5, 5), (1, 1, 10, 0), (1, 0, 5, 5)])
    second, others = answers_of_kinds([(0, 1, 5, 5), (0, 0, 5, 5), (1, 1, 2, 2), (1, 0, 5, 5)])
    table = expected.excess(first, second, (kinds, others), kinds == 1, 50)
    assert table["images"].to_dict() == {"chosen": 10, "others": 10, "difference": 20}
    assert set(table["classes"]) == {first.classes[0]}
    assert table.loc["difference", "value"] == pytest.approx(0.5)
    only = expected.excess(first, second, (kinds, others), np.zeros(len(kinds), bool), 50)
    assert list(only.index) == ["others"]
    nothing = expected.excess(first, second, (kinds, np.full(len(others), 2)), kinds == 1, 50)
    assert nothing.empty and list(nothing.columns) == ["value", "low", "high", "images", "classes"]


def test_the_interval_of_an_excess_covers_the_true_one():
    covered = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        chances = {(0, 1): 0.9, (0, 0): 0.6, (1, 1): 0.7, (1, 0): 0.4}
        sets = []
        for leak, count in ((0.1, 60), (0.0, 80)):
            counts = {key: random.binomial(count, chance + leak * key[1]) for key, chance in chances.items()}
            sets += answers_of_kinds([(*key, own, count - own) for key, own in counts.items()])
        first, kinds, second, others = sets
        found = expected.excess(first, second, (kinds, others), kinds == 1, 200, seed).loc["difference"]
        covered += found.low <= 0.1 <= found.high
    assert covered >= 53


def test_overconfidence_is_confidence_minus_accuracy():
    sure = make([0] * 100, [[0.9, 0.1]] * 70 + [[0.1, 0.9]] * 30)
    found = scores.overconfidence(sure, 500)
    assert found["value"] == pytest.approx(0.9 - 0.7) and 0.05 < found["low"] < 0.2 < found["high"] < 0.35
    honest = scores.overconfidence(make([0] * 100, [[0.9, 0.1]] * 90 + [[0.1, 0.9]] * 10), 500)
    assert honest["value"] == pytest.approx(0) and honest["low"] < 0 < honest["high"]


def test_marks_tell_agreement_of_the_two_tests_from_contradiction():
    rows = [
        (0.1, 0.05, 0.2, 30, 10, 0.001, "**"),
        (0.1, 0.05, 0.2, 10, 30, 0.001, "†"),
        (-0.1, -0.2, -0.05, 10, 30, 0.001, "**"),
        (-0.1, -0.2, -0.05, 30, 10, 0.001, "†"),
        (0.1, 0.05, 0.2, 10, 30, 0.05, "*"),
        (0.1, -0.05, 0.2, 30, 10, 0.001, ""),
    ]
    columns = ["value", "low", "high", "lesions_first", "lesions_second", "p_holm", "expected"]
    table = pd.DataFrame(rows, columns=columns, index=list("abcdef"))
    found = comparison.marks(table)
    assert found.to_dict() == table["expected"].to_dict()
    assert comparison.marks(table.iloc[:0]).empty
