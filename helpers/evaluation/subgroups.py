"""Figures by age, sex, site or any other group."""

import numpy as np
import pandas as pd

from helpers.evaluation.bootstrap import interval, original_and_resampled
from helpers.evaluation.predictions import Predictions
from helpers.evaluation.scores import METRICS
from helpers.study import StudyError

FEWEST_IMAGES = 20  # that a group needs for its figures to be given
FEWEST_LESIONS = 10  # malignant ones and benign ones, that a group needs for figures about malignancy
GROUP_METRICS = ("accuracy", "balanced_accuracy", "malignant_auc", "malignant_sensitivity", "malignant_specificity")
AGE_GROUPS = {"0-29": 0, "30-44": 30, "45-59": 45, "60-74": 60, "75+": 75}  # name and first year of each


def by_group(
    predictions: Predictions, groups: np.ndarray, threshold: float, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """GROUP_METRICS with 95 % intervals for each value that occurs in `groups` [n], in the order of its categories.

    Index: group. Columns: images, lesions, malignant_images, then each metric with its <metric>_low and <metric>_high;
    NaN in groups of fewer than FEWEST_IMAGES images, and for malignancy in groups of fewer than FEWEST_LESIONS
    malignant or benign lesions. Raises StudyError if an image has no group.
    """
    groups = pd.Categorical(groups)
    if len(groups) != len(predictions) or (groups.codes < 0).any():
        raise StudyError("by_group needs one group for each image; call unknown ones `unknown`.")
    rows = {}
    for code in np.unique(groups.codes):
        members = predictions.subset(groups.codes == code)
        counts = {"images": len(members), "lesions": len(np.unique(members.lesions))}
        counts["malignant_images"] = int(members.is_malignant.sum())
        rows[groups.categories[code]] = counts | _group_figures(members, threshold, resamples, seed)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("group")


def _group_figures(members: Predictions, threshold: float, resamples: int, seed: int) -> dict[str, float]:
    columns = [f"{name}{end}" for name in GROUP_METRICS for end in ("", "_low", "_high")]
    if len(members) < FEWEST_IMAGES:
        return dict.fromkeys(columns, np.nan)
    metrics = {name: METRICS[name] for name in GROUP_METRICS}
    once, values = original_and_resampled(members, threshold, metrics, resamples, seed)
    kinds = [len(np.unique(members.lesions[members.is_malignant == kind])) for kind in (True, False)]
    if min(kinds) < FEWEST_LESIONS:
        values |= {name: np.full(1, np.nan) for name in metrics if name.startswith("malignant")}
        once |= {name: np.full(1, np.nan) for name in metrics if name.startswith("malignant")}
    figures = [(float(once[name][0]), *interval(values[name])) for name in GROUP_METRICS]
    return dict(zip(columns, np.ravel(figures).tolist(), strict=True))


def by_patient(
    predictions: Predictions, patients: pd.DataFrame, threshold: float, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """`by_group` for age groups, sex and site, one below the other; index such as `age 30-44 (n = 203)`, in images.

    patients: columns age (years), sex and site, a row for each image of `predictions`, in their order.
    """
    fields = {"age": age_group(patients["age"]), "sex": patients["sex"].to_numpy(), "site": patients["site"].to_numpy()}
    tables = []
    for field, groups in fields.items():
        table = by_group(predictions, groups, threshold, resamples, seed)
        table.index = [f"{field} {group} (n = {images})" for group, images in table["images"].items()]
        tables.append(table)
    return pd.concat(tables).rename_axis("group")


def age_group(age: np.ndarray) -> pd.Categorical:
    """Age groups of `age`, years float [n], as an ordered categorical; NaN becomes `missing`, the last category."""
    age = np.asarray(age, np.float64)
    names = [*AGE_GROUPS, "missing"]
    group = np.searchsorted(list(AGE_GROUPS.values())[1:], age, "right")
    return pd.Categorical.from_codes(np.where(np.isnan(age), len(AGE_GROUPS), group), names, ordered=True)
