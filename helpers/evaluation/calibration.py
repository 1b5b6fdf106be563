"""How well stated probabilities agree with what is true, and how to mend them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax

from helpers.evaluation.predictions import Predictions

SMALLEST = 5e-7  # probability that is told from 0 in predictions.csv, which keeps six digits
TEMPERATURES = (0.05, 20.0)  # between which the best one is looked for
RIDGE = 1e-3  # what a bias of one costs in log loss, so that a class that validation lacks keeps a finite one


def temperature(predictions: Predictions) -> float:
    """The temperature by which to divide the logits so that the log loss on these images is least.

    Fit it on validation and apply it with `calibrate` (temperature scaling: Guo et al., ICML 2017). Above 1 the model
    was too sure of itself, below 1 not sure enough. It is looked for between the two TEMPERATURES.
    """
    logits, rows = _logits(predictions), np.arange(len(predictions))

    def log_loss(log_temperature: float) -> float:
        return -log_softmax(logits / np.exp(log_temperature), axis=1)[rows, predictions.labels].mean()

    return float(np.exp(minimize_scalar(log_loss, bounds=np.log(TEMPERATURES), method="bounded").x))


def calibrate(predictions: Predictions, temperature: float, biases: Sequence[float] | float = 0.0) -> Predictions:
    """The same predictions with their logits divided by `temperature`, and `biases` added, one a class.

    Without biases each image's answer stays what it was.
    """
    return replace(predictions, probabilities=softmax(_logits(predictions) / temperature + biases, axis=1))


def fit_temperature_and_biases(predictions: Predictions) -> tuple[float, np.ndarray]:
    """The temperature, and the biases float64 [k], with which the log loss on these images is least.

    Fit them on validation and apply them with `calibrate` (bias-corrected temperature scaling: Alexandari, Kundaje and
    Shrikumar, ICML 2020). A network that was trained to answer rare classes more often than they are states them too
    often; a temperature alone cannot undo that. The biases sum to zero; RIDGE holds them back where images are few.
    """
    logits, rows = _logits(predictions), np.arange(len(predictions))

    def loss(numbers: np.ndarray) -> float:
        shifted = logits * np.exp(-numbers[0]) + numbers[1:]
        log_loss = -log_softmax(shifted, axis=1)[rows, predictions.labels].mean()
        return log_loss + RIDGE * np.square(numbers[1:]).sum()

    free = [(None, None)] * logits.shape[1]
    found = minimize(loss, np.zeros(1 + logits.shape[1]), bounds=[tuple(np.log(TEMPERATURES)), *free]).x
    return float(np.exp(found[0])), found[1:] - found[1:].mean()


def _logits(predictions: Predictions) -> np.ndarray:
    """Logarithms of the probabilities, float64 [n, k]: the logits but for a constant that softmax takes away again."""
    return np.log(np.maximum(predictions.probabilities, SMALLEST))
