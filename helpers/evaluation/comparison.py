"""Models compared in pairs, on the same resampled lesions."""

from collections.abc import Iterable, Mapping
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score

from helpers.evaluation.bootstrap import STANDARD, Bootstrap, estimate
from helpers.evaluation.predictions import Predictions, check_paired
from helpers.evaluation.scores import resample


def resampled_scores(models: Iterable[Predictions], metric: str, bootstrap: Bootstrap = STANDARD) -> np.ndarray:
    """A score of several models, or of one model trained from several seeds: float64 [models, 1 + resamples].

    Column 0 is the score itself, each other one a resample of the lesions: the same for all models on the same images,
    so that differences of rows are paired. metric: a property of `Scores` that needs no threshold. Raises StudyError
    unless all are predictions for the same images in the same order.
    """
    models = list(models)
    check_paired(*models)
    weights = bootstrap.weights(models[0].lesions)
    return np.stack([resample(model, [metric], weights)[metric] for model in models])


def pairwise_differences(
    models: Mapping[str, Predictions], metric: str = "balanced_accuracy", bootstrap: Bootstrap = STANDARD
) -> pd.DataFrame:
    """Every pair of models, a row each: the score of `first` minus that of `second`, and McNemar's test.

    Columns: first, second, value with low and high (95 %, on the same resampled lesions), lesions_first,
    lesions_second and p as in `mcnemar`, and p_holm, corrected for the number of pairs. Metric and errors as of
    `resampled_scores`.
    """
    scores = dict(zip(models, resampled_scores(models.values(), metric, bootstrap), strict=True))
    rows = [
        {"first": first, "second": second}
        | estimate(scores[first] - scores[second])
        | mcnemar(models[first], models[second])
        for first, second in combinations(models, 2)
    ]
    columns = ["first", "second", "value", "low", "high", "lesions_first", "lesions_second", "p"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(p_holm=holm(table["p"]))


def significance_marks(pairs: pd.DataFrame) -> pd.Series:
    """A mark for each row of `pairwise_differences`: str, with the index of `pairs`.

    Empty where the interval holds zero, `*` where it leaves zero out, without a correction for the number of pairs.
    Where McNemar's p after Holm's correction is below 0.05 as well, `**` if it favours the same model as the
    difference, and `†` if it favours the other one.
    """
    clear = (pairs["low"] > 0) | (pairs["high"] < 0)
    sign = np.where(np.sign(pairs["value"]) == np.sign(pairs["lesions_first"] - pairs["lesions_second"]), "**", "†")
    return pd.Series(np.where(clear, np.where(pairs["p_holm"] < 0.05, sign, "*"), ""), index=pairs.index)


def paired_difference(
    first: Predictions, second: Predictions, metric: str, *, bootstrap: Bootstrap = STANDARD
) -> dict[str, float | None]:
    """The score of `first` minus that of `second`, as {"value", "low", "high"}, on the same resampled lesions.

    Metric and errors as of `resampled_scores`.
    """
    return estimate(np.subtract(*resampled_scores((first, second), metric, bootstrap)))


def unpaired_difference(
    first: Predictions, second: Predictions, metric: str, *, bootstrap: Bootstrap = STANDARD
) -> dict[str, float | None]:
    """The score on one set of lesions minus that on another, as {"value", "low", "high"}.

    The lesions of the two are resampled independently. Metric as of `resampled_scores`.
    """
    (one,), (other,) = (
        resampled_scores([first], metric, bootstrap),
        resampled_scores([second], metric, bootstrap.independent()),
    )
    return estimate(one - other)


def mean_over_seeds(scores: np.ndarray) -> dict[str, float | None]:
    """The mean over seeds of what `resampled_scores` gives, or of differences of it, as {"value", "low", "high"}.

    For each resample of the lesions the seeds are drawn anew as well, with replacement. With one seed the interval
    covers sampling error alone; three seeds are so few that it still understates seed-to-seed variation.
    """
    picked = np.random.default_rng(0).integers(len(scores), size=(len(scores), scores.shape[1] - 1))
    return estimate(np.r_[scores[:, 0].mean(), np.take_along_axis(scores[:, 1:], picked, axis=0).mean(axis=0)])


def mcnemar(first: Predictions, second: Predictions) -> dict:
    """McNemar's exact test of whether two models are right equally often, with lesions as units.

    Images of one lesion are no independent trials, so each lesion is won by the model that is right for more of its
    images. Ties do not count. If the models are equally good, either wins half of the others (McNemar 1947, exact
    binomial form; with one image per lesion it is his test). Gives lesions_first and lesions_second, the lesions that
    each model won, and p, two-sided. Raises StudyError for predictions that are not paired.
    """
    check_paired(first, second)
    lead = pd.Series(first.is_right.astype(int) - second.is_right).groupby(first.lesions).sum()
    won = int((lead > 0).sum()), int((lead < 0).sum())
    p = binomtest(won[0], sum(won)).pvalue if sum(won) else 1.0
    return {"lesions_first": won[0], "lesions_second": won[1], "p": float(p)}


def holm(p_values: Iterable[float]) -> np.ndarray:
    """p values corrected for their number by Holm's step-down method (Scand. J. Stat. 1979), float64 [m], as given.

    Calling those below 0.05 differences, the chance of even one false call among all is below 0.05.
    """
    p_values = np.asarray(p_values, np.float64)
    order = np.argsort(p_values)
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1))
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(stepped, 1)
    return corrected


def agreement(models: Mapping[str, Predictions]) -> pd.DataFrame:
    """Cohen's (1960) kappa of each pair of models, a row and a column per model: 1 if they always agree."""
    check_paired(*models.values())
    table = pd.DataFrame(1.0, index=list(models), columns=list(models))
    for first, second in combinations(models, 2):
        answers = models[first].predicted, models[second].predicted
        kappa = 1.0 if np.array_equal(*answers) else cohen_kappa_score(*answers)
        table.loc[first, second] = table.loc[second, first] = kappa
    return table


def common_errors(models: Iterable[Predictions]) -> tuple[np.ndarray, float]:
    """The images that every model gets wrong, bool [n], and the share of images for which chance would do this.

    By chance means: if the models' errors were independent within each class. Raises StudyError if not paired.
    """
    models = list(models)
    check_paired(*models)
    wrong = ~np.stack([model.is_right for model in models])
    expected = 0.0
    for members in (models[0].labels == k for k in np.unique(models[0].labels)):
        expected += wrong[:, members].mean(axis=1).prod() * members.mean()
    return wrong.all(axis=0), float(expected)
