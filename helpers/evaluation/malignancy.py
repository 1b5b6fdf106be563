"""Benign or malignant: thresholds, comparison of two models, and the net benefit of a decision."""

import numpy as np
import pandas as pd

from helpers.evaluation.bootstrap import STANDARD, Bootstrap, estimate
from helpers.evaluation.means import means
from helpers.evaluation.predictions import Predictions, check_paired
from helpers.evaluation.scores import resample
from helpers.study import StudyError

POINTS = (0.90, 0.95)  # specificities and sensitivities at which two models are compared
NET_BENEFIT_THRESHOLDS = np.arange(0.02, 0.61, 0.02)  # from one biopsy in fifty being worth it to three in five


def threshold_for_sensitivity(predictions: Predictions, sensitivity: float = 0.90) -> float:
    """The largest threshold for the malignant score that finds at least `sensitivity` of these malignant images.

    Choose it on validation and apply it to test. Raises StudyError if no image is malignant, or for a sensitivity
    outside (0, 1].
    """
    scores = np.sort(predictions.malignant_score[predictions.is_malignant])[::-1]
    return float(_quantile(scores, sensitivity, "malignant"))


def threshold_for_specificity(predictions: Predictions, specificity: float = 0.90) -> float:
    """The smallest threshold for the malignant score that clears at least `specificity` of these benign images.

    Choose it on validation and apply it to test. Raises StudyError if no image is benign, or for a specificity
    outside (0, 1].
    """
    scores = np.sort(predictions.malignant_score[~predictions.is_malignant])
    return float(np.nextafter(_quantile(scores, specificity, "benign"), np.inf))


def _quantile(scores: np.ndarray, share: float, kind: str) -> float:
    """The first score, in the order given, up to which at least `share` of them lie; kind: of image, for errors."""
    if not 0 < share <= 1:
        raise StudyError(
            f"A threshold cannot be right for {share} of the {kind} images: above 0 and at most 1, please."
        )
    if not len(scores):
        raise StudyError(f"No image is {kind}, so no threshold can be chosen on these images.")
    return scores[(np.arange(1, len(scores) + 1) / len(scores) >= share).argmax()]


def operating_points(validation: Predictions) -> dict[str, float]:
    """The thresholds that reach the specificities and sensitivities of POINTS on validation, by what they reach."""
    points = {f"{100 * share:.0f} % specificity": threshold_for_specificity(validation, share) for share in POINTS}
    return points | {
        f"{100 * share:.0f} % sensitivity": threshold_for_sensitivity(validation, share) for share in POINTS
    }


def compare_malignancy(
    first: tuple[Predictions, Predictions], second: tuple[Predictions, Predictions], bootstrap: Bootstrap = STANDARD
) -> pd.DataFrame:
    """How well two models, each given as (validation, test), tell malignant from benign on the same test lesions.

    Index: point and figure. The point `ranking` has the AUC and the average precision; each of the `operating_points`,
    chosen on validation for each model, has the sensitivity and the specificity on test. Columns: first, second and
    difference (first minus second), each with value, low and high, for fixed thresholds. The models may have different
    classes. Raises StudyError unless both were tested on the same images.
    """
    check_paired(first[1], second[1], truth="is_malignant")
    drawn = {name: _malignancy(*parts, bootstrap) for name, parts in (("first", first), ("second", second))}
    drawn["difference"] = drawn["first"] - drawn["second"]
    figures = {
        name: {row: estimate(values.to_numpy()) for row, values in table.items()} for name, table in drawn.items()
    }
    tables = {name: pd.DataFrame.from_dict(table, orient="index") for name, table in figures.items()}
    return pd.concat(tables, axis=1).astype(float).rename_axis(["point", "figure"])


def _malignancy(validation: Predictions, test: Predictions, bootstrap: Bootstrap) -> pd.DataFrame:
    """The figures of `compare_malignancy` for one model: a row for each row of weights, a column for each figure."""
    weights = bootstrap.weights(test.lesions)
    ranking = resample(test, ("malignant_auc", "malignant_average_precision"), weights)
    columns = {("ranking", "AUC"): ranking["malignant_auc"]}
    columns["ranking", "average precision"] = ranking["malignant_average_precision"]
    for point, threshold in operating_points(validation).items():
        names = {name: f"malignant_{name}" for name in ("sensitivity", "specificity")}
        reached = resample(test, list(names.values()), weights, threshold=threshold)
        columns |= {(point, name): reached[metric] for name, metric in names.items()}
    return pd.DataFrame(columns)


def decision_curve(
    predictions: Predictions, thresholds: np.ndarray = NET_BENEFIT_THRESHOLDS, bootstrap: Bootstrap = STANDARD
) -> pd.DataFrame:
    """Net benefit per image of treating the images whose malignant score reaches a threshold.

    At threshold t a missed malignancy weighs as much as (1 - t) / t needless treatments, so the net benefit is
    true positives / n - false positives / n * t / (1 - t) (Vickers and Elkin, Med. Decis. Making 2006). Index:
    threshold, in (0, 1); columns value, low, high, and `all`, the net benefit of treating every image. Treating none
    has 0. The scores have to be calibrated to be compared with t.
    """
    p, odds = predictions, thresholds / (1 - thresholds)
    gain = np.where(p.is_malignant[:, None], 1.0, -odds)
    net = gain * (p.malignant_score[:, None] >= thresholds)
    table = means(dict(zip(thresholds, net.T, strict=True)), p.lesions, bootstrap)
    return table.assign(all=gain.mean(axis=0)).rename_axis("threshold")
