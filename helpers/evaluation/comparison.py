"""Models compared in pairs, on the same resampled lesions."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score

from helpers.evaluation.bootstrap import interval, original_and_bootstrap_weights, resample, with_bounds
from helpers.evaluation.predictions import Predictions, check_paired
from helpers.evaluation.scores import METRICS


def pairwise(
    models: Mapping[str, Predictions], metric: str = "balanced_accuracy", resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Every pair of models, a row each: METRICS[metric] of `first` minus that of `second`, and McNemar's test.

    Columns: first, second, value with low and high (95 %, on the same resampled lesions), lesions_first,
    lesions_second and p as in `mcnemar`, and p_holm, corrected for the number of pairs. Errors as of
    `paired_difference`. Each model is resampled once, however many pairs it is in.
    """
    one = next(iter(models.values()))
    for model in models.values():
        check_paired(one, model)
    weights = original_and_bootstrap_weights(one.lesions, resamples, seed)
    scores = {name: resample(model, weights, None, {metric: METRICS[metric]})[metric] for name, model in models.items()}
    rows = []
    for first, second in combinations(models, 2):
        difference = scores[first] - scores[second]
        test = mcnemar(models[first], models[second])
        rows.append({"first": first, "second": second, **with_bounds(difference[0], difference[1:]), **test})
    columns = ["first", "second", "value", "low", "high", "lesions_first", "lesions_second", "p"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(p_holm=holm(table["p"]))


def significance_marks(pairs: pd.DataFrame, level: float = 0.05) -> pd.Series:
    """What each row of `pairwise` comes to, as a mark: str, with the index of `pairs`.

    Nothing where the interval holds zero, `*` where it leaves zero out, without a correction for the number of pairs.
    Where McNemar's p after Holm's correction is below `level` as well, `**` if it favours the same model as the
    difference, and `†` if it favours the other one.
    """
    clear = (pairs["low"] > 0) | (pairs["high"] < 0)
    sign = np.where(np.sign(pairs["value"]) == np.sign(pairs["lesions_first"] - pairs["lesions_second"]), "**", "†")
    return pd.Series(np.where(clear, np.where(pairs["p_holm"] < level, sign, "*"), ""), index=pairs.index)


def paired_difference(
    first: Predictions, second: Predictions, metric: str, resamples: int = 2000, seed: int = 0
) -> dict[str, float | None]:
    """METRICS[metric] of `first` minus that of `second`, as {"value", "low", "high"}, on the same resampled lesions.

    metric: one that needs no threshold. Both have to be predictions for the same images in the same order; StudyError
    if they are not.
    """
    pair = pairwise({"first": first, "second": second}, metric, resamples, seed).iloc[0]
    return {key: None if pd.isna(pair[key]) else float(pair[key]) for key in ("value", "low", "high")}


def unpaired_difference(
    first: Predictions, second: Predictions, metric: str, resamples: int = 2000, seed: int = 0
) -> dict[str, float | None]:
    """METRICS[metric] on one set of lesions minus that on another, as {"value", "low", "high"}.

    The lesions of the two are resampled independently of each other. metric: one that needs no threshold.
    """
    scores = [score_draws([one], metric, resamples, start)[0] for one, start in ((first, seed), (second, seed + 1))]
    difference = scores[0] - scores[1]
    return with_bounds(difference[0], difference[1:])


def score_draws(runs: Sequence[Predictions], metric: str, resamples: int = 2000, seed: int = 0) -> np.ndarray:
    """METRICS[metric] of one model trained from several seeds, float64 [seeds, 1 + resamples].

    Column 0 is the figure itself, each other one a resample of the lesions: the same for all runs, and for other models
    on the same images, so that the difference of two such arrays is paired. metric: one that needs no threshold.
    """
    weights = original_and_bootstrap_weights(runs[0].lesions, resamples, seed)
    return np.stack([resample(run, weights, None, {metric: METRICS[metric]})[metric] for run in runs])


def mean_over_seeds(drawn: np.ndarray, seed: int = 0) -> dict[str, float]:
    """The mean over seeds of what `score_draws` gives, or of differences of it, as {"value", "low", "high"}.

    For each resample of the lesions the seeds are drawn anew as well, with replacement. With one seed the interval
    covers the lesions alone; with three, drawing from so few still understates what seeds do.
    """
    resamples = drawn.shape[1] - 1
    picked = np.random.default_rng(seed).integers(len(drawn), size=(len(drawn), resamples))
    low, high = interval(np.take_along_axis(drawn[:, 1:], picked, axis=0).mean(axis=0))
    return {"value": float(drawn[:, 0].mean()), "low": low, "high": high}


def mcnemar(first: Predictions, second: Predictions) -> dict:
    """McNemar's exact test of whether two models are right equally often, with lesions as units.

    Images of one lesion are no independent trials, so each lesion has one verdict: the model that answers more of its
    images rightly. Lesions without a verdict do not count; were the models equally good, either would win half of the
    others (McNemar 1947, exact binomial form; with one image a lesion it is his test). Gives lesions_first and
    lesions_second, the lesions that each model won, and p, two-sided. Raises StudyError for predictions not paired.
    """
    check_paired(first, second)
    right = [(p.predicted == p.labels).astype(int) for p in (first, second)]
    lead = pd.Series(right[0] - right[1]).groupby(first.lesions).sum()
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
    """Cohen's (1960) kappa of each pair of models' answers, a row and a column a model: 1 same, 0 as if by chance."""
    table = pd.DataFrame(1.0, index=list(models), columns=list(models))
    for first, second in combinations(models, 2):
        check_paired(models[first], models[second])
        answers = models[first].predicted, models[second].predicted
        kappa = 1.0 if np.array_equal(*answers) else cohen_kappa_score(*answers)
        table.loc[first, second] = table.loc[second, first] = kappa
    return table


def missed_by_all(models: Iterable[Predictions]) -> tuple[np.ndarray, float]:
    """Which images no model answers rightly, bool [n], and the share of images that would be so by chance.

    By chance: were the models' errors independent of each other within each class. Raises StudyError if not paired.
    """
    first, *others = models
    for other in others:
        check_paired(first, other)
    wrong = np.stack([p.predicted != p.labels for p in (first, *others)])
    expected = 0.0
    for members in (first.labels == k for k in np.unique(first.labels)):
        expected += wrong[:, members].mean(axis=1).prod() * members.mean()
    return wrong.all(axis=0), float(expected)
