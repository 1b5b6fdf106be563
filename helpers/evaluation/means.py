"""Means, proportions and their differences between groups, with intervals by lesion."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from helpers.evaluation.bootstrap import LEVEL, STANDARD, Bootstrap, estimate, ratio
from helpers.evaluation.predictions import Predictions

TAIL = (1 - LEVEL) / 2  # probability outside an interval on each side
MIN_COMPARABLE = 5  # fewest lesions for a mean accuracy that others are compared with


def means(columns: Mapping[str, np.ndarray], lesions: np.ndarray, bootstrap: Bootstrap = STANDARD) -> pd.DataFrame:
    """The mean of each column, bool or float [n], over images, one row each: value, low and high (95 %, by lesion).

    NaN values are ignored. A column with only NaN gives NaN for all three.
    """
    return _table(columns, _weighted_means(columns, bootstrap.weights(lesions)))


def proportions(
    columns: Mapping[str, np.ndarray], lesions: np.ndarray, bootstrap: Bootstrap = STANDARD
) -> pd.DataFrame:
    """`means` of columns of 1, 0 and NaN (unknown), with a proper interval even if all values are equal.

    If all values are equal, so are all resamples, and the bootstrap interval has length zero. Such a column gets the
    exact interval of Clopper and Pearson (Biometrika 26, 1934): TAIL ** (1 / lesions) to 1 if all values are 1, and 0
    to 1 - TAIL ** (1 / lesions) if all are 0. The lesions are the trials, since images of a lesion are not
    independent.
    """
    table, lesions = means(columns, lesions, bootstrap), np.asarray(lesions).astype(str)
    for name, column in columns.items():
        values = np.asarray(column, np.float64)
        known = ~np.isnan(values)
        bound = TAIL ** (1 / max(1, len(np.unique(lesions[known]))))
        if known.any() and (values[known] == 1).all():
            table.loc[name, "low"] = bound
        elif known.any() and (values[known] == 0).all():
            table.loc[name, "high"] = 1 - bound
    return table


def proportion(event: np.ndarray, lesions: np.ndarray, bootstrap: Bootstrap = STANDARD) -> dict[str, float | None]:
    """`proportions` of one event, bool [n], as {"value", "low", "high"}. All are None if there are no images."""
    if not len(event):
        return {"value": None, "low": None, "high": None}
    return proportions({"event": event}, lesions, bootstrap).loc["event"].to_dict()


def mean_differences(
    columns: Mapping[str, np.ndarray], group: np.ndarray, lesions: np.ndarray, *, bootstrap: Bootstrap = STANDARD
) -> pd.DataFrame:
    """Mean of each column over the images in `group`, bool [n], minus the mean over the others. Table as in `means`.

    Both means use the same resamples, so a lesion with images in both groups counts equally often in each.
    """
    weights, group = bootstrap.weights(lesions), np.asarray(group, bool)
    inside, outside = (_weighted_means(columns, weights * members) for members in (group, ~group))
    return _table(columns, inside - outside)


def standardised_differences(
    columns: Mapping[str, np.ndarray],
    group: np.ndarray,
    strata: np.ndarray,
    *,
    lesions: np.ndarray,
    bootstrap: Bootstrap = STANDARD,
) -> pd.DataFrame:
    """`mean_differences` after giving the other images the same mix of `strata` [n], such as labels, as `group`.

    Direct standardisation (Keiding and Clayton, Stat. Sci. 29, 2014): each stratum of the others is weighted by the
    group's number of images in it, separately in each resample. Strata with images on one side only are left out. NaN
    if no stratum has images on both sides.
    """
    weights, group = bootstrap.weights(lesions).astype(np.float64), np.asarray(group, bool)
    names, stratum = np.unique(np.asarray(strata).astype(str), return_inverse=True)
    members = np.eye(len(names), dtype=bool)[stratum]
    gaps = [_difference(np.asarray(column, np.float64), group, members, weights=weights) for column in columns.values()]
    return _table(columns, np.column_stack(gaps))


def _difference(column: np.ndarray, group: np.ndarray, members: np.ndarray, *, weights: np.ndarray) -> np.ndarray:
    """The standardised difference of one column [n] under each row of weights [b, n]: float64 [b].

    members: bool [n, strata]. The strata's mean differences are weighted by the images of `group` in each.
    """
    known = ~np.isnan(column)
    cells = [members & (side & known)[:, None] for side in (group, ~group)]
    inside, outside = (weights @ cell for cell in cells)
    sums = (weights @ (cell * np.where(known, column, 0)[:, None]) for cell in cells)
    gap = np.subtract(*(ratio(*pair) for pair in zip(sums, (inside, outside), strict=True)))
    mix = np.where(outside > 0, inside, 0)
    return ratio(np.where(mix > 0, mix * gap, 0).sum(axis=1), mix.sum(axis=1))


def matched_accuracy_differences(
    first: Predictions,
    second: Predictions,
    kinds: tuple[np.ndarray, np.ndarray],
    *,
    chosen: np.ndarray,
    bootstrap: Bootstrap = STANDARD,
) -> pd.DataFrame:
    """Accuracy on images of `first` minus accuracy on comparable images of `second`, for chosen images and the others.

    Images are comparable if they have the same label and the same kind. kinds: of each image of `first` and `second`,
    [n] and [m]; chosen: bool [n]. Index: `chosen`, `others` and `difference`, or just one group if the other is empty.
    Columns: value, low and high (95 %, the lesions of `first` and `second` resampled independently), images, and
    classes, their codes joined by commas. Each value is a mean over the labels that have at least MIN_COMPARABLE
    lesions in each group. Images with fewer comparable lesions are left out. NaN if no label is left.
    """
    gaps = _accuracy_gaps(first, second, kinds, bootstrap=bootstrap.independent())
    compared = ~np.isnan(gaps[0])
    rows = {"chosen": compared & chosen, "others": compared & ~chosen}
    rows = {name: members for name, members in rows.items() if members.any()}
    labels = _frequent_labels(first, rows.values())
    weights = bootstrap.weights(first.lesions)
    drawn, images = {}, {}
    for name, members in rows.items():
        cells = [members & (first.labels == label) for label in labels]
        of_label = [_mean_per_resample(gaps[:, cell], weights[:, cell]) for cell in cells]
        drawn[name] = np.mean(of_label, axis=0) if of_label else np.full(len(gaps), np.nan)
        images[name] = int(np.sum(cells))
    if len(rows) == 2:
        drawn["difference"], images["difference"] = drawn["chosen"] - drawn["others"], sum(images.values())
    table = pd.DataFrame([estimate(values) for values in drawn.values()], list(drawn), ["value", "low", "high"], float)
    return table.assign(images=pd.Series(images, dtype=int), classes=", ".join(first.classes[one] for one in labels))


def _accuracy_gaps(
    first: Predictions, second: Predictions, kinds: tuple[np.ndarray, np.ndarray], *, bootstrap: Bootstrap
) -> np.ndarray:
    """1 or 0 for each image of `first`, minus the accuracy on comparable images: float64 [1 + resamples, n].

    The lesions of `second` are resampled. NaN for images with fewer than MIN_COMPARABLE comparable lesions.
    """
    names = np.unique(np.concatenate(kinds))
    cells = [
        p.labels * len(names) + np.searchsorted(names, kind) for p, kind in zip((first, second), kinds, strict=True)
    ]
    members = np.eye(len(first.classes) * len(names))[cells[1]]
    weights = bootstrap.weights(second.lesions).astype(np.float64)
    accuracy = ratio(weights @ (members * second.is_right[:, None]), weights @ members)
    lesions = pd.Series(second.lesions).groupby(cells[1]).nunique().reindex(range(members.shape[1]), fill_value=0)
    accuracy[:, lesions < MIN_COMPARABLE] = np.nan
    return first.is_right - accuracy[:, cells[0]]


def _frequent_labels(predictions: Predictions, groups: Iterable[np.ndarray]) -> np.ndarray:
    """The labels that have at least MIN_COMPARABLE lesions in each of the groups, bool [n]."""
    labels = np.arange(len(predictions.classes))
    for members in groups:
        lesions = pd.Series(predictions.lesions[members]).groupby(predictions.labels[members]).nunique()
        labels = np.intersect1d(labels, lesions.index[lesions >= MIN_COMPARABLE])
    return labels


def _mean_per_resample(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean of each row, float64 [b], from values and weights [b, n]. Values of weight 0 may be NaN."""
    weights = weights.astype(np.float64)
    return ratio(np.where(weights > 0, weights * values, 0).sum(axis=1), weights.sum(axis=1))


def _weighted_means(columns: Mapping[str, np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Means of columns [n] under each row of weights [b, n], ignoring NaN: float64 [b, columns]."""
    values = np.column_stack([np.asarray(column, np.float64) for column in columns.values()])
    known, weights = ~np.isnan(values), weights.astype(np.float64)
    return ratio(weights @ np.where(known, values, 0), weights @ known)


def _table(columns: Iterable[str], drawn: np.ndarray) -> pd.DataFrame:
    """Values with their intervals from float64 [1 + resamples, columns]."""
    return pd.DataFrame([estimate(values) for values in drawn.T], list(columns), ["value", "low", "high"], float)
