"""Scores against closed-form cases and scikit-learn."""

import json

import numpy as np
import pytest
from made_up import HAM10000, MALIGNANT, UNDEFINED, make, random_predictions, values
from sklearn import metrics as sk

from helpers.evaluation import scores
from helpers.evaluation.bootstrap import Bootstrap
from helpers.evaluation.predictions import Predictions
from helpers.evaluation.scores import (
    METRICS,
    evaluate,
    measure,
    resample,
    score_table,
    weighted_auc,
    weighted_average_precision,
)


def test_a_perfect_predictor_has_the_best_scores():
    labels, lesions = np.arange(7).repeat(9), np.arange(21).repeat(3)
    judged = evaluate(Predictions(labels, np.eye(7)[labels], lesions, HAM10000, MALIGNANT), 0.5, Bootstrap(200))
    for name, figure in judged["test"].items():
        right = 0.0 if name in ("ece", "brier") else 1.0
        assert figure == {"value": right, "low": right, "high": right}, name
    assert judged["per_class"]["mel"]["f1"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert (judged["per_class"]["mel"]["images"], judged["per_class"]["mel"]["lesions"]) == (9, 3)


def test_a_uniform_predictor_knows_nothing():
    found = values(make([0, 0, 1, 2, 3, 3, 3, 3], np.full((8, 4), 0.25)), threshold=0.3)
    assert found["macro_auc"] == found["malignant_auc"] == 0.5
    assert found["balanced_accuracy"] == found["accuracy"] == 0.25  # ties go to the first class
    assert found["ece"] == 0.0 and found["brier"] == pytest.approx(1 - 1 / 4)
    assert (found["malignant_sensitivity"], found["malignant_specificity"]) == (0.0, 1.0)


def test_ece_by_hand():
    # Bins of 1/15 are closed above, so 0.6 = 9/15 is in bin 8 with 0.55, and 0.9 in bin 13.
    confidence, right = np.array([0.6, 0.55, 0.9, 0.9, 0.9]), np.array([1, 0, 1, 1, 0])
    found = values(make(1 - right, np.c_[confidence, 1 - confidence]))
    assert found["ece"] == pytest.approx(2 / 5 * abs(1 / 2 - 0.575) + 3 / 5 * abs(2 / 3 - 0.9))


def test_overconfidence_is_confidence_minus_accuracy():
    bold = make([0] * 100, [[0.9, 0.1]] * 70 + [[0.1, 0.9]] * 30)
    found = measure(bold, "overconfidence", bootstrap=Bootstrap(500))
    assert found["value"] == pytest.approx(0.9 - 0.7) and 0.05 < found["low"] < 0.2 < found["high"] < 0.35


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


@pytest.mark.parametrize("digits", [None, 1, 2])
def test_scores_and_resampled_scores_agree_with_scikit_learn(digits):
    p = random_predictions(300, 5, digits=digits)
    weights = Bootstrap(8).weights(p.lesions)
    found = resample(p, scores.METRICS, weights, threshold=0.4)
    for row, weight in enumerate(weights):
        expected = by_scikit_learn(p, 0.4, weight)
        assert {name: found[name][row] for name in expected} == pytest.approx(expected)
        copied = p.subset(np.repeat(np.arange(300), weight))  # a weight of two is the image twice
        assert found["ece"][row] == pytest.approx(values(copied, 0.4)["ece"])


@pytest.mark.parametrize("digits", [None, 1])
def test_areas_agree_with_weighted_scikit_learn(digits):
    p = random_predictions(300, 7, digits=digits)
    weights = np.random.default_rng(0).exponential(size=(4, 300)) * (np.random.default_rng(1).random((4, 300)) > 0.3)
    for k in range(7):
        case = p.labels == k, p.probabilities[:, k]
        auc, ap = weighted_auc(weights, *case), weighted_average_precision(weights, *case)
        assert auc == pytest.approx([sk.roc_auc_score(*case, sample_weight=weight) for weight in weights])
        assert ap == pytest.approx([sk.average_precision_score(*case, sample_weight=weight) for weight in weights])


def test_blocks_do_not_change_the_scores(monkeypatch):
    p = random_predictions(150, 8)
    weights, metrics = Bootstrap(100).weights(p.lesions), scores.METRICS + scores.CLASS_METRICS
    whole = resample(p, metrics, weights, threshold=0.4)
    monkeypatch.setattr(scores, "BLOCK", 7 * 150)
    for name, found in resample(p, metrics, weights, threshold=0.4).items():
        assert found == pytest.approx(whole[name], nan_ok=True), name


def test_measure_is_one_score_of_evaluate():
    p, bootstrap = random_predictions(300, 22), Bootstrap(100, 1)
    judged = evaluate(p, 0.4, bootstrap)["test"]
    for name in ("ece", "balanced_accuracy", "malignant_sensitivity"):
        assert measure(p, name, threshold=0.4, bootstrap=bootstrap) == judged[name]


def test_interval_of_a_small_ece_holds_it():
    random = np.random.default_rng(0)
    for _ in range(20):
        confidence = random.uniform(0.5, 1, 1000)
        p = make((random.random(1000) > confidence).astype(int), np.c_[confidence, 1 - confidence])
        ece = measure(p, "ece", bootstrap=Bootstrap(200))
        assert 0 <= ece["low"] < ece["value"] < ece["high"]


def test_macro_scores_are_undefined_in_a_resample_that_lacks_a_class():
    labels, constant = np.r_[0, np.ones(9, int), np.full(10, 2)], np.tile([0.2, 0.5, 0.3], (20, 1))
    judged = evaluate(make(labels, constant), 0.3, Bootstrap(500))  # a third of the resamples lack the only image of a
    assert judged["test"]["balanced_accuracy"] == dict.fromkeys(("value", "low", "high"), pytest.approx(1 / 3))
    assert judged["per_class"]["a"]["recall"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    json.dumps(judged, allow_nan=False)


def test_one_class_alone_leaves_areas_and_absent_classes_undefined():
    judged = evaluate(make([1, 1, 1], [[0.2, 0.8], [0.6, 0.4], [0.1, 0.9]]), 0.5, Bootstrap(50))
    for name in ("macro_auc", "malignant_auc", "malignant_sensitivity"):
        assert judged["test"][name] == UNDEFINED
    assert judged["test"]["malignant_specificity"]["value"] == pytest.approx(2 / 3)
    assert judged["test"]["macro_precision"]["value"] == 1.0  # class a is not there, so its 0 does not count
    absent = dict.fromkeys(("precision", "recall", "f1", "auc"), UNDEFINED)
    assert judged["per_class"]["a"] == {**absent, "images": 0, "lesions": 0}


def test_the_table_of_scores_says_what_each_means():
    labels, lesions = np.arange(7).repeat(9), np.arange(21).repeat(3)
    test = evaluate(Predictions(labels, np.eye(7)[labels], lesions, HAM10000, MALIGNANT), 0.5, Bootstrap(200))["test"]
    table = score_table({"one": test, "other": test})
    assert list(table.columns) == ["one", "other", "what it says"] and (table["what it says"].str.len() > 20).all()
    assert table.loc["balanced accuracy", "one"] == "1.000 [1.000, 1.000]" and "macro AUC" in table.index
    assert len(table) == len(METRICS) - 1  # macro recall is balanced accuracy
