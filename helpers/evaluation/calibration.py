"""Calibration: making predicted probabilities agree with observed frequencies."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax

from helpers.evaluation.predictions import Predictions

SMALLEST = 5e-7  # the smallest probability above 0 in predictions.csv, which keeps six digits
TEMPERATURES = (0.05, 20.0)  # bounds of the search
RIDGE = 1e-3  # penalty on squared biases; it keeps the bias of a class without validation images finite


def fit_temperature(predictions: Predictions) -> float:
    """The temperature, within TEMPERATURES, that minimises the log loss of these images when it divides the logits.

    Fit it on validation and apply it with `calibrate` (temperature scaling: Guo et al., ICML 2017). A temperature above
    1 means that the model was overconfident, below 1 underconfident.
    """
    logits = _logits(predictions)
    found = minimize_scalar(
        lambda log_temperature: _log_loss(logits / np.exp(log_temperature), predictions.labels),
        bounds=np.log(TEMPERATURES),
        method="bounded",
    )
    return float(np.exp(found.x))


def calibrate(predictions: Predictions, temperature: float, biases: Sequence[float] | float = 0.0) -> Predictions:
    """The same predictions with their logits divided by `temperature`, and `biases` added, one per class.

    Without biases, the predicted class of each image stays the same.
    """
    return replace(predictions, probabilities=softmax(_logits(predictions) / temperature + biases, axis=1))


def fit_temperature_and_biases(predictions: Predictions) -> tuple[float, np.ndarray]:
    """The temperature and the biases, float64 [k], that minimise the log loss of these images.

    Fit them on validation and apply them with `calibrate` (bias-corrected temperature scaling: Alexandari, Kundaje and
    Shrikumar, ICML 2020). A network trained on balanced classes predicts rare classes too often, which a temperature
    alone cannot correct. The biases sum to zero. RIDGE keeps them small for classes with few images.
    """
    logits = _logits(predictions)

    def loss(numbers: np.ndarray) -> float:
        shifted = logits * np.exp(-numbers[0]) + numbers[1:]
        return _log_loss(shifted, predictions.labels) + RIDGE * np.square(numbers[1:]).sum()

    free = [(None, None)] * logits.shape[1]
    found = minimize(loss, np.zeros(1 + logits.shape[1]), bounds=[tuple(np.log(TEMPERATURES)), *free]).x
    return float(np.exp(found[0])), found[1:] - found[1:].mean()


def _logits(predictions: Predictions) -> np.ndarray:
    """Log probabilities, float64 [n, k]: the logits up to a constant per image, which softmax removes."""
    return np.log(np.maximum(predictions.probabilities, SMALLEST))


def _log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    return -log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean()
