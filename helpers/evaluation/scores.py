"""Every score of the report, with its interval. To add a score, write a property of `Scores` and list it in METRICS."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from helpers.evaluation.bootstrap import STANDARD, Bootstrap, estimate, ratio
from helpers.evaluation.predictions import Predictions
from helpers.sentences import with_interval

BINS = 15  # of the expected calibration error, as in Guo et al. (ICML 2017)
BLOCK = 2**22  # weights converted to float64 at a time, to limit memory for any number of resamples
METRICS = ("accuracy", "balanced_accuracy", "macro_precision", "macro_recall", "macro_f1", "macro_auc")
METRICS += ("malignant_auc", "malignant_sensitivity", "malignant_specificity", "ece", "brier")
MEANINGS = {
    "accuracy": "share of images that are right",
    "balanced_accuracy": "mean of the recalls of all classes; recall is the share of a class that is found",
    "macro_precision": "share of the answers of a class that are right, mean over classes",
    "macro_f1": "harmonic mean of precision and recall of a class, mean over classes",
    "macro_auc": "chance that an image of a class ranks above one of another class, mean over classes",
    "malignant_auc": "chance that a malignant image ranks above a benign one",
    "malignant_sensitivity": "share of malignant images called malignant, at the threshold set on validation",
    "malignant_specificity": "share of benign images not called malignant, at the same threshold",
    "ece": "mean gap between stated probability and accuracy; less is better",
    "brier": "squared error of all stated probabilities; less is better",
}  # macro recall is balanced accuracy under another name
CLASS_METRICS = ("precision", "recall", "f1", "auc")


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of predictions for n images under b rows of weights. Each is float64 [b], or [b, k] for k classes.

    weights: int or float [b, n], how often each image counts; threshold: images with a malignant score of at least this
    are called malignant. AUC and average precision of a class are one-vs-rest. If a row of weights has no image of a
    class, the scores of that class are NaN. Macro scores are means over the classes that occur in the predictions. They
    are NaN if a row lacks one of these classes, because a mean over fewer classes is a different, usually higher score.
    Overconfidence is mean confidence minus accuracy, -1 to 1.
    """

    predictions: Predictions
    weights: np.ndarray
    threshold: float | None = None

    accuracy = property(lambda self: self._mean(self.predictions.is_right))
    balanced_accuracy = macro_recall = property(lambda self: self._macro(self.recall))
    macro_precision = property(lambda self: self._macro(self.precision))
    macro_f1 = property(lambda self: self._macro(self.f1))
    macro_auc = property(lambda self: self._macro(self.auc))
    malignant_auc = property(lambda self: self._of_malignancy(weighted_auc))
    malignant_average_precision = property(lambda self: self._of_malignancy(weighted_average_precision))
    malignant_sensitivity = property(lambda self: self._mean(self._is_suspicious, self.predictions.is_malignant))
    malignant_specificity = property(lambda self: self._mean(~self._is_suspicious, ~self.predictions.is_malignant))
    overconfidence = property(lambda self: self._mean(self.predictions.confidence - self.predictions.is_right))
    auc = cached_property(lambda self: self._one_against_rest(weighted_auc))
    average_precision = property(lambda self: self._one_against_rest(weighted_average_precision))

    @property
    def ece(self) -> np.ndarray:
        """Expected calibration error of the most probable class (Guo et al., ICML 2017)."""
        p = self.predictions
        # A bin's |accuracy - confidence| times its number of images is the absolute sum of right - confidence.
        gaps = np.eye(BINS)[confidence_bin(p.confidence)] * (p.is_right - p.confidence)[:, None]
        return np.abs((self._weights @ gaps) / self._weights.sum(axis=1, keepdims=True)).sum(axis=1)

    @property
    def brier(self) -> np.ndarray:
        """Brier score: squared error summed over the classes, 0 to 2 (Brier 1950)."""
        p = self.predictions
        return self._mean(((p.probabilities - np.eye(len(p.classes))[p.labels]) ** 2).sum(axis=1))

    @property
    def recall(self) -> np.ndarray:
        right, true, _ = self._counts
        return ratio(right, true)

    @property
    def precision(self) -> np.ndarray:
        """0 for a class that is never predicted."""
        right, true, predicted = self._counts
        return np.where(true > 0, np.nan_to_num(ratio(right, predicted)), np.nan)

    @property
    def f1(self) -> np.ndarray:
        """2 right / (true + predicted)."""
        right, true, predicted = self._counts
        return np.where(true > 0, ratio(2 * right, true + predicted), np.nan)

    @cached_property
    def _weights(self) -> np.ndarray:
        return self.weights.astype(np.float64)

    @cached_property
    def _counts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weighted number of images per class: correctly predicted, true and predicted, each float64 [b, k]."""
        k = len(self.predictions.classes)
        cells = np.eye(k * k)[self.predictions.labels * k + self.predictions.predicted]
        confusion = (self._weights @ cells).reshape(-1, k, k)
        return np.einsum("bii->bi", confusion), confusion.sum(axis=2), confusion.sum(axis=1)

    @property
    def _is_suspicious(self) -> np.ndarray:
        return self.predictions.malignant_score >= self.threshold

    def _of_malignancy(self, area: Callable) -> np.ndarray:
        return area(self.weights, self.predictions.is_malignant, self.predictions.malignant_score)

    def _one_against_rest(self, area: Callable) -> np.ndarray:
        labels, columns = self.predictions.labels, self.predictions.probabilities.T
        return np.stack([area(self.weights, labels == k, column) for k, column in enumerate(columns)], axis=1)

    def _macro(self, values: np.ndarray) -> np.ndarray:
        return values[:, np.unique(self.predictions.labels)].mean(axis=1)

    def _mean(self, values: np.ndarray, where: np.ndarray | bool = True) -> np.ndarray:
        """Weighted mean of bool or float [n] over the images for which `where` [n] holds."""
        where = np.broadcast_to(where, values.shape).astype(np.float64)
        return ratio(self._weights @ (values * where), self._weights @ where)


def resample(
    predictions: Predictions, metrics: Sequence[str], weights: np.ndarray, *, threshold: float | None = None
) -> dict[str, np.ndarray]:
    """Properties of `Scores` by name, for rows of weights [b, n]: float64 [b], or [b, k] for class scores."""
    step, blocks = max(1, BLOCK // len(predictions)), []
    # Row 0, the score itself, is computed alone, so that its last digit does not depend on the resamples.
    for rows in np.split(weights, range(1, len(weights), step)):
        scores = Scores(predictions, rows, threshold)
        blocks.append({metric: getattr(scores, metric) for metric in metrics})
    return {metric: np.concatenate([block[metric] for block in blocks]) for metric in metrics}


def evaluate(predictions: Predictions, threshold: float, bootstrap: Bootstrap = STANDARD) -> dict:
    """The entries `test` and `per_class` of `metrics.json`, each score as {"value", "low", "high"}, float or None.

    threshold: as in `Scores`, chosen on validation. per_class also has the images and lesions of each class.
    """
    p = predictions
    values = _resample_centred(p, METRICS + CLASS_METRICS, bootstrap, threshold=threshold)
    per_class = {}
    for k, code in enumerate(p.classes):
        figures = {metric: estimate(values[metric][:, k]) for metric in CLASS_METRICS}
        lesions = p.lesions[p.labels == k]
        per_class[code] = {**figures, "images": len(lesions), "lesions": len(np.unique(lesions))}
    return {"test": {metric: estimate(values[metric]) for metric in METRICS}, "per_class": per_class}


def measure(
    predictions: Predictions, metric: str, *, threshold: float | None = None, bootstrap: Bootstrap = STANDARD
) -> dict[str, float | None]:
    """One property of `Scores`, as {"value", "low", "high"}."""
    return estimate(_resample_centred(predictions, [metric], bootstrap, threshold=threshold)[metric])


def score_table(models: Mapping[str, Mapping[str, dict]]) -> pd.DataFrame:
    """The scores on test of several models as text: one row per score, one column per model, and what a score says.

    models: the entry `test` of each model's record.
    """
    words = {"auc": "AUC", "ece": "ECE", "f1": "F1", "brier": "Brier"}
    rows = {" ".join(words.get(word, word) for word in name.split("_")): name for name in MEANINGS}
    columns = {model: [with_interval(test[name]) for name in rows.values()] for model, test in models.items()}
    return pd.DataFrame(columns | {"what it says": list(MEANINGS.values())}, pd.Index(rows, name="score"))


def _resample_centred(
    predictions: Predictions, metrics: Sequence[str], bootstrap: Bootstrap, *, threshold: float | None
) -> dict[str, np.ndarray]:
    """Like `resample`, but with the bias of the resampled ECE removed.

    Resampling adds noise to every bin, so resampled ECEs are too high and their percentiles can miss the ECE itself.
    Subtracting the bias of their mean makes the interval cover the true ECE far more often.
    """
    values = resample(predictions, metrics, bootstrap.weights(predictions.lesions), threshold=threshold)
    if "ece" in values:
        ece = values["ece"]
        ece[1:] = np.maximum(ece[1:] + ece[0] - ece[1:].mean(), 0)
    return values


def weighted_auc(weights: np.ndarray, positive: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Area under the ROC curve, float64 [b]; NaN for a row of weights without positives or without negatives.

    weights: int or float [b, n]; positive: bool [n]; score: float [n]. The area is the chance that a positive scores
    above a negative, with ties counting half (Hanley and McNeil 1982).
    """
    order = np.argsort(score)
    negatives = order[~positive[order]]
    first, last = (np.searchsorted(score[negatives], score[positive], side) for side in ("left", "right"))
    drawn, below = weights.T[positive], _cumulate(weights.T[negatives])
    won = np.einsum("ib,ib->b", drawn, below[first] + below[last], dtype=np.float64) / 2
    return ratio(won, drawn.sum(axis=0) * below[-1].astype(np.float64))


def weighted_average_precision(weights: np.ndarray, positive: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Mean over the positives of the precision at their score, float64 [b]; NaN for a row without positives.

    Arguments as in `weighted_auc`. It equals the sum of precision times gain in recall over all thresholds.
    """
    order = np.argsort(-score)
    positives = order[positive[order]]
    above, positives_above = (
        _cumulate(weights.T[among])[np.searchsorted(-score[among], -score[positives], "right")]
        for among in (order, positives)
    )
    drawn, precision = weights.T[positives], np.nan_to_num(ratio(positives_above, above))
    return ratio((drawn * precision).sum(axis=0), drawn.sum(axis=0))


def _cumulate(weights: np.ndarray) -> np.ndarray:
    """The sum of the first 0, 1, …, n rows of weights [n, b]: exact whole numbers where the weights are some."""
    sums = np.zeros((len(weights) + 1, weights.shape[1]), np.result_type(weights, np.int32))
    return np.cumsum(weights, axis=0, out=sums[1:]).base


def confidence_bin(confidence: np.ndarray) -> np.ndarray:
    """The bin of each confidence, int [n], among BINS equally wide bins that include their upper edge."""
    return np.digitize(confidence, np.linspace(0, 1, BINS + 1)[1:-1], right=True)
