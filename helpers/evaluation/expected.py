"""How much more accurate a network is than on comparable lesions."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from helpers.evaluation.bootstrap import original_and_bootstrap_weights, with_bounds
from helpers.evaluation.predictions import Predictions
from helpers.evaluation.ranking import ratio

FEWEST_ALIKE = 5  # lesions that others are held against


def accuracy_excess(
    first: Predictions,
    second: Predictions,
    kinds: tuple[np.ndarray, np.ndarray],
    chosen: np.ndarray,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """How much oftener a network is right on images of `first` than on their like in `second`, chosen ones and others.

    Alike are images of one label and one kind; kinds: of each image of the two, [n] and [m]; chosen: bool [n]. Index:
    `chosen`, `others` and `difference`, or the one that there is; columns value, low and high (95 %, the lesions of
    `first` and `second` resampled independently), images, and classes, their codes joined by commas. Each is a mean
    over labels, of those that have FEWEST_ALIKE lesions in each row; images with fewer lesions like them are left out.
    NaN where nothing is left.
    """
    values = _above_expected(first, second, kinds, resamples, seed + 1)
    compared = ~np.isnan(values[0])
    rows = {"chosen": compared & chosen, "others": compared & ~chosen}
    rows = {name: members for name, members in rows.items() if members.any()}
    labels = _labels_of_all(first, rows.values())
    weights = original_and_bootstrap_weights(first.lesions, resamples, seed)
    drawn = {name: _mean_over_labels(values, weights, first.labels, own, labels) for name, own in rows.items()}
    images = {name: (own & np.isin(first.labels, labels)).sum() for name, own in rows.items()}
    if len(rows) == 2:
        drawn["difference"] = drawn["chosen"] - drawn["others"]
        images["difference"] = sum(images.values())
    figures = [with_bounds(own[0], own[1:]) for own in drawn.values()]
    table = pd.DataFrame(figures, list(drawn), ["value", "low", "high"], dtype=float)
    return table.assign(images=pd.Series(images, dtype=int), classes=", ".join(first.classes[one] for one in labels))


def _above_expected(
    first: Predictions, second: Predictions, kinds: tuple[np.ndarray, np.ndarray], resamples: int, seed: int
) -> np.ndarray:
    """1 or 0 for each answer of `first`, less the share right of its like in `second`: float64 [1 + resamples, n].

    In row 0 that share is as it is, in each other one the lesions of `second` are drawn anew. NaN where fewer than
    FEWEST_ALIKE lesions are alike.
    """
    names = np.unique(np.concatenate(kinds))
    cells = [p.labels * len(names) + np.searchsorted(names, own) for p, own in zip((first, second), kinds, strict=True)]
    members = np.eye(len(first.classes) * len(names))[cells[1]]
    weights = original_and_bootstrap_weights(second.lesions, resamples, seed).astype(np.float64)
    shares = ratio(weights @ (members * (second.predicted == second.labels)[:, None]), weights @ members)
    lesions = pd.Series(second.lesions).groupby(cells[1]).nunique().reindex(range(members.shape[1]), fill_value=0)
    shares[:, lesions < FEWEST_ALIKE] = np.nan
    return (first.predicted == first.labels) - shares[:, cells[0]]


def _labels_of_all(predictions: Predictions, groups: Iterable[np.ndarray]) -> np.ndarray:
    """The labels that have FEWEST_ALIKE lesions in each of the groups, bool [n]."""
    labels = np.arange(len(predictions.classes))
    for members in groups:
        lesions = pd.Series(predictions.lesions[members]).groupby(predictions.labels[members]).nunique()
        labels = np.intersect1d(labels, lesions.index[lesions >= FEWEST_ALIKE])
    return labels


def _mean_over_labels(
    values: np.ndarray, weights: np.ndarray, labels: np.ndarray, members: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """Weighted mean of float64 [b, n] over the members of each wanted label, then over the labels: float64 [b]."""
    means = np.full((len(wanted), len(values)), np.nan)
    for place, label in enumerate(wanted):
        own = members & (labels == label)
        drawn = weights[:, own].astype(np.float64)
        means[place] = ratio(np.where(drawn > 0, drawn * values[:, own], 0).sum(axis=1), drawn.sum(axis=1))
    return means.mean(axis=0) if len(wanted) else np.full(len(values), np.nan)
