"""Confusion matrix, ROC and precision-recall curves, reliability diagram."""

from statistics import NormalDist

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_curve

from helpers.evaluation.bootstrap import LEVEL, STANDARD, Bootstrap, interval
from helpers.evaluation.predictions import Predictions
from helpers.evaluation.scores import BINS, confidence_bin, resample


def confusion(predictions: Predictions) -> np.ndarray:
    """Confusion matrix, int64 [k, k]: rows are true classes, columns are predicted classes."""
    return confusion_matrix(predictions.labels, predictions.predicted, labels=range(len(predictions.classes)))


def curves(predictions: Predictions, bootstrap: Bootstrap = STANDARD) -> dict[str, dict]:
    """One-vs-rest ROC and precision-recall curves of each class, and of malignancy under the key `malignant`.

    Each entry holds the arrays false_positive_rate, true_positive_rate, recall and precision, the floats auc and
    average_precision, and auc_interval and average_precision_interval as (low, high). Classes to which no image or
    every image belongs are left out.
    """
    p = predictions
    areas = resample(p, ("auc", "average_precision"), bootstrap.weights(p.lesions))
    found = {
        code: _curve(p.labels == k, p.probabilities[:, k], {name: values[:, k] for name, values in areas.items()})
        for k, code in enumerate(p.classes)
        if 0 < (p.labels == k).mean() < 1
    }
    return found | ({"malignant": malignant_curve(p, bootstrap)} if 0 < p.is_malignant.mean() < 1 else {})


def malignant_curve(predictions: Predictions, bootstrap: Bootstrap = STANDARD) -> dict:
    """Only the entry `malignant` of `curves`. There must be both malignant and benign images."""
    p, names = predictions, ("auc", "average_precision")
    areas = resample(p, [f"malignant_{name}" for name in names], bootstrap.weights(p.lesions))
    return _curve(p.is_malignant, p.malignant_score, dict(zip(names, areas.values(), strict=True)))


def _curve(positive: np.ndarray, score: np.ndarray, areas: dict[str, np.ndarray]) -> dict:
    false_positive_rate, true_positive_rate, _ = roc_curve(positive, score)
    precision, recall, _ = precision_recall_curve(positive, score, drop_intermediate=True)
    rates = {"false_positive_rate": false_positive_rate, "true_positive_rate": true_positive_rate}
    figures = {name: float(values[0]) for name, values in areas.items()}
    intervals = {f"{name}_interval": interval(values[1:]) for name, values in areas.items()}
    return {**rates, "recall": recall, "precision": precision, **figures, **intervals}


def reliability(predictions: Predictions) -> pd.DataFrame:
    """The data of a reliability diagram: confidence and accuracy in BINS equally wide bins, one row per bin.

    Columns: above and up_to (the bin's edges), images, lesions, confidence (mean), accuracy, low and high. The last two
    are the accuracy's 95 % Wilson (1927) interval. Its n is the number of lesions, because images of one lesion are not
    independent trials. An empty bin has counts of 0 and NaN for the rest.
    """
    p, edges = predictions, np.linspace(0, 1, BINS + 1)
    images = pd.DataFrame({"lesion": p.lesions, "confidence": p.confidence, "right": p.is_right})
    table = images.groupby(confidence_bin(p.confidence)).agg(
        images=("right", "size"),
        lesions=("lesion", "nunique"),
        confidence=("confidence", "mean"),
        accuracy=("right", "mean"),
    )
    table = table.reindex(range(BINS)).fillna({"images": 0, "lesions": 0}).astype({"images": int, "lesions": int})
    low, high = _wilson(table["accuracy"].to_numpy(), table["lesions"].to_numpy())
    table.insert(0, "above", edges[:-1])
    table.insert(1, "up_to", edges[1:])
    return table.assign(low=low, high=high)


def _wilson(share: np.ndarray, trials: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    n = np.maximum(trials, 1)
    centre, half = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return tuple(np.clip((centre + sign * half) / (1 + z**2 / n), 0, 1) for sign in (-1, 1))
