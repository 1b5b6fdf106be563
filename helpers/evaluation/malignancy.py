"""Benign or malignant: thresholds, comparison of two models, and the net benefit of a decision."""

import numpy as np
import pandas as pd

from helpers.evaluation.bootstrap import (
    interval,
    original_and_bootstrap_weights,
    original_and_resampled,
    resample,
    with_bounds,
)
from helpers.evaluation.predictions import Predictions, check_paired
from helpers.evaluation.scores import malignant_auc_of, malignant_average_precision_of, sensitivity_of, specificity_of
from helpers.study import StudyError

WANTED = (0.90, 0.95)  # specificities and sensitivities at which two ways of finding malignancy are compared
NET_BENEFIT_THRESHOLDS = np.arange(0.02, 0.61, 0.02)  # from one biopsy in fifty being worth it to three in five


def operating_threshold(predictions: Predictions, sensitivity: float = 0.90) -> float:
    """Largest malignant score that, as a threshold, finds at least `sensitivity` of these malignant images.

    Choose it on validation and apply it to test. Raises StudyError if no image is malignant, or for a sensitivity
    outside (0, 1].
    """
    if not 0 < sensitivity <= 1:
        raise StudyError(f"sensitivity is {sensitivity}; it has to be above 0 and at most 1.")
    scores = np.sort(predictions.malignant_score[predictions.is_malignant])[::-1]
    if not len(scores):
        raise StudyError("No image is malignant, so no threshold can be chosen on these images.")
    reached = np.arange(1, len(scores) + 1) / len(scores) >= sensitivity
    return float(scores[reached.argmax()])


def specific_threshold(predictions: Predictions, specificity: float = 0.90) -> float:
    """Smallest threshold for the malignant score that lets go at least `specificity` of these benign images.

    Choose it on validation and apply it to test. Raises StudyError if no image is benign, or for a specificity
    outside (0, 1].
    """
    if not 0 < specificity <= 1:
        raise StudyError(f"specificity is {specificity}; it has to be above 0 and at most 1.")
    scores = np.sort(predictions.malignant_score[~predictions.is_malignant])
    if not len(scores):
        raise StudyError("No image is benign, so no threshold can be chosen on these images.")
    reached = np.arange(1, len(scores) + 1) / len(scores) >= specificity
    return float(np.nextafter(scores[reached.argmax()], np.inf))


def operating_points(validation: Predictions) -> dict[str, float]:
    """Thresholds at which the WANTED specificities and sensitivities are reached on validation, by what is reached."""
    points = {f"{100 * share:.0f} % specificity": specific_threshold(validation, share) for share in WANTED}
    return points | {f"{100 * share:.0f} % sensitivity": operating_threshold(validation, share) for share in WANTED}


def compare_malignancy(
    first: tuple[Predictions, Predictions],
    second: tuple[Predictions, Predictions],
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """How well two models, each given as (validation, test), tell malignant from benign on the same test lesions.

    Index: point and figure. At point `ranking` stand the AUC and the average precision; at each of the
    `operating_points`, chosen on validation for each model, the sensitivity and the specificity on test. Columns:
    first, second and difference (first minus second), each with value, low and high, for fixed thresholds. The models
    may have different classes. Raises StudyError unless both were tested on the same images.
    """
    check_paired(first[1], second[1], "is_malignant")
    drawn = [
        _malignancy(*parts, original_and_bootstrap_weights(parts[1].lesions, resamples, seed))
        for parts in (first, second)
    ]
    columns = {"first": drawn[0], "second": drawn[1], "difference": drawn[0] - drawn[1]}
    figures = {
        (name, key): {row: with_bounds(values[0], values[1:])[key] for row, values in table.items()}
        for name, table in columns.items()
        for key in ("value", "low", "high")
    }
    return pd.DataFrame(figures, dtype=float).rename_axis(["point", "figure"])


def _malignancy(validation: Predictions, test: Predictions, weights: np.ndarray) -> pd.DataFrame:
    """The figures of `compare_malignancy` for one model: a row for each row of `weights`, a column for each figure."""
    ranking = {"AUC": malignant_auc_of, "average precision": malignant_average_precision_of}
    columns = {("ranking", name): values for name, values in resample(test, weights, None, ranking).items()}
    for point, threshold in operating_points(validation).items():
        reached = resample(test, weights, threshold, {"sensitivity": sensitivity_of, "specificity": specificity_of})
        columns |= {(point, name): values for name, values in reached.items()}
    return pd.DataFrame(columns)


def decision_curve(
    predictions: Predictions,
    thresholds: np.ndarray = NET_BENEFIT_THRESHOLDS,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Net benefit of treating the images whose malignant score reaches a threshold, per image, threshold by threshold.

    At threshold t a missed malignancy weighs as much as (1 - t) / t needless treatments, so the net benefit is
    true positives / n - false positives / n * t / (1 - t) (Vickers and Elkin, Med. Decis. Making 2006). Index:
    threshold, in (0, 1); columns value, low, high, and `all`, the net benefit of treating every image. Treating none
    has 0. The scores have to be calibrated to be held against t.
    """
    p, odds = predictions, thresholds / (1 - thresholds)
    gain = np.where(p.is_malignant[:, None], 1.0, -odds)
    net = {"net": lambda drawn: drawn.share_of_each(gain * (p.malignant_score[:, None] >= thresholds))}
    once, values = original_and_resampled(p, None, net, resamples, seed)
    low, high = np.transpose([interval(column) for column in values["net"].T])
    columns = {"value": once["net"][0], "low": low, "high": high, "all": gain.mean(axis=0)}
    return pd.DataFrame(columns, index=pd.Index(thresholds, name="threshold"))
