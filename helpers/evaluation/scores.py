"""Every figure of the report, with its interval. A new figure is one more entry of METRICS."""

from collections.abc import Callable
from operator import attrgetter

import numpy as np

from helpers.evaluation.bootstrap import Drawn, original_and_resampled, with_bounds
from helpers.evaluation.predictions import Predictions
from helpers.evaluation.ranking import auc, average_precision

BINS = 15  # of the expected calibration error, as in Guo et al. (ICML 2017)


def _ece(drawn: Drawn) -> np.ndarray:
    """Expected calibration error of the most probable class (Guo et al., ICML 2017)."""
    p = drawn.predictions
    # The number of images in a bin times its |accuracy - confidence| is the size of the summed difference.
    gaps = np.eye(BINS)[confidence_bin(p.confidence, BINS)] * ((p.predicted == p.labels) - p.confidence)[:, None]
    return np.abs(drawn.share_of_each(gaps)).sum(axis=1)


def _brier(drawn: Drawn) -> np.ndarray:
    """Squared error summed over the classes, 0 to 2 (Brier 1950)."""
    p = drawn.predictions
    return drawn.share(((p.probabilities - np.eye(len(p.classes))[p.labels]) ** 2).sum(axis=1))


def malignant_auc_of(drawn: Drawn) -> np.ndarray:
    return auc(drawn.weights, drawn.predictions.is_malignant, drawn.predictions.malignant_score)


def malignant_average_precision_of(drawn: Drawn) -> np.ndarray:
    return average_precision(drawn.weights, drawn.predictions.is_malignant, drawn.predictions.malignant_score)


def sensitivity_of(drawn: Drawn) -> np.ndarray:
    return drawn.share(drawn.predictions.malignant_score >= drawn.threshold, among=drawn.predictions.is_malignant)


def specificity_of(drawn: Drawn) -> np.ndarray:
    return drawn.share(drawn.predictions.malignant_score < drawn.threshold, among=~drawn.predictions.is_malignant)


# Each takes a Drawn and gives float64 [b]; macro figures are means over the classes that occur in the predictions.
METRICS: dict[str, Callable[[Drawn], np.ndarray]] = {
    "accuracy": lambda drawn: drawn.share(drawn.predictions.predicted == drawn.predictions.labels),
    "balanced_accuracy": lambda drawn: _macro(drawn, drawn.recall),
    "macro_precision": lambda drawn: _macro(drawn, drawn.precision),
    "macro_recall": lambda drawn: _macro(drawn, drawn.recall),
    "macro_f1": lambda drawn: _macro(drawn, drawn.f1),
    "macro_auc": lambda drawn: _macro(drawn, drawn.auc),
    "malignant_auc": malignant_auc_of,
    "malignant_sensitivity": sensitivity_of,
    "malignant_specificity": specificity_of,
    "ece": _ece,
    "brier": _brier,
}
# Each takes a Drawn and gives float64 [b, k].
CLASS_METRICS: dict[str, Callable[[Drawn], np.ndarray]] = {
    name: attrgetter(name) for name in ("precision", "recall", "f1", "auc")
}


def evaluate(predictions: Predictions, threshold: float, resamples: int = 2000, seed: int = 0) -> dict:
    """The entries `test` and `per_class` of `metrics.json`: every figure as {"value", "low", "high"}, float or None.

    threshold: from which malignant score on an image is called malignant, chosen on validation with
    `operating_threshold`. Intervals are 95 %. per_class also counts the images and lesions of each class.
    """
    once, values = original_and_resampled(predictions, threshold, METRICS | CLASS_METRICS, resamples, seed)
    test = {name: with_bounds(once[name][0], values[name]) for name in METRICS}
    per_class = {}
    for k, code in enumerate(predictions.classes):
        figures = {name: with_bounds(once[name][0, k], values[name][:, k]) for name in CLASS_METRICS}
        lesions = predictions.lesions[predictions.labels == k]
        per_class[code] = {**figures, "images": len(lesions), "lesions": len(np.unique(lesions))}
    return {"test": test, "per_class": per_class}


def measure(
    predictions: Predictions, metric: str, threshold: float | None = None, resamples: int = 2000, seed: int = 0
) -> dict[str, float | None]:
    """METRICS[metric] alone, as {"value", "low", "high"}; threshold as of `evaluate`, where the metric asks for it."""
    once, values = original_and_resampled(predictions, threshold, {metric: METRICS[metric]}, resamples, seed)
    return with_bounds(once[metric][0], values[metric])


def overconfidence(predictions: Predictions, resamples: int = 2000, seed: int = 0) -> dict[str, float]:
    """Mean confidence minus accuracy, -1 to 1, as {"value", "low", "high"}, with 95 % by resampled lesions.

    Above 0 the stated probability of the answers is higher than the share of them that is right.
    """
    p = predictions
    excess = {"excess": lambda drawn: drawn.share(p.confidence - (p.predicted == p.labels))}
    once, values = original_and_resampled(p, None, excess, resamples, seed)
    return with_bounds(once["excess"][0], values["excess"])


def _macro(drawn: Drawn, values: np.ndarray) -> np.ndarray:
    """Mean of float [b, k] over the classes that occur in the predictions: float64 [b].

    NaN for a resample that lacks one of them: a mean over fewer classes would be another figure, and by and large a
    better one. Leaving such resamples out is drawing again until every class is there.
    """
    return values[:, np.unique(drawn.predictions.labels)].mean(axis=1)


def confidence_bin(confidence: np.ndarray, bins: int) -> np.ndarray:
    """Which of `bins` equally wide bins, open below and closed above, a confidence falls in: int [n]."""
    return np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1], right=True)
