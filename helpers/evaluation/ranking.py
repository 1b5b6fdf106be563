"""How well a score ranks positives before negatives, under any weights of the images."""

import numpy as np


def auc(weights: np.ndarray, positive: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Area under the ROC curve, float64 [b]; NaN for a resample without positives or without negatives.

    weights: float64 [b, n]; positive: bool [n]; score: float [n]. The area is the chance that a positive scores above
    a negative, a tie counting half (Hanley and McNeil 1982).
    """
    order = np.argsort(score)
    negatives = order[~positive[order]]
    below = np.zeros((len(weights), len(negatives) + 1))
    np.cumsum(np.take(weights, negatives, axis=1), axis=1, out=below[:, 1:])
    first, last = (np.searchsorted(score[negatives], score[positive], side) for side in ("left", "right"))
    drawn = weights[:, positive]
    won = np.einsum("bi,bi->b", drawn, np.take(below, first, axis=1) + np.take(below, last, axis=1)) / 2
    return ratio(won, drawn.sum(axis=1) * below[:, -1])


def average_precision(weights: np.ndarray, positive: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Mean over the positives of the precision at their own score, float64 [b]; NaN for a resample without positives.

    Arguments as of `auc`. It equals the sum of precision times gain in recall over all thresholds.
    """
    order = np.argsort(-score)
    positives = order[positive[order]]
    place = np.searchsorted(-score[order], -score[positives], "right") - 1
    drawn = weights[:, positives]
    weights = np.take(weights, order, axis=1)
    above = np.take(np.cumsum(weights, axis=1), place, axis=1)
    positives_above = np.take(np.cumsum(weights * positive[order], axis=1), place, axis=1)
    precision = np.nan_to_num(ratio(positives_above, above))
    return ratio((drawn * precision).sum(axis=1), drawn.sum(axis=1))


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole as float64, and NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
