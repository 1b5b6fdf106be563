"""Confusion matrix, ROC and precision-recall curves."""

from statistics import NormalDist

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_curve

from helpers.evaluation.bootstrap import bootstrap_weights, interval, resample
from helpers.evaluation.predictions import Predictions
from helpers.evaluation.ranking import auc, average_precision
from helpers.evaluation.scores import BINS, confidence_bin


def confusion(predictions: Predictions) -> np.ndarray:
    """Confusion matrix int64 [k, k]: rows the truth, columns the prediction."""
    k = len(predictions.classes)
    cells = np.bincount(predictions.labels * k + predictions.predicted, minlength=k * k)
    return cells.reshape(k, k)


def curves(predictions: Predictions, resamples: int = 2000, seed: int = 0, only: str = "") -> dict[str, dict]:
    """One-against-rest ROC and precision-recall curve of each class, and of malignancy under `malignant`.

    only: the name of a single one of them, where the others are not needed.
    Each holds the arrays false_positive_rate, true_positive_rate, recall and precision, and the floats auc and
    average_precision with auc_interval and average_precision_interval, (low, high). A class without images is left
    out, as is one that all images belong to.
    """
    p = predictions
    questions = {code: (p.labels == k, p.probabilities[:, k]) for k, code in enumerate(p.classes)}
    questions["malignant"] = (p.is_malignant, p.malignant_score)
    wanted = {only: questions[only]} if only else questions
    questions = {name: question for name, question in wanted.items() if 0 < question[0].mean() < 1}
    weights = bootstrap_weights(p.lesions, resamples, seed)
    return {name: _points(*question) | _areas(p, weights, question) for name, question in questions.items()}


def _points(positive: np.ndarray, score: np.ndarray) -> dict[str, np.ndarray]:
    false_positive_rate, true_positive_rate, _ = roc_curve(positive, score)
    precision, recall, _ = precision_recall_curve(positive, score, drop_intermediate=True)
    rates = {"false_positive_rate": false_positive_rate, "true_positive_rate": true_positive_rate}
    return {**rates, "recall": recall, "precision": precision}


def _areas(predictions: Predictions, weights: np.ndarray, question: tuple[np.ndarray, np.ndarray]) -> dict:
    areas = {
        "auc": lambda drawn: auc(drawn.weights, *question),
        "average_precision": lambda drawn: average_precision(drawn.weights, *question),
    }
    once = resample(predictions, np.ones((1, len(predictions))), None, areas)
    values = resample(predictions, weights, None, areas)
    intervals = {f"{name}_interval": interval(values[name]) for name in areas}
    return {name: float(once[name][0]) for name in areas} | intervals


def reliability(predictions: Predictions, bins: int = BINS) -> pd.DataFrame:
    """Confidence against accuracy in equally wide bins, a row each: what a reliability diagram shows.

    Columns: above and up_to (the bin's edges), images, lesions, confidence (mean), accuracy, and low and high, its
    95 % Wilson (1927) interval with the number of lesions as n, since images of a lesion are no independent trials.
    An empty bin has counts of 0 and NaN for the rest.
    """
    p, edges = predictions, np.linspace(0, 1, bins + 1)
    images = pd.DataFrame({"lesion": p.lesions, "confidence": p.confidence, "right": p.predicted == p.labels})
    table = images.groupby(confidence_bin(p.confidence, bins)).agg(
        images=("right", "size"),
        lesions=("lesion", "nunique"),
        confidence=("confidence", "mean"),
        accuracy=("right", "mean"),
    )
    table = table.reindex(range(bins)).fillna({"images": 0, "lesions": 0}).astype({"images": int, "lesions": int})
    low, high = _wilson(table["accuracy"].to_numpy(), table["lesions"].to_numpy())
    table.insert(0, "above", edges[:-1])
    table.insert(1, "up_to", edges[1:])
    return table.assign(low=low, high=high)


def _wilson(share: np.ndarray, trials: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    z = NormalDist().inv_cdf(0.975)
    n = np.maximum(trials, 1)
    centre, half = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return tuple(np.clip((centre + sign * half) / (1 + z**2 / n), 0, 1) for sign in (-1, 1))
