"""Pairwise comparison of models on the same resampled lesions."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from types import MappingProxyType

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from helpers.evaluation.bootstrap import STANDARD, Bootstrap, estimate
from helpers.evaluation.predictions import Predictions, check_paired
from helpers.evaluation.scores import resample


def resampled_scores(
    models: Iterable[Predictions],
    metric: str,
    bootstrap: Bootstrap = STANDARD,
    *,
    thresholds: Sequence[float | None] = (),
) -> np.ndarray:
    """A score of several models, or of one model trained from several seeds: float64 [models, 1 + resamples].

    Column 0 is the score itself. Each other column is one resample of the lesions, the same for all models, so that
    differences between rows are paired. metric: a property of `Scores`; thresholds: of the models, if it needs
    one. Raises StudyError unless all predictions are for the same images in the same order.
    """
    models = list(models)
    check_paired(*models)
    weights = bootstrap.weights(models[0].lesions)
    pairs = zip(models, thresholds or [None] * len(models), strict=True)
    return np.stack([resample(model, [metric], weights, threshold=threshold)[metric] for model, threshold in pairs])


def pairwise_differences(
    models: Mapping[str, Predictions],
    metric: str = "balanced_accuracy",
    bootstrap: Bootstrap = STANDARD,
    *,
    repeats: Mapping[str, Sequence[Predictions]] = MappingProxyType({}),
) -> pd.DataFrame:
    """One row per pair of models: the score of `first` minus that of `second`, and McNemar's test.

    Columns: first, second, value with low and high (95 %, on the same resampled lesions), lesions_first,
    lesions_second and p as in `mcnemar`, and p_holm, corrected for the number of pairs. repeats: further trainings of a
    model, by its name; its score is then the mean over its trainings, and the interval covers seeds, too. McNemar's
    test is of the first trainings. For `metric` and errors see `resampled_scores`.
    """
    trainings = {name: [model, *repeats.get(name, ())] for name, model in models.items()}
    scores = {name: seed_draws(resampled_scores(own, metric, bootstrap)) for name, own in trainings.items()}
    rows = [
        {"first": first, "second": second}
        | estimate(scores[first] - scores[second])
        | mcnemar(models[first], models[second])
        for first, second in combinations(models, 2)
    ]
    columns = ["first", "second", "value", "low", "high", "lesions_first", "lesions_second", "p"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(p_holm=holm(table["p"]))


def paired_difference(
    first: Predictions,
    second: Predictions,
    metric: str,
    *,
    bootstrap: Bootstrap = STANDARD,
    thresholds: Sequence[float | None] = (),
) -> dict[str, float | None]:
    """The score of `first` minus that of `second`, as {"value", "low", "high"}, on the same resampled lesions.

    For `metric`, `thresholds` and errors see `resampled_scores`.
    """
    return estimate(np.subtract(*resampled_scores((first, second), metric, bootstrap, thresholds=thresholds)))


def unpaired_difference(
    first: Predictions, second: Predictions, metric: str, *, bootstrap: Bootstrap = STANDARD
) -> dict[str, float | None]:
    """The score on one set of lesions minus the score on another, as {"value", "low", "high"}.

    The two sets are resampled independently. For `metric` see `resampled_scores`.
    """
    (one,), (other,) = (
        resampled_scores([first], metric, bootstrap),
        resampled_scores([second], metric, bootstrap.independent()),
    )
    return estimate(one - other)


def mean_over_seeds(scores: np.ndarray) -> dict[str, float | None]:
    """Mean over seeds of `resampled_scores`, or of differences between them, as {"value", "low", "high"}.

    With one seed the interval covers only sampling error. Even with three seeds it understates seed-to-seed variation.
    """
    return estimate(seed_draws(scores))


def seed_draws(scores: np.ndarray) -> np.ndarray:
    """Means over seeds of `resampled_scores`, float64 [1 + resamples]: each resample of lesions draws the seeds again.

    Models with as many seeds draw the same ones, so two readings of the same networks stay paired.
    """
    picked = np.random.default_rng(0).integers(len(scores), size=(len(scores), scores.shape[1] - 1))
    return np.r_[scores[:, 0].mean(), np.take_along_axis(scores[:, 1:], picked, axis=0).mean(axis=0)]


def mcnemar(first: Predictions, second: Predictions) -> dict:
    """McNemar's exact test of whether two models are right equally often, with lesions as units.

    Images of one lesion are not independent trials, so a lesion counts for the model that is right on more of its
    images. Ties do not count. If the models are equally good, each wins half of the other lesions (McNemar 1947, exact
    binomial form; with one image per lesion this is the original test). Returns lesions_first and lesions_second, the
    number of lesions that each model won, and the two-sided p. Raises StudyError for predictions that are not paired.
    """
    check_paired(first, second)
    lead = pd.Series(first.is_right.astype(int) - second.is_right).groupby(first.lesions).sum()
    won = int((lead > 0).sum()), int((lead < 0).sum())
    p = binomtest(won[0], sum(won)).pvalue if sum(won) else 1.0
    return {"lesions_first": won[0], "lesions_second": won[1], "p": float(p)}


def holm(p_values: Iterable[float]) -> np.ndarray:
    """p values corrected for multiple testing by Holm's method (Scand. J. Stat. 1979), float64 [m], in the same order.

    Calling all corrected p below 0.05 significant keeps the chance of any false positive below 0.05.
    """
    p_values = np.asarray(p_values, np.float64)
    order = np.argsort(p_values)
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1))
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(stepped, 1)
    return corrected


def common_errors(models: Mapping[str, Predictions], image_ids: Sequence[str]) -> pd.DataFrame:
    """The images that every model gets wrong, those with the most confident answers first.

    Columns: image_id, lesion_id, label, answer (the most frequent one) and confidence (mean over the models). Raises
    StudyError unless all predictions are for the same images in the same order.
    """
    first = next(iter(models.values()))
    check_paired(*models.values())
    answers = pd.DataFrame({name: model.predicted for name, model in models.items()}).mode(axis=1)[0].astype(int)
    confidence = np.mean([model.confidence for model in models.values()], axis=0).round(3)
    codes = np.array(first.classes)
    table = pd.DataFrame({"image_id": list(image_ids), "lesion_id": first.lesions, "label": codes[first.labels]})
    table = table.assign(answer=codes[answers], confidence=confidence)
    missed = ~np.any([model.is_right for model in models.values()], axis=0)
    return table[missed].sort_values("confidence", ascending=False, kind="stable")
