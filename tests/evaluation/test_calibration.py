import numpy as np
import pytest
from made_up import make, values

from helpers.evaluation.calibration import TEMPERATURES, calibrate, fit_temperature, fit_temperature_and_biases


def draw_labels(logits, random):
    """The softmax of logits [n, k], and labels drawn from it."""
    truth = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return truth, (truth.cumsum(axis=1) < random.random((len(logits), 1))).sum(axis=1)


@pytest.mark.parametrize("known", [0.5, 2.5])
def test_temperature_is_recovered(known):
    """Labels are drawn from softmax(logits), the model says softmax(known * logits): `known` undoes it."""
    random = np.random.default_rng(0)
    truth, labels = draw_labels(random.normal(0, 1, (20_000, 3)), random)
    stated = truth**known / (truth**known).sum(axis=1, keepdims=True)
    predictions = make(labels, stated)
    assert fit_temperature(predictions) == pytest.approx(known, rel=0.04)
    undone = calibrate(predictions, known)
    assert undone.probabilities == pytest.approx(truth, abs=2e-3)  # what is below SMALLEST is lost
    assert (undone.predicted == predictions.predicted).all()
    assert values(undone)["ece"] < 0.02 < 0.05 < values(predictions)["ece"]


def test_temperature_stays_within_its_bounds_and_takes_zeros():
    right, wrong = (make(labels, [[1, 0], [0, 1]]) for labels in ([0, 1], [1, 0]))
    assert TEMPERATURES[0] <= fit_temperature(right) < 0.5  # all that low are equally good
    assert fit_temperature(wrong) == pytest.approx(TEMPERATURES[1], rel=0.01)
    assert calibrate(wrong, 20).probabilities[0, 1] > 0.3


def test_biases_undo_training_on_another_mix_of_classes():
    """Labels are drawn from softmax(logits), the model says softmax(2 * (logits - shift)): half of it, and +shift."""
    random, shift = np.random.default_rng(0), np.array([2.0, -0.5, -1.5])
    logits = random.normal(0, 1, (20_000, 3)) + [2, 0, 0]
    _, labels = draw_labels(logits, random)
    stated = np.exp(2 * (logits - shift))
    predictions = make(labels, stated / stated.sum(axis=1, keepdims=True))
    temperature, biases = fit_temperature_and_biases(predictions)
    assert temperature == pytest.approx(2, rel=0.05) and biases == pytest.approx(shift, abs=0.1)
    undone = calibrate(predictions, temperature, biases).probabilities.mean(axis=0)
    assert undone == pytest.approx(np.bincount(labels) / len(labels), abs=0.01)


def test_a_class_without_images_keeps_a_finite_bias():
    temperature, biases = fit_temperature_and_biases(make([0, 0, 1] * 20, [[0.5, 0.3, 0.2]] * 60))
    assert np.isfinite([temperature, *biases]).all() and biases.argmin() == 2
