"""Benign or malignant: thresholds, comparison of two models, and the net benefit of a decision."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from helpers.evaluation.bootstrap import STANDARD, Bootstrap, estimate, ratio
from helpers.evaluation.means import means, proportion
from helpers.evaluation.predictions import Predictions, check_paired
from helpers.evaluation.scores import resample
from helpers.sentences import with_interval
from helpers.study import StudyError

POINTS = (0.90, 0.95)  # specificities and sensitivities at which two models are compared
NET_BENEFIT_THRESHOLDS = np.arange(0.02, 0.61, 0.02)  # share of malignancies that makes a biopsy worthwhile


def threshold_for_sensitivity(predictions: Predictions, sensitivity: float = 0.90) -> float:
    """The largest malignant-score threshold that detects at least `sensitivity` of these malignant images.

    Choose it on validation and apply it to test. Raises StudyError if no image is malignant, or if the sensitivity is
    outside (0, 1].
    """
    scores = np.sort(predictions.malignant_score[predictions.is_malignant])[::-1]
    return float(_quantile(scores, sensitivity, "malignant"))


def operating_point(calibrated: Predictions, sensitivity: float = 0.90) -> float:
    """The calibrated probability of malignancy from which on a lesion is called suspicious in use.

    As `threshold_for_sensitivity`, but at most 0.5: nothing that is probably malignant may look benign.
    """
    return min(0.5, threshold_for_sensitivity(calibrated, sensitivity))


def threshold_for_specificity(predictions: Predictions, specificity: float = 0.90) -> float:
    """The smallest malignant-score threshold that calls at least `specificity` of these benign images benign.

    Choose it on validation and apply it to test. Raises StudyError if no image is benign, or if the specificity is
    outside (0, 1].
    """
    scores = np.sort(predictions.malignant_score[~predictions.is_malignant])
    return float(np.nextafter(_quantile(scores, specificity, "benign"), np.inf))


def _quantile(scores: np.ndarray, share: float, kind: str) -> float:
    """The first score that, with those before it, makes up at least `share` of all; kind: of image, for messages."""
    if not 0 < share <= 1:
        raise StudyError(
            f"A threshold cannot be right for {share} of the {kind} images. Choose a number above 0 and at most 1."
        )
    if not len(scores):
        raise StudyError(f"No image is {kind}, so no threshold can be chosen on these images.")
    return scores[(np.arange(1, len(scores) + 1) / len(scores) >= share).argmax()]


def called_malignant(predictions: Predictions, bootstrap: Bootstrap = STANDARD) -> dict[str, float | None]:
    """The share of the malignant images whose most probable class is malignant, whichever: value, low and high."""
    rows = predictions.is_malignant
    return proportion(
        np.array(predictions.malignant)[predictions.predicted][rows], predictions.lesions[rows], bootstrap
    )


def thresholds_from(validation: Predictions) -> dict[str, float]:
    """Thresholds that reach the specificities and sensitivities of POINTS on validation, by name."""
    points = {f"{100 * share:.0f} % specificity": threshold_for_specificity(validation, share) for share in POINTS}
    return points | {
        f"{100 * share:.0f} % sensitivity": threshold_for_sensitivity(validation, share) for share in POINTS
    }


def compare_malignancy(
    first: tuple[Predictions, Predictions], second: tuple[Predictions, Predictions], bootstrap: Bootstrap = STANDARD
) -> pd.DataFrame:
    """Compare how well two models, each given as (validation, test), separate malignant from benign test images.

    Index: point and figure. The point `ranking` has the AUC and the average precision. Each of the `thresholds_from`,
    chosen on validation for each model, has the sensitivity and the specificity on test. Columns: first, second and
    difference (first minus second), each with value, low and high. The intervals treat the thresholds as fixed. The
    models may have different classes. Raises StudyError unless both were tested on the same images.
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
    """The figures of `compare_malignancy` for one model: one row per row of weights, one column per figure."""
    weights = bootstrap.weights(test.lesions)
    ranking = resample(test, ("malignant_auc", "malignant_average_precision"), weights)
    columns = {("ranking", "AUC"): ranking["malignant_auc"]}
    columns["ranking", "average precision"] = ranking["malignant_average_precision"]
    for point, threshold in thresholds_from(validation).items():
        names = {name: f"malignant_{name}" for name in ("sensitivity", "specificity")}
        reached = resample(test, list(names.values()), weights, threshold=threshold)
        columns |= {(point, name): reached[metric] for name, metric in names.items()}
    return pd.DataFrame(columns)


def predictive_values(
    predictions: Predictions, threshold: float, prevalences: Sequence[float], *, bootstrap: Bootstrap = STANDARD
) -> pd.DataFrame:
    """PPV and NPV of the call `malignant` where malignant lesions have another prevalence, 0 to 1, than here.

    By Bayes' rule from the sensitivity and specificity at the threshold, which are assumed to stay the same. Index:
    prevalence; columns: ppv and npv, each with value, low and high.
    """
    rates = ["malignant_sensitivity", "malignant_specificity"]
    drawn = resample(predictions, rates, bootstrap.weights(predictions.lesions), threshold=threshold)
    sensitivity, specificity = (drawn[rate] for rate in rates)
    rows = {}
    for share in prevalences:
        true, false = share * sensitivity, (1 - share) * (1 - specificity)
        cleared, missed = (1 - share) * specificity, share * (1 - sensitivity)
        values = {"ppv": ratio(true, true + false), "npv": ratio(cleared, cleared + missed)}
        rows[share] = {(name, end): x for name, v in values.items() for end, x in estimate(v).items()}
    return pd.DataFrame(rows).T.astype(float).rename_axis("prevalence")


def decision_curve(
    predictions: Predictions, thresholds: np.ndarray = NET_BENEFIT_THRESHOLDS, bootstrap: Bootstrap = STANDARD
) -> pd.DataFrame:
    """Net benefit per image of treating the images whose malignant score reaches a threshold.

    At threshold t one missed malignancy costs as much as (1 - t) / t unnecessary treatments, so the net benefit is
    true positives / n - false positives / n * t / (1 - t) (Vickers and Elkin, Med. Decis. Making 2006). Index:
    threshold, in (0, 1); columns: value, low, high, and `all`, the net benefit of treating every image. Treating none
    has a net benefit of 0. The scores must be calibrated.
    """
    p, odds = predictions, thresholds / (1 - thresholds)
    gain = np.where(p.is_malignant[:, None], 1.0, -odds)
    net = gain * (p.malignant_score[:, None] >= thresholds)
    table = means(dict(zip(thresholds, net.T, strict=True)), p.lesions, bootstrap)
    return table.assign(all=gain.mean(axis=0)).rename_axis("threshold")


def malignant_by_fifths(predictions: Predictions, bootstrap: Bootstrap = STANDARD) -> pd.DataFrame:
    """The images by the stated probability of malignancy, in fifths: how many there are, and how many are malignant.

    One row per fifth that has images, with texts in the columns images, stated on average, and malignant.
    """
    p, stated = predictions, predictions.malignant_score
    fifth, rows = np.minimum((stated * 5).astype(int), 4), {}
    for number in np.unique(fifth):
        images = fifth == number
        row = {"images": f"{images.sum():,}", "stated on average": f"{stated[images].mean():.2f}"}
        row["malignant"] = with_interval(proportion(p.is_malignant[images], p.lesions[images], bootstrap), 2)
        rows[f"{20 * number} to {20 * number + 20} %"] = row
    return pd.DataFrame(rows).T.rename_axis("stated probability")
