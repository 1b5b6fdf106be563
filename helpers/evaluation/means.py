"""Means, shares and their differences between groups, with intervals by lesion."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from helpers.evaluation.bootstrap import original_and_bootstrap_weights, with_bounds
from helpers.evaluation.ranking import ratio

TAIL = 0.025  # chance that a 95 % interval leaves to each side


def means(columns: Mapping[str, np.ndarray], lesions: np.ndarray, resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """The mean over images of each column, bool or float [n], a row each: value, low and high (95 %, by lesion).

    What is NaN is left out of its column. A column without any number has NaN for all three.
    """
    return _mean_table(columns, _drawn_means(columns, original_and_bootstrap_weights(lesions, resamples, seed)))


def shares(
    columns: Mapping[str, np.ndarray], lesions: np.ndarray, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """`means` of events, columns of 1 or 0 and NaN where it is not known, with an interval also where all are alike.

    Resamples of nothing but ones are ones, as if no other lesion could ever be different. There the interval is the
    exact one of Clopper and Pearson (Biometrika 26, 1934) for as many trials as there are lesions, since images of a
    lesion are no independent ones: TAIL ** (1 / lesions) to 1 where all are 1, 0 to 1 - TAIL ** (1 / lesions) where all
    are 0. A column in which anything else occurs is that of `means`.
    """
    table, lesions = means(columns, lesions, resamples, seed), np.asarray(lesions).astype(str)
    for name, column in columns.items():
        values = np.asarray(column, np.float64)
        known = ~np.isnan(values)
        bound = TAIL ** (1 / max(1, len(np.unique(lesions[known]))))
        if known.any() and (values[known] == 1).all():
            table.loc[name, "low"] = bound
        elif known.any() and (values[known] == 0).all():
            table.loc[name, "high"] = 1 - bound
    return table


def mean_differences(
    columns: Mapping[str, np.ndarray], group: np.ndarray, lesions: np.ndarray, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """The mean of each column over the images in `group`, bool [n], minus that over the others; a table as of `means`.

    Both means are of the same resamples, so that a lesion with images in both counts as often in one as in the other.
    """
    weights, group = original_and_bootstrap_weights(lesions, resamples, seed), np.asarray(group, bool)
    inside, outside = (_drawn_means(columns, weights * own) for own in (group, ~group))
    return _mean_table(columns, inside - outside)


def standardised_differences(
    columns: Mapping[str, np.ndarray],
    group: np.ndarray,
    strata: np.ndarray,
    lesions: np.ndarray,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """`mean_differences` as if the others had the mix of `strata` [n], such as labels, that the images in `group` have.

    Direct standardisation (Keiding and Clayton, Stat. Sci. 29, 2014): each stratum of the others counts as often as
    the group has images in it, in each resample anew. A stratum that has images on one side only is left out of both,
    in the figure itself as in a resample. NaN if no stratum has images on both.
    """
    weights, group = (
        original_and_bootstrap_weights(lesions, resamples, seed).astype(np.float64),
        np.asarray(group, bool),
    )
    names, stratum = np.unique(np.asarray(strata).astype(str), return_inverse=True)
    members = np.eye(len(names), dtype=bool)[stratum]
    gaps = [_standardised(np.asarray(own, np.float64), group, members, weights) for own in columns.values()]
    return _mean_table(columns, np.column_stack(gaps))


def _standardised(column: np.ndarray, group: np.ndarray, members: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The standardised difference of one column [n] under each row of weights [b, n]: float64 [b].

    members: bool [n, strata]. The mean difference of the strata, each weighted by the images of `group` in it.
    """
    known = ~np.isnan(column)
    cells = [members & (own & known)[:, None] for own in (group, ~group)]
    inside, outside = (weights @ cell for cell in cells)
    sums = (weights @ (cell * np.where(known, column, 0)[:, None]) for cell in cells)
    gap = np.subtract(*(ratio(*pair) for pair in zip(sums, (inside, outside), strict=True)))
    mix = np.where(outside > 0, inside, 0)
    return ratio(np.where(mix > 0, mix * gap, 0).sum(axis=1), mix.sum(axis=1))


def _drawn_means(columns: Mapping[str, np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Means of columns [n] under each row of weights [b, n], without what is NaN: float64 [b, columns]."""
    values = np.column_stack([np.asarray(column, np.float64) for column in columns.values()])
    known, weights = ~np.isnan(values), weights.astype(np.float64)
    return ratio(weights @ np.where(known, values, 0), weights @ known)


def _mean_table(columns: Iterable[str], drawn: np.ndarray) -> pd.DataFrame:
    """Figures with their intervals from float64 [1 + resamples, columns], the first row the figures themselves."""
    figures = [with_bounds(column[0], column[1:]) for column in drawn.T]
    return pd.DataFrame(figures, index=list(columns), columns=["value", "low", "high"], dtype=float)
