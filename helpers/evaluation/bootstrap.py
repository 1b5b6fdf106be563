"""Figures under resampled lesions: the cluster bootstrap behind every interval."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from helpers.evaluation.predictions import Predictions
from helpers.evaluation.ranking import auc, ratio

BLOCK = 2**22  # weights held as float64 at a time, so that memory stays small for any number of resamples


@dataclass(frozen=True, eq=False)
class Drawn:
    """Predictions whose images count as often as `weights`, float64 [b, n], says in each of b resamples.

    threshold: from which malignant score on an image is called malignant; None where no metric asks for it. What
    several metrics need is computed once.
    """

    predictions: Predictions
    weights: np.ndarray
    threshold: float | None

    def share(self, event: np.ndarray, among: np.ndarray | bool = True) -> np.ndarray:
        """Weighted mean of `event`, bool or float [n], over the images in `among`: float64 [b]."""
        among = np.broadcast_to(among, event.shape).astype(np.float64)
        return ratio(self.weights @ (event * among), self.weights @ among)

    def share_of_each(self, columns: np.ndarray) -> np.ndarray:
        """Weighted mean over all images of each column of float [n, m]: float64 [b, m]."""
        return (self.weights @ columns) / self.weights.sum(axis=1, keepdims=True)

    @cached_property
    def confusion(self) -> np.ndarray:
        """Weighted confusion matrices, float64 [b, k, k]: rows the truth, columns the prediction."""
        k = len(self.predictions.classes)
        cells = np.eye(k * k)[self.predictions.labels * k + self.predictions.predicted]
        return (self.weights @ cells).reshape(-1, k, k)

    @cached_property
    def recall(self) -> np.ndarray:
        """Recall of each class, float64 [b, k]; NaN for a class that was not drawn."""
        right, true, _ = self._counts
        return ratio(right, true)

    @cached_property
    def precision(self) -> np.ndarray:
        """Precision of each class, float64 [b, k]; 0 if never predicted, NaN for a class that was not drawn."""
        right, true, predicted = self._counts
        return np.where(true > 0, np.nan_to_num(ratio(right, predicted)), np.nan)

    @cached_property
    def f1(self) -> np.ndarray:
        """F1 of each class, 2 right / (true + predicted), float64 [b, k]; NaN for a class that was not drawn."""
        right, true, predicted = self._counts
        return np.where(true > 0, ratio(2 * right, true + predicted), np.nan)

    @property
    def _counts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return np.einsum("bii->bi", self.confusion), self.confusion.sum(axis=2), self.confusion.sum(axis=1)

    @cached_property
    def auc(self) -> np.ndarray:
        """One-against-rest AUC of each class, float64 [b, k]; NaN where the class or the rest was not drawn."""
        p = self.predictions
        areas = [auc(self.weights, p.labels == k, p.probabilities[:, k]) for k in range(len(p.classes))]
        return np.stack(areas, axis=1)


def bootstrap_weights(lesions: np.ndarray, resamples: int = 2000, seed: int = 0) -> np.ndarray:
    """How often each image is drawn when lesions are drawn with replacement: uint8 [resamples, n].

    lesions: [n], the lesion of each image; all images of a lesion are drawn together (cluster bootstrap, Davison and
    Hinkley 1997, section 3.8). The same lesions and seed give the same resamples, so that two models can be compared.
    """
    names, lesion = np.unique(np.asarray(lesions).astype(str), return_inverse=True)
    random = np.random.default_rng(seed)
    weights = np.empty((resamples, len(lesion)), np.uint8)
    for row in weights:
        row[:] = np.bincount(random.integers(len(names), size=len(names)), minlength=len(names))[lesion]
    return weights


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of resampled figures, float [b]; undefined ones are left out. NaN if none is defined."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return np.nan, np.nan
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resample(
    predictions: Predictions, weights: np.ndarray, threshold: float | None, metrics: Mapping[str, Callable]
) -> dict[str, np.ndarray]:
    """Values of `metrics` for each row of `weights` [b, n], by name: float64 [b], or [b, k] for CLASS_METRICS."""
    step = max(1, BLOCK // len(predictions))
    values = {name: [] for name in metrics}
    for start in range(0, len(weights), step):
        drawn = Drawn(predictions, weights[start : start + step].astype(np.float64), threshold)
        for name, metric in metrics.items():
            values[name].append(metric(drawn))
    return {name: np.concatenate(blocks) for name, blocks in values.items()}


def original_and_resampled(
    predictions: Predictions, threshold: float | None, metrics: Mapping[str, Callable], resamples: int, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Values of `metrics` as they are, [1] or [1, k], and in the resamples of the lesions, [b] or [b, k]."""
    once = resample(predictions, np.ones((1, len(predictions))), threshold, metrics)
    weights = bootstrap_weights(predictions.lesions, resamples, seed)
    values = resample(predictions, weights, threshold, metrics)
    if "ece" in metrics:
        # Resampling adds noise to every bin: resampled ECEs lie above the figure, and their percentiles can miss it.
        # Moved back by how far their mean is off, the interval covers the true ECE far more often.
        values["ece"] = np.maximum(values["ece"] + once["ece"] - values["ece"].mean(), 0)
    return once, values


def original_and_bootstrap_weights(lesions: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Weights of ones, which give a figure itself, above `bootstrap_weights`: uint8 [1 + resamples, n]."""
    return np.vstack([np.ones(len(lesions), np.uint8), bootstrap_weights(lesions, resamples, seed)])


def with_bounds(value: float, values: np.ndarray) -> dict[str, float | None]:
    """A figure and its interval, ready for JSON."""
    if np.isnan(value):
        return {"value": None, "low": None, "high": None}
    low, high = interval(values)
    return {"value": float(value)} | ({"low": None, "high": None} if np.isnan(low) else {"low": low, "high": high})
