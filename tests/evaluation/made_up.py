"""Predictions with known answers, for the tests of this folder."""

import numpy as np

from helpers.evaluation.bootstrap import Bootstrap
from helpers.evaluation.predictions import Predictions
from helpers.evaluation.scores import evaluate

HAM10000 = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
MALIGNANT = (True, True, False, False, True, False, False)
UNDEFINED = {"value": None, "low": None, "high": None}


def make(labels, probabilities, lesions=None, malignant=None):
    """Predictions for classes a, b, c, …, of which by default the first is malignant; each image its own lesion."""
    k = np.shape(probabilities)[1]
    lesions = [f"lesion{i}" for i in range(len(labels))] if lesions is None else lesions
    malignant = (True,) + (False,) * (k - 1) if malignant is None else malignant
    return Predictions(labels, probabilities, lesions, tuple("abcdefgh"[:k]), malignant)


def random_predictions(n, seed, skill=2.0, digits=None):
    """Random predictions for seven unequal classes, about 1.4 images per lesion; few `digits` make many ties."""
    random = np.random.default_rng(seed)
    share = np.array([0.03, 0.05, 0.11, 0.02, 0.11, 0.66, 0.02])
    lesion_label = random.choice(7, int(n / 1.4) + 1, p=share)
    lesion = random.integers(len(lesion_label), size=n)
    labels = lesion_label[lesion]
    logits = random.normal(size=(n, 7)) + skill * np.eye(7)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    if digits is not None:
        largest, probabilities = probabilities.argmax(axis=1), np.floor(probabilities * 10**digits) / 10**digits
        probabilities[np.arange(n), largest] += 1 - probabilities.sum(axis=1)
        probabilities = probabilities.round(digits)
    return Predictions(labels, probabilities, lesion, HAM10000, MALIGNANT)


def answers(right, lesions=None):
    """A model that is right where `right` says so, for images that are all of class a."""
    right = np.asarray(right, bool)
    return make(np.zeros(len(right), int), np.c_[right, ~right], lesions)


def values(predictions, threshold=0.5):
    """Every test figure without its interval."""
    return {name: figure["value"] for name, figure in evaluate(predictions, threshold, Bootstrap(2))["test"].items()}


def width(figure):
    return figure["high"] - figure["low"]
