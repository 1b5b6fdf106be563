"""When a model had better not answer: scores of how sure it is, and what is gained by leaving out the least sure."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.special import logsumexp

from helpers.evaluation.bootstrap import bootstrap_weights, interval
from helpers.evaluation.means import shares
from helpers.evaluation.ranking import auc
from helpers.study import StudyError

UNKNOWN = "UNK"  # the ninth class of the ISIC 2019 challenge: none of the others
ISIC_ORDER = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")  # of its submission file
COVERAGES = np.linspace(0.05, 1.0, 39)  # shares of the images that are answered


def confidence_scores(values: np.ndarray) -> dict[str, np.ndarray]:
    """Two scores of each image, float64 [n], from logits [n, classes]; higher is surer.

    `maximum probability` is that of the answer (Hendrycks and Gimpel, ICLR 2017); `energy` is the logarithm of the sum
    of the logits' exponentials (Liu et al., NeurIPS 2020), which also knows how large they are together.
    """
    energy = logsumexp(values, axis=1)
    return {"maximum probability": np.exp(values.max(axis=1) - energy), "energy": energy}


def detection(
    sure: Mapping[str, np.ndarray], unknown: np.ndarray, lesions: np.ndarray, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """The chance that an image of a known class is surer than one of an unknown class, by score: value, low, high.

    sure: float [n] by score; unknown: bool [n]; lesions: [n], by which the images are resampled. Of two scores there is
    a row `<first> minus <second>` besides, on the same resamples.
    """
    known = ~np.asarray(unknown, bool)
    weights = np.vstack([np.ones(len(known)), bootstrap_weights(lesions, resamples, seed)])
    drawn = {name: auc(weights, known, scores) for name, scores in sure.items()}
    if len(drawn) == 2:
        first, second = drawn
        drawn[f"{first} minus {second}"] = drawn[first] - drawn[second]
    rows = {name: (areas[0], *interval(areas[1:])) for name, areas in drawn.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["value", "low", "high"])


def risk_coverage(
    sure: np.ndarray, wrong: np.ndarray, lesions: np.ndarray, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """The share of wrong answers among the surest images (Geifman and El-Yaniv, NeurIPS 2017).

    One row for each of COVERAGES: coverage, risk, low, high, and threshold, the least score that is still answered.
    wrong: bool [n]; the images are resampled by lesion, and the surest chosen anew in each resample.
    """
    risks, thresholds = _risks(sure, wrong, lesions, resamples, seed)
    low, high = np.transpose([interval(drawn) for drawn in risks[1:].T])
    columns = {"coverage": COVERAGES, "risk": risks[0], "low": low, "high": high, "threshold": thresholds}
    return pd.DataFrame(columns)


def mean_risk(sure: np.ndarray, wrong: np.ndarray, lesions: np.ndarray, resamples: int = 2000, seed: int = 0) -> dict:
    """The mean of `risk_coverage` over all coverages, as {"value", "low", "high"}.

    0 if no answer is wrong, the error rate if the score knows nothing.
    """
    return _with_interval(_mean_risks(sure, wrong, lesions, resamples, seed))


def mean_risk_difference(
    first: np.ndarray, second: np.ndarray, wrong: np.ndarray, lesions: np.ndarray, resamples: int = 2000, seed: int = 0
) -> dict:
    """`mean_risk` of one score less that of another, float [n] each, on the same resamples."""
    drawn = [_mean_risks(sure, wrong, lesions, resamples, seed) for sure in (first, second)]
    return _with_interval(drawn[0] - drawn[1])


def _with_interval(drawn: np.ndarray) -> dict[str, float]:
    """Of float [1 + resamples], the first of the images themselves."""
    low, high = interval(drawn[1:])
    return {"value": float(drawn[0]), "low": low, "high": high}


def _mean_risks(sure: np.ndarray, wrong: np.ndarray, lesions: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """The means of `_risks` over all coverages, float64 [1 + resamples]."""
    risks, _ = _risks(sure, wrong, lesions, resamples, seed)
    return np.trapezoid(risks, COVERAGES, axis=1) / (COVERAGES[-1] - COVERAGES[0])


def _risks(
    sure: np.ndarray, wrong: np.ndarray, lesions: np.ndarray, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Risks float64 [1 + resamples, COVERAGES], the first row of the images themselves, and their thresholds."""
    weights = np.vstack([np.ones(len(sure)), bootstrap_weights(lesions, resamples, seed)])
    order = np.argsort(-sure, kind="stable")
    counted, errors = weights[:, order].cumsum(axis=1), (weights * wrong)[:, order].cumsum(axis=1)
    last = [(counted < coverage * counted[:, -1:] - 1e-9).sum(axis=1) for coverage in COVERAGES]
    last = np.minimum(np.transpose(last), len(sure) - 1)
    risks = np.take_along_axis(errors, last, 1) / np.take_along_axis(counted, last, 1)
    return risks, sure[order[last[0]]]


def share(event: np.ndarray, lesions: np.ndarray, resamples: int = 2000, seed: int = 0) -> dict[str, float | None]:
    """How often an event, bool [n], holds, as {"value", "low", "high"} with the images resampled by lesion.

    Where it always or never holds, the interval is the exact one of `metrics.shares`. All are None where there is no
    image.
    """
    if not len(event):
        return {"value": None, "low": None, "high": None}
    return shares({"share": event}, lesions, resamples, seed).loc["share"].to_dict()


def abstention_threshold(sure: np.ndarray, answered: float = 0.95) -> float:
    """The score below which an image is rejected, so that this share of the images of known classes is answered.

    To be set on validation. Raises StudyError for a share outside (0, 1].
    """
    if not 0 < answered <= 1:
        raise StudyError(f"The share of known images that is answered is {answered}; it has to be above 0, at most 1.")
    return float(np.quantile(sure, 1 - answered))


def submission(
    image_ids: Sequence[str],
    probabilities: np.ndarray,
    codes: Sequence[str],
    sure: np.ndarray,
    threshold: float,
    scale: float,
) -> pd.DataFrame:
    """The table that the ISIC 2019 challenge takes: image, a column a class in its order, and UNK, all in 0 to 1.

    A class that the model does not know stands at 0. UNK is as large as the largest of the others at the threshold, and
    grows below it, the faster the smaller `scale` is, such as the standard deviation of the score. Raises StudyError
    for a class that the challenge does not have.
    """
    if strange := [code for code in codes if code not in ISIC_ORDER]:
        raise StudyError(f"The challenge has no class {strange[0]}; its classes are {', '.join(ISIC_ORDER)}.")
    given = np.asarray(probabilities, np.float64)
    odds = np.exp(np.clip((threshold - np.asarray(sure)) / scale, -50, 50)) * given.max(axis=1)
    unknown = odds / (1 + odds)
    of_class: Mapping[str, np.ndarray] = dict(zip(codes, given.T, strict=True))
    columns = {code: of_class.get(code, np.zeros(len(unknown))) * (1 - unknown) for code in ISIC_ORDER}
    table = pd.DataFrame({"image": list(image_ids), **columns, UNKNOWN: unknown})
    return table.round(dict.fromkeys((*ISIC_ORDER, UNKNOWN), 6))
