"""When a model should abstain: confidence scores, and the risk at each coverage."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from helpers.evaluation.bootstrap import STANDARD, Bootstrap, estimate, interval
from helpers.evaluation.scores import weighted_auc
from helpers.study import StudyError

UNKNOWN = "UNK"  # the ninth class of the ISIC 2019 challenge, for an image of none of the other eight
ISIC_ORDER = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")  # column order of the challenge's submission file
COVERAGES = np.linspace(0.05, 1.0, 39)  # at which the risk is measured


def confidence_scores(logits: np.ndarray, probabilities: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Two confidence scores per image, float64 [n], from logits [n, classes].

    `maximum probability` is the probability of the predicted class (Hendrycks and Gimpel, ICLR 2017). `energy` is the
    log-sum-exp of the logits (Liu et al., NeurIPS 2020), which also depends on their overall size. probabilities: those
    that the prediction is made from, if it is made after calibration; else the softmax of the logits.
    """
    energy = logsumexp(logits, axis=1)
    highest = np.exp(logits.max(axis=1) - energy) if probabilities is None else probabilities.max(axis=1)
    return {"maximum probability": highest, "energy": energy}


def detection_auc(
    scores: Mapping[str, np.ndarray], unknown: np.ndarray, lesions: np.ndarray, *, bootstrap: Bootstrap = STANDARD
) -> pd.DataFrame:
    """AUC of telling known from unknown classes by confidence: value, low and high for each score.

    The AUC is the chance that an image of a known class gets a higher score than one of an unknown class. scores: float
    [n] by name; unknown: bool [n], True for images of an unknown class. With two scores there is also a row `<first>
    minus <second>`, on the same resamples.
    """
    known, weights = ~np.asarray(unknown, bool), bootstrap.weights(lesions)
    areas = {name: weighted_auc(weights, known, values) for name, values in scores.items()}
    if len(areas) == 2:
        first, second = areas
        areas[f"{first} minus {second}"] = areas[first] - areas[second]
    return pd.DataFrame([estimate(area) for area in areas.values()], list(areas), dtype=float)


def least_risky(scores: Mapping[str, np.ndarray], wrong: np.ndarray) -> str:
    """The name of the confidence score with the lowest mean risk. Use validation images to choose one for use."""
    every = np.ones((1, len(wrong)))
    return min(scores, key=lambda name: _mean_risks(scores[name], wrong, every)[0])


def risk_coverage(
    confidence: np.ndarray, wrong: np.ndarray, lesions: np.ndarray, *, bootstrap: Bootstrap = STANDARD
) -> pd.DataFrame:
    """The risk (proportion of wrong predictions) at each coverage (proportion of images that are not abstained on).

    The model keeps the images with the highest confidence scores, float [n]. They are chosen again in each resample
    (Geifman and El-Yaniv, NeurIPS 2017). wrong: bool [n]. One row for each of COVERAGES: coverage, risk, low, high, and
    threshold, the lowest score at which the model does not abstain.
    """
    risks, thresholds = _risks(confidence, wrong, bootstrap.weights(lesions))
    low, high = np.transpose([interval(drawn) for drawn in risks[1:].T])
    columns = {"coverage": COVERAGES, "risk": risks[0], "low": low, "high": high, "threshold": thresholds}
    return pd.DataFrame(columns)


def mean_risk(
    confidence: np.ndarray, wrong: np.ndarray, lesions: np.ndarray, *, bootstrap: Bootstrap = STANDARD
) -> dict[str, float]:
    """The mean of `risk_coverage` over all coverages, as {"value", "low", "high"}.

    It is 0 if no prediction is wrong, and equals the error rate if confidence is unrelated to errors.
    """
    return estimate(_mean_risks(confidence, wrong, bootstrap.weights(lesions)))


def mean_risk_difference(
    first: np.ndarray, second: np.ndarray, wrong: np.ndarray, *, lesions: np.ndarray, bootstrap: Bootstrap = STANDARD
) -> dict[str, float]:
    """`mean_risk` of the first confidence score, float [n], minus that of the second, on the same resamples."""
    weights = bootstrap.weights(lesions)
    return estimate(_mean_risks(first, wrong, weights) - _mean_risks(second, wrong, weights))


def _mean_risks(confidence: np.ndarray, wrong: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The means of `_risks` over all coverages, float64 [b]."""
    risks, _ = _risks(confidence, wrong, weights)
    return np.trapezoid(risks, COVERAGES, axis=1) / (COVERAGES[-1] - COVERAGES[0])


def _risks(confidence: np.ndarray, wrong: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The risks under each row of weights [b, n], float64 [b, coverages], and the thresholds under the first row."""
    order, weights = np.argsort(-confidence, kind="stable"), weights.astype(np.float64)
    counted, errors = weights[:, order].cumsum(axis=1), (weights * wrong)[:, order].cumsum(axis=1)
    last = [(counted < coverage * counted[:, -1:] - 1e-9).sum(axis=1) for coverage in COVERAGES]
    last = np.minimum(np.transpose(last), len(confidence) - 1)
    risks = np.take_along_axis(errors, last, 1) / np.take_along_axis(counted, last, 1)
    return risks, confidence[order[last[0]]]


def abstention_threshold(confidence: np.ndarray, coverage: float = 0.95) -> float:
    """The confidence score below which the model abstains, for a given coverage on these images.

    Use validation images of known classes. Raises StudyError for a coverage outside (0, 1].
    """
    if not 0 < coverage <= 1:
        raise StudyError(f"The coverage is {coverage}. Set it to a proportion of the images, above 0 and at most 1.")
    return float(np.quantile(confidence, 1 - coverage))


def challenge_table(
    image_ids: Sequence[str], probabilities: np.ndarray, codes: Sequence[str], *, doubt: np.ndarray
) -> pd.DataFrame:
    """A submission to the ISIC 2019 challenge: image, one column per class in ISIC_ORDER, and UNK, all from 0 to 1.

    doubt: float [n], how far the confidence score lies below the abstention threshold, for example in standard
    deviations. At a doubt of 0, UNK equals the largest of the other columns, and it grows with the doubt. Classes that
    the model does not know get 0. Raises StudyError for a class that is not in the challenge.
    """
    if strange := [code for code in codes if code not in ISIC_ORDER]:
        raise StudyError(f"The challenge has no class {strange[0]}; its classes are {', '.join(ISIC_ORDER)}.")
    given = np.asarray(probabilities, np.float64)
    odds = np.exp(np.clip(doubt, -50, 50)) * given.max(axis=1)
    unknown = odds / (1 + odds)
    by_class: Mapping[str, np.ndarray] = dict(zip(codes, given.T, strict=True))
    columns = {code: by_class.get(code, np.zeros(len(unknown))) * (1 - unknown) for code in ISIC_ORDER}
    return pd.DataFrame({"image": list(image_ids), **columns, UNKNOWN: unknown}).round(6)
