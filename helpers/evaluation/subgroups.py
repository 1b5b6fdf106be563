"""Scores by age, sex, site or any other group."""

import numpy as np
import pandas as pd

from helpers.evaluation.bootstrap import STANDARD, Bootstrap, estimate
from helpers.evaluation.predictions import Predictions
from helpers.evaluation.scores import resample
from helpers.study import StudyError

MIN_IMAGES = 20  # fewest images for the scores of a group
MIN_LESIONS = 10  # fewest malignant, and fewest benign, lesions for the malignancy scores of a group
GROUP_METRICS = ("accuracy", "balanced_accuracy", "malignant_auc", "malignant_sensitivity", "malignant_specificity")
AGE_GROUPS = {"0-29": 0, "30-44": 30, "45-59": 45, "60-74": 60, "75+": 75}  # name and first year of each


def group_scores(
    predictions: Predictions, groups: np.ndarray, threshold: float, *, bootstrap: Bootstrap = STANDARD
) -> pd.DataFrame:
    """GROUP_METRICS with 95 % intervals for each group in `groups` [n], in the order of its categories.

    Index: group. Columns: images, lesions, malignant_images, then each metric with <metric>_low and <metric>_high.
    Metrics are NaN in groups with fewer than MIN_IMAGES images, and malignancy metrics also in groups with fewer than
    MIN_LESIONS malignant or benign lesions. Raises StudyError if an image has no group.
    """
    groups = pd.Categorical(groups)
    if len(groups) != len(predictions) or (groups.codes < 0).any():
        raise StudyError("Scores by group need a group for every image. Use the group `unknown` where it is missing.")
    counts, figures = {}, {}
    for code in np.unique(groups.codes):
        name, members = groups.categories[code], predictions.subset(groups.codes == code)
        malignant = members.is_malignant
        counts[name] = len(members), len(np.unique(members.lesions)), malignant.sum()
        figures[name] = _group_figures(members, threshold, bootstrap)
    columns = [f"{metric}{end}" for metric in GROUP_METRICS for end in ("", "_low", "_high")]
    counts = pd.DataFrame.from_dict(counts, orient="index", columns=["images", "lesions", "malignant_images"])
    figures = pd.DataFrame.from_dict(figures, orient="index").reindex(columns=columns).astype(float)
    return counts.join(figures).rename_axis("group")


def _group_figures(members: Predictions, threshold: float, bootstrap: Bootstrap) -> dict[str, float | None]:
    metrics = GROUP_METRICS if len(members) >= MIN_IMAGES else ()
    kinds = [len(np.unique(members.lesions[members.is_malignant == kind])) for kind in (True, False)]
    if min(kinds) < MIN_LESIONS:
        metrics = [metric for metric in metrics if not metric.startswith("malignant")]
    values = resample(members, metrics, bootstrap.weights(members.lesions), threshold=threshold)
    ends = ("", "_low", "_high")
    return {
        f"{metric}{end}": number
        for metric in metrics
        for end, number in zip(ends, estimate(values[metric]).values(), strict=True)
    }


def patient_group_scores(
    predictions: Predictions, patients: pd.DataFrame, threshold: float, *, bootstrap: Bootstrap = STANDARD
) -> pd.DataFrame:
    """`group_scores` by age group, sex and site in one table. Its index looks like `age 30-44 (n = 203)`; n is images.

    patients: columns age (years), sex and site, one row per image of `predictions`, in the same order.
    """
    fields = {"age": age_group(patients["age"]), "sex": patients["sex"].to_numpy(), "site": patients["site"].to_numpy()}
    tables = []
    for field, groups in fields.items():
        table = group_scores(predictions, groups, threshold, bootstrap=bootstrap)
        table.index = [f"{field} {group} (n = {images})" for group, images in table["images"].items()]
        tables.append(table)
    return pd.concat(tables).rename_axis("group")


def age_group(age: np.ndarray) -> pd.Categorical:
    """Age groups as an ordered categorical [n], from ages in years, float [n]. NaN becomes `missing`, the last one."""
    age = np.asarray(age, np.float64)
    names = [*AGE_GROUPS, "missing"]
    group = np.searchsorted(list(AGE_GROUPS.values())[1:], age, "right")
    return pd.Categorical.from_codes(np.where(np.isnan(age), len(AGE_GROUPS), group), names, ordered=True)
