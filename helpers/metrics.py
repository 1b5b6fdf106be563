"""How good a model's predictions are: every figure of the report, with its interval resampled by lesion.

Each figure is computed from weights, how often each image is counted: ones give the figure itself, the rows of
`bootstrap_weights` its 95 % interval. A new figure is one more entry of METRICS. Where a figure is undefined, such as
the recall of a class without images, arrays hold NaN and dictionaries None.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from operator import attrgetter
from statistics import NormalDist

import numpy as np
import pandas as pd
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score, precision_recall_curve, roc_curve

from helpers.study import StudyError

BINS = 15  # of the expected calibration error, as in Guo et al. (ICML 2017)
FEWEST_IMAGES = 20  # that a group needs for its figures to be given
FEWEST_LESIONS = 10  # malignant ones and benign ones, that a group needs for figures about malignancy
FEWEST_ALIKE = 5  # lesions that others are held against
GROUP_METRICS = ("accuracy", "balanced_accuracy", "malignant_auc", "malignant_sensitivity", "malignant_specificity")
AGE_GROUPS = {"0-29": 0, "30-44": 30, "45-59": 45, "60-74": 60, "75+": 75}  # name and first year of each
SMALLEST = 5e-7  # probability that is told from 0 in predictions.csv, which keeps six digits
TEMPERATURES = (0.05, 20.0)  # between which the best one is looked for
RIDGE = 1e-3  # what a bias of one costs in log loss, so that a class that validation lacks keeps a finite one
WANTED = (0.90, 0.95)  # specificities and sensitivities at which two ways of finding malignancy are compared
NET_BENEFIT_THRESHOLDS = np.arange(0.02, 0.61, 0.02)  # from one biopsy in fifty being worth it to three in five
TAIL = 0.025  # chance that a 95 % interval leaves to each side
BLOCK = 2**22  # weights held as float64 at a time, so that memory stays small for any number of resamples


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model said of n images, and what they are.

    labels: int [n], indices into `classes`; probabilities: float64 [n, k], rows sum to 1; lesions: str [n], the lesion
    of each image; classes: k class codes; malignant: k bools. Raises StudyError where these do not fit together.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    lesions: np.ndarray
    classes: tuple[str, ...]
    malignant: tuple[bool, ...]

    def __post_init__(self):
        for name, kind in (("labels", None), ("probabilities", np.float64), ("lesions", object)):
            object.__setattr__(self, name, np.asarray(getattr(self, name), kind))
        _check_shapes(self)
        _check_values(self)
        object.__setattr__(self, "lesions", self.lesions.astype(str))

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def from_table(
        cls, table: pd.DataFrame, classes: Iterable[str], malignant: Iterable[bool], lesions: Mapping[str, str]
    ) -> "Predictions":
        """All rows of a predictions table: image_id, label, a probability column a class. Choose its part first.

        lesions: lesion id by image id, as a Series or a dictionary. Raises StudyError for a column, a label or an
        image that is not known, and for an image that is there twice.
        """
        classes, images = list(classes), table.get("image_id")
        missing = ", ".join(name for name in ("image_id", "label", *classes) if name not in table)
        if missing:
            raise StudyError(f"Predictions have no column {missing}. Run the notebook that writes them again.")
        lesion = images.map(lesions)
        for at_fault, fault in (
            (images[images.duplicated()], "there more than once"),
            (images[~table["label"].isin(classes)], f"labelled with none of the classes {', '.join(classes)}"),
            (images[lesion.isna()], "of no known lesion"),
        ):
            if len(at_fault):
                raise StudyError(f"Predictions: {len(at_fault)} images are {fault}, {at_fault.iloc[0]} first.")
        labels = pd.Index(classes).get_indexer(table["label"])
        return cls(labels, table[classes].to_numpy(np.float64), lesion.to_numpy(), tuple(classes), tuple(malignant))

    def subset(self, mask: np.ndarray) -> "Predictions":
        """The images that `mask`, bool [n] or row numbers, chooses. Raises StudyError if there are none."""
        mask = np.asarray(mask)
        chosen = self.labels[mask], self.probabilities[mask], self.lesions[mask]
        return Predictions(*chosen, self.classes, self.malignant)

    def among(self, classes: Sequence[str]) -> "Predictions":
        """The images of these classes, as if the model had been asked which of these alone each of them is.

        Their probabilities are brought to a sum of 1; an image of which all are 0 gets equal ones.
        """
        columns = [self.classes.index(one) for one in classes]
        chosen = np.isin(self.labels, columns)
        given = self.probabilities[chosen][:, columns]
        total = given.sum(axis=1, keepdims=True)
        shares = np.divide(given, total, out=np.full_like(given, 1 / len(columns)), where=total > 0)
        labels = pd.Index(columns).get_indexer(self.labels[chosen])
        kept = tuple(self.malignant[column] for column in columns)
        return Predictions(labels, shares, self.lesions[chosen], tuple(classes), kept)

    @cached_property
    def predicted(self) -> np.ndarray:
        """Index of the most probable class, int [n]; of equally probable ones the first."""
        return self.probabilities.argmax(axis=1)

    @cached_property
    def confidence(self) -> np.ndarray:
        """Probability of the most probable class, float64 [n]."""
        return self.probabilities.max(axis=1)

    @cached_property
    def is_malignant(self) -> np.ndarray:
        """Whether the image's true class is malignant, bool [n]."""
        return np.array(self.malignant, bool)[self.labels]

    @cached_property
    def malignant_score(self) -> np.ndarray:
        """Summed probability of the malignant classes, float64 [n]."""
        return np.where(self.malignant, self.probabilities, 0.0).sum(axis=1)


@dataclass(frozen=True, eq=False)
class Drawn:
    """Predictions whose images count as often as `weights`, float64 [b, n], says in each of b resamples.

    threshold: from which malignant score on an image is called malignant; None where no metric asks for it. What
    several metrics need is computed once.
    """

    predictions: Predictions
    weights: np.ndarray
    threshold: float | None

    def share(self, event: np.ndarray, among: np.ndarray | bool = True) -> np.ndarray:
        """Weighted mean of `event`, bool or float [n], over the images in `among`: float64 [b]."""
        among = np.broadcast_to(among, event.shape).astype(np.float64)
        return _ratio(self.weights @ (event * among), self.weights @ among)

    def share_of_each(self, columns: np.ndarray) -> np.ndarray:
        """Weighted mean over all images of each column of float [n, m]: float64 [b, m]."""
        return (self.weights @ columns) / self.weights.sum(axis=1, keepdims=True)

    @cached_property
    def confusion(self) -> np.ndarray:
        """Weighted confusion matrices, float64 [b, k, k]: rows the truth, columns the prediction."""
        k = len(self.predictions.classes)
        cells = np.eye(k * k)[self.predictions.labels * k + self.predictions.predicted]
        return (self.weights @ cells).reshape(-1, k, k)

    @cached_property
    def recall(self) -> np.ndarray:
        """Recall of each class, float64 [b, k]; NaN for a class that was not drawn."""
        right, true, _ = self._counts
        return _ratio(right, true)

    @cached_property
    def precision(self) -> np.ndarray:
        """Precision of each class, float64 [b, k]; 0 if never predicted, NaN for a class that was not drawn."""
        right, true, predicted = self._counts
        return np.where(true > 0, np.nan_to_num(_ratio(right, predicted)), np.nan)

    @cached_property
    def f1(self) -> np.ndarray:
        """F1 of each class, 2 right / (true + predicted), float64 [b, k]; NaN for a class that was not drawn."""
        right, true, predicted = self._counts
        return np.where(true > 0, _ratio(2 * right, true + predicted), np.nan)

    @property
    def _counts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return np.einsum("bii->bi", self.confusion), self.confusion.sum(axis=2), self.confusion.sum(axis=1)

    @cached_property
    def auc(self) -> np.ndarray:
        """One-against-rest AUC of each class, float64 [b, k]; NaN where the class or the rest was not drawn."""
        p = self.predictions
        areas = [auc(self.weights, p.labels == k, p.probabilities[:, k]) for k in range(len(p.classes))]
        return np.stack(areas, axis=1)


def _ece(drawn: Drawn) -> np.ndarray:
    """Expected calibration error of the most probable class (Guo et al., ICML 2017)."""
    p = drawn.predictions
    # The number of images in a bin times its |accuracy - confidence| is the size of the summed difference.
    gaps = np.eye(BINS)[_bin(p.confidence, BINS)] * ((p.predicted == p.labels) - p.confidence)[:, None]
    return np.abs(drawn.share_of_each(gaps)).sum(axis=1)


def _brier(drawn: Drawn) -> np.ndarray:
    """Squared error summed over the classes, 0 to 2 (Brier 1950)."""
    p = drawn.predictions
    return drawn.share(((p.probabilities - np.eye(len(p.classes))[p.labels]) ** 2).sum(axis=1))


def _malignant_auc(drawn: Drawn) -> np.ndarray:
    return auc(drawn.weights, drawn.predictions.is_malignant, drawn.predictions.malignant_score)


def _malignant_average_precision(drawn: Drawn) -> np.ndarray:
    return average_precision(drawn.weights, drawn.predictions.is_malignant, drawn.predictions.malignant_score)


def _sensitivity(drawn: Drawn) -> np.ndarray:
    return drawn.share(drawn.predictions.malignant_score >= drawn.threshold, among=drawn.predictions.is_malignant)


def _specificity(drawn: Drawn) -> np.ndarray:
    return drawn.share(drawn.predictions.malignant_score < drawn.threshold, among=~drawn.predictions.is_malignant)


# Each takes a Drawn and gives float64 [b]; macro figures are means over the classes that occur in the predictions.
METRICS: dict[str, Callable[[Drawn], np.ndarray]] = {
    "accuracy": lambda drawn: drawn.share(drawn.predictions.predicted == drawn.predictions.labels),
    "balanced_accuracy": lambda drawn: _macro(drawn, drawn.recall),
    "macro_precision": lambda drawn: _macro(drawn, drawn.precision),
    "macro_recall": lambda drawn: _macro(drawn, drawn.recall),
    "macro_f1": lambda drawn: _macro(drawn, drawn.f1),
    "macro_auc": lambda drawn: _macro(drawn, drawn.auc),
    "malignant_auc": _malignant_auc,
    "malignant_sensitivity": _sensitivity,
    "malignant_specificity": _specificity,
    "ece": _ece,
    "brier": _brier,
}
# Each takes a Drawn and gives float64 [b, k].
CLASS_METRICS: dict[str, Callable[[Drawn], np.ndarray]] = {
    name: attrgetter(name) for name in ("precision", "recall", "f1", "auc")
}


def bootstrap_weights(lesions: np.ndarray, resamples: int = 2000, seed: int = 0) -> np.ndarray:
    """How often each image is drawn when lesions are drawn with replacement: uint8 [resamples, n].

    lesions: [n], the lesion of each image; all images of a lesion are drawn together (cluster bootstrap, Davison and
    Hinkley 1997, section 3.8). The same lesions and seed give the same resamples, so that two models can be compared.
    """
    names, lesion = np.unique(np.asarray(lesions).astype(str), return_inverse=True)
    random = np.random.default_rng(seed)
    weights = np.empty((resamples, len(lesion)), np.uint8)
    for row in weights:
        row[:] = np.bincount(random.integers(len(names), size=len(names)), minlength=len(names))[lesion]
    return weights


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of resampled figures, float [b]; undefined ones are left out. NaN if none is defined."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return np.nan, np.nan
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def auc(weights: np.ndarray, positive: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Area under the ROC curve, float64 [b]; NaN for a resample without positives or without negatives.

    weights: float64 [b, n]; positive: bool [n]; score: float [n]. The area is the chance that a positive scores above
    a negative, a tie counting half (Hanley and McNeil 1982).
    """
    order = np.argsort(score)
    negatives = order[~positive[order]]
    below = np.zeros((len(weights), len(negatives) + 1))
    np.cumsum(np.take(weights, negatives, axis=1), axis=1, out=below[:, 1:])
    first, last = (np.searchsorted(score[negatives], score[positive], side) for side in ("left", "right"))
    drawn = weights[:, positive]
    won = np.einsum("bi,bi->b", drawn, np.take(below, first, axis=1) + np.take(below, last, axis=1)) / 2
    return _ratio(won, drawn.sum(axis=1) * below[:, -1])


def average_precision(weights: np.ndarray, positive: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Mean over the positives of the precision at their own score, float64 [b]; NaN for a resample without positives.

    Arguments as of `auc`. It equals the sum of precision times gain in recall over all thresholds.
    """
    order = np.argsort(-score)
    positives = order[positive[order]]
    place = np.searchsorted(-score[order], -score[positives], "right") - 1
    drawn = weights[:, positives]
    weights = np.take(weights, order, axis=1)
    above = np.take(np.cumsum(weights, axis=1), place, axis=1)
    positives_above = np.take(np.cumsum(weights * positive[order], axis=1), place, axis=1)
    precision = np.nan_to_num(_ratio(positives_above, above))
    return _ratio((drawn * precision).sum(axis=1), drawn.sum(axis=1))


def resampled(
    predictions: Predictions, weights: np.ndarray, threshold: float | None, metrics: Mapping[str, Callable] = METRICS
) -> dict[str, np.ndarray]:
    """Values of `metrics` for each row of `weights` [b, n], by name: float64 [b], or [b, k] for CLASS_METRICS."""
    step = max(1, BLOCK // len(predictions))
    values = {name: [] for name in metrics}
    for start in range(0, len(weights), step):
        drawn = Drawn(predictions, weights[start : start + step].astype(np.float64), threshold)
        for name, metric in metrics.items():
            values[name].append(metric(drawn))
    return {name: np.concatenate(blocks) for name, blocks in values.items()}


def evaluate(predictions: Predictions, threshold: float, resamples: int = 2000, seed: int = 0) -> dict:
    """The entries `test` and `per_class` of `metrics.json`: every figure as {"value", "low", "high"}, float or None.

    threshold: from which malignant score on an image is called malignant, chosen on validation with
    `operating_threshold`. Intervals are 95 %. per_class also counts the images and lesions of each class.
    """
    once, values = _once_and_resampled(predictions, threshold, METRICS | CLASS_METRICS, resamples, seed)
    test = {name: _figure(once[name][0], values[name]) for name in METRICS}
    per_class = {}
    for k, code in enumerate(predictions.classes):
        figures = {name: _figure(once[name][0, k], values[name][:, k]) for name in CLASS_METRICS}
        lesions = predictions.lesions[predictions.labels == k]
        per_class[code] = {**figures, "images": len(lesions), "lesions": len(np.unique(lesions))}
    return {"test": test, "per_class": per_class}


def measure(
    predictions: Predictions, metric: str, threshold: float | None = None, resamples: int = 2000, seed: int = 0
) -> dict[str, float | None]:
    """METRICS[metric] alone, as {"value", "low", "high"}; threshold as of `evaluate`, where the metric asks for it."""
    once, values = _once_and_resampled(predictions, threshold, {metric: METRICS[metric]}, resamples, seed)
    return _figure(once[metric][0], values[metric])


def overconfidence(predictions: Predictions, resamples: int = 2000, seed: int = 0) -> dict[str, float]:
    """Mean confidence minus accuracy, -1 to 1, as {"value", "low", "high"}, with 95 % by resampled lesions.

    Above 0 the stated probability of the answers is higher than the share of them that is right.
    """
    p = predictions
    excess = {"excess": lambda drawn: drawn.share(p.confidence - (p.predicted == p.labels))}
    once, values = _once_and_resampled(p, None, excess, resamples, seed)
    return _figure(once["excess"][0], values["excess"])


def _once_and_resampled(
    predictions: Predictions, threshold: float | None, metrics: Mapping[str, Callable], resamples: int, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Values of `metrics` as they are, [1] or [1, k], and in the resamples of the lesions, [b] or [b, k]."""
    once = resampled(predictions, np.ones((1, len(predictions))), threshold, metrics)
    weights = bootstrap_weights(predictions.lesions, resamples, seed)
    values = resampled(predictions, weights, threshold, metrics)
    if "ece" in metrics:
        # Resampling adds noise to every bin: resampled ECEs lie above the figure, and their percentiles can miss it.
        # Moved back by how far their mean is off, the interval covers the true ECE far more often.
        values["ece"] = np.maximum(values["ece"] + once["ece"] - values["ece"].mean(), 0)
    return once, values


def _with_once(lesions: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Weights of ones, which give a figure itself, above `bootstrap_weights`: uint8 [1 + resamples, n]."""
    return np.vstack([np.ones(len(lesions), np.uint8), bootstrap_weights(lesions, resamples, seed)])


def means(columns: Mapping[str, np.ndarray], lesions: np.ndarray, resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """The mean over images of each column, bool or float [n], a row each: value, low and high (95 %, by lesion).

    What is NaN is left out of its column. A column without any number has NaN for all three.
    """
    return _mean_table(columns, _drawn_means(columns, _with_once(lesions, resamples, seed)))


def shares(
    columns: Mapping[str, np.ndarray], lesions: np.ndarray, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """`means` of events, columns of 1 or 0 and NaN where it is not known, with an interval also where all are alike.

    Resamples of nothing but ones are ones, as if no other lesion could ever be different. There the interval is the
    exact one of Clopper and Pearson (Biometrika 26, 1934) for as many trials as there are lesions, since images of a
    lesion are no independent ones: TAIL ** (1 / lesions) to 1 where all are 1, 0 to 1 - TAIL ** (1 / lesions) where all
    are 0. A column in which anything else occurs is that of `means`.
    """
    table, lesions = means(columns, lesions, resamples, seed), np.asarray(lesions).astype(str)
    for name, column in columns.items():
        values = np.asarray(column, np.float64)
        known = ~np.isnan(values)
        bound = TAIL ** (1 / max(1, len(np.unique(lesions[known]))))
        if known.any() and (values[known] == 1).all():
            table.loc[name, "low"] = bound
        elif known.any() and (values[known] == 0).all():
            table.loc[name, "high"] = 1 - bound
    return table


def mean_differences(
    columns: Mapping[str, np.ndarray], group: np.ndarray, lesions: np.ndarray, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """The mean of each column over the images in `group`, bool [n], minus that over the others; a table as of `means`.

    Both means are of the same resamples, so that a lesion with images in both counts as often in one as in the other.
    """
    weights, group = _with_once(lesions, resamples, seed), np.asarray(group, bool)
    inside, outside = (_drawn_means(columns, weights * own) for own in (group, ~group))
    return _mean_table(columns, inside - outside)


def standardised_differences(
    columns: Mapping[str, np.ndarray],
    group: np.ndarray,
    strata: np.ndarray,
    lesions: np.ndarray,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """`mean_differences` as if the others had the mix of `strata` [n], such as labels, that the images in `group` have.

    Direct standardisation (Keiding and Clayton, Stat. Sci. 29, 2014): each stratum of the others counts as often as
    the group has images in it, in each resample anew. A stratum that has images on one side only is left out of both,
    in the figure itself as in a resample. NaN if no stratum has images on both.
    """
    weights, group = _with_once(lesions, resamples, seed).astype(np.float64), np.asarray(group, bool)
    names, stratum = np.unique(np.asarray(strata).astype(str), return_inverse=True)
    members = np.eye(len(names), dtype=bool)[stratum]
    gaps = [_standardised(np.asarray(own, np.float64), group, members, weights) for own in columns.values()]
    return _mean_table(columns, np.column_stack(gaps))


def _standardised(column: np.ndarray, group: np.ndarray, members: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The standardised difference of one column [n] under each row of weights [b, n]: float64 [b].

    members: bool [n, strata]. The mean difference of the strata, each weighted by the images of `group` in it.
    """
    known = ~np.isnan(column)
    cells = [members & (own & known)[:, None] for own in (group, ~group)]
    inside, outside = (weights @ cell for cell in cells)
    sums = (weights @ (cell * np.where(known, column, 0)[:, None]) for cell in cells)
    gap = np.subtract(*(_ratio(*pair) for pair in zip(sums, (inside, outside), strict=True)))
    mix = np.where(outside > 0, inside, 0)
    return _ratio(np.where(mix > 0, mix * gap, 0).sum(axis=1), mix.sum(axis=1))


def _drawn_means(columns: Mapping[str, np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Means of columns [n] under each row of weights [b, n], without what is NaN: float64 [b, columns]."""
    values = np.column_stack([np.asarray(column, np.float64) for column in columns.values()])
    known, weights = ~np.isnan(values), weights.astype(np.float64)
    return _ratio(weights @ np.where(known, values, 0), weights @ known)


def _mean_table(columns: Iterable[str], drawn: np.ndarray) -> pd.DataFrame:
    """Figures with their intervals from float64 [1 + resamples, columns], the first row the figures themselves."""
    figures = [_figure(column[0], column[1:]) for column in drawn.T]
    return pd.DataFrame(figures, index=list(columns), columns=["value", "low", "high"], dtype=float)


def judge(
    table: pd.DataFrame, classes: Iterable, lesions: Mapping[str, str], sensitivity: float, resamples: int = 2000
) -> dict:
    """`judge_parts` of the contract's table of predictions for validation and test.

    classes: objects with `code` and `malignant`, such as `datasets.Diagnosis`; lesions: lesion id by image id.
    """
    codes, malignant = [diagnosis.code for diagnosis in classes], [diagnosis.malignant for diagnosis in classes]
    validation, test = (
        Predictions.from_table(table[table["part"] == part], codes, malignant, lesions)
        for part in ("validation", "test")
    )
    return judge_parts(validation, test, sensitivity, resamples)


def judge_parts(validation: Predictions, test: Predictions, sensitivity: float, resamples: int = 2000) -> dict:
    """The judgement of one model for its record: what is chosen on validation, and what `evaluate` says of each part.

    `threshold` and `temperature` are chosen on validation; the figures are those of the probabilities as they are, so
    not divided by the temperature. sensitivity: share of the malignant validation images that the threshold finds.
    """
    threshold = operating_threshold(validation, sensitivity)
    chosen = {"threshold": threshold, "temperature": temperature(validation)}
    judged = evaluate(validation, threshold, resamples)["test"]
    return {**chosen, "validation": judged, **evaluate(test, threshold, resamples)}


def temperature(predictions: Predictions) -> float:
    """The temperature by which to divide the logits so that the log loss on these images is least.

    Fit it on validation and apply it with `calibrated` (temperature scaling: Guo et al., ICML 2017). Above 1 the model
    was too sure of itself, below 1 not sure enough. It is looked for between the two TEMPERATURES.
    """
    logits, rows = _logits(predictions), np.arange(len(predictions))

    def log_loss(log_temperature: float) -> float:
        return -log_softmax(logits / np.exp(log_temperature), axis=1)[rows, predictions.labels].mean()

    return float(np.exp(minimize_scalar(log_loss, bounds=np.log(TEMPERATURES), method="bounded").x))


def calibrated(predictions: Predictions, temperature: float, biases: Sequence[float] | float = 0.0) -> Predictions:
    """The same predictions with their logits divided by `temperature`, and `biases` added, one a class.

    Without biases each image's answer stays what it was.
    """
    return replace(predictions, probabilities=softmax(_logits(predictions) / temperature + biases, axis=1))


def bias_corrected(predictions: Predictions) -> tuple[float, np.ndarray]:
    """The temperature, and the biases float64 [k], with which the log loss on these images is least.

    Fit them on validation and apply them with `calibrated` (bias-corrected temperature scaling: Alexandari, Kundaje and
    Shrikumar, ICML 2020). A network that was trained to answer rare classes more often than they are states them too
    often; a temperature alone cannot undo that. The biases sum to zero; RIDGE holds them back where images are few.
    """
    logits, rows = _logits(predictions), np.arange(len(predictions))

    def loss(numbers: np.ndarray) -> float:
        shifted = logits * np.exp(-numbers[0]) + numbers[1:]
        log_loss = -log_softmax(shifted, axis=1)[rows, predictions.labels].mean()
        return log_loss + RIDGE * np.square(numbers[1:]).sum()

    free = [(None, None)] * logits.shape[1]
    found = minimize(loss, np.zeros(1 + logits.shape[1]), bounds=[tuple(np.log(TEMPERATURES)), *free]).x
    return float(np.exp(found[0])), found[1:] - found[1:].mean()


def _logits(predictions: Predictions) -> np.ndarray:
    """Logarithms of the probabilities, float64 [n, k]: the logits but for a constant that softmax takes away again."""
    return np.log(np.maximum(predictions.probabilities, SMALLEST))


def ensemble(members: Iterable[Predictions]) -> Predictions:
    """Mean of the members' probabilities. Raises StudyError unless all are for the same images in the same order."""
    first, *others = members
    for other in others:
        _check_paired(first, other)
    return replace(first, probabilities=np.mean([p.probabilities for p in (first, *others)], axis=0))


def joined(parts: Sequence[Predictions]) -> Predictions:
    """Predictions for several sets of images as one, such as those of five folds.

    Raises StudyError if they are not of the same classes.
    """
    if len({(part.classes, part.malignant) for part in parts}) != 1:
        raise StudyError("Predictions of different classes cannot be put together.")
    columns = zip(*((part.labels, part.probabilities, part.lesions) for part in parts), strict=True)
    return Predictions(*map(np.concatenate, columns), parts[0].classes, parts[0].malignant)


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
        _check_paired(one, model)
    weights = _with_once(one.lesions, resamples, seed)
    scores = {
        name: resampled(model, weights, None, {metric: METRICS[metric]})[metric] for name, model in models.items()
    }
    rows = []
    for first, second in combinations(models, 2):
        difference = scores[first] - scores[second]
        test = mcnemar(models[first], models[second])
        rows.append({"first": first, "second": second, **_figure(difference[0], difference[1:]), **test})
    columns = ["first", "second", "value", "low", "high", "lesions_first", "lesions_second", "p"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(p_holm=holm(table["p"]))


def marks(pairs: pd.DataFrame, level: float = 0.05) -> pd.Series:
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
    scores = [seeded([one], metric, resamples, start)[0] for one, start in ((first, seed), (second, seed + 1))]
    difference = scores[0] - scores[1]
    return _figure(difference[0], difference[1:])


def excess(
    first: Predictions,
    second: Predictions,
    kinds: tuple[np.ndarray, np.ndarray],
    chosen: np.ndarray,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """How much oftener a network is right on images of `first` than on their like in `second`, chosen ones and others.

    Alike are images of one label and one kind; kinds: of each image of the two, [n] and [m]; chosen: bool [n]. Index:
    `chosen`, `others` and `difference`, or the one that there is; columns value, low and high (95 %, the lesions of
    `first` and `second` resampled independently), images, and classes, their codes joined by commas. Each is a mean
    over labels, of those that have FEWEST_ALIKE lesions in each row; images with fewer lesions like them are left out.
    NaN where nothing is left.
    """
    values = _above_expected(first, second, kinds, resamples, seed + 1)
    compared = ~np.isnan(values[0])
    rows = {"chosen": compared & chosen, "others": compared & ~chosen}
    rows = {name: members for name, members in rows.items() if members.any()}
    labels = _labels_of_all(first, rows.values())
    weights = _with_once(first.lesions, resamples, seed)
    drawn = {name: _mean_over_labels(values, weights, first.labels, own, labels) for name, own in rows.items()}
    images = {name: (own & np.isin(first.labels, labels)).sum() for name, own in rows.items()}
    if len(rows) == 2:
        drawn["difference"] = drawn["chosen"] - drawn["others"]
        images["difference"] = sum(images.values())
    figures = [_figure(own[0], own[1:]) for own in drawn.values()]
    table = pd.DataFrame(figures, list(drawn), ["value", "low", "high"], dtype=float)
    return table.assign(images=pd.Series(images, dtype=int), classes=", ".join(first.classes[one] for one in labels))


def _above_expected(
    first: Predictions, second: Predictions, kinds: tuple[np.ndarray, np.ndarray], resamples: int, seed: int
) -> np.ndarray:
    """1 or 0 for each answer of `first`, less the share right of its like in `second`: float64 [1 + resamples, n].

    In row 0 that share is as it is, in each other one the lesions of `second` are drawn anew. NaN where fewer than
    FEWEST_ALIKE lesions are alike.
    """
    names = np.unique(np.concatenate(kinds))
    cells = [p.labels * len(names) + np.searchsorted(names, own) for p, own in zip((first, second), kinds, strict=True)]
    members = np.eye(len(first.classes) * len(names))[cells[1]]
    weights = _with_once(second.lesions, resamples, seed).astype(np.float64)
    shares = _ratio(weights @ (members * (second.predicted == second.labels)[:, None]), weights @ members)
    lesions = pd.Series(second.lesions).groupby(cells[1]).nunique().reindex(range(members.shape[1]), fill_value=0)
    shares[:, lesions < FEWEST_ALIKE] = np.nan
    return (first.predicted == first.labels) - shares[:, cells[0]]


def _labels_of_all(predictions: Predictions, groups: Iterable[np.ndarray]) -> np.ndarray:
    """The labels that have FEWEST_ALIKE lesions in each of the groups, bool [n]."""
    labels = np.arange(len(predictions.classes))
    for members in groups:
        lesions = pd.Series(predictions.lesions[members]).groupby(predictions.labels[members]).nunique()
        labels = np.intersect1d(labels, lesions.index[lesions >= FEWEST_ALIKE])
    return labels


def _mean_over_labels(
    values: np.ndarray, weights: np.ndarray, labels: np.ndarray, members: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """Weighted mean of float64 [b, n] over the members of each wanted label, then over the labels: float64 [b]."""
    means = np.full((len(wanted), len(values)), np.nan)
    for place, label in enumerate(wanted):
        own = members & (labels == label)
        drawn = weights[:, own].astype(np.float64)
        means[place] = _ratio(np.where(drawn > 0, drawn * values[:, own], 0).sum(axis=1), drawn.sum(axis=1))
    return means.mean(axis=0) if len(wanted) else np.full(len(values), np.nan)


def seeded(runs: Sequence[Predictions], metric: str, resamples: int = 2000, seed: int = 0) -> np.ndarray:
    """METRICS[metric] of one model trained from several seeds, float64 [seeds, 1 + resamples].

    Column 0 is the figure itself, each other one a resample of the lesions: the same for all runs, and for other models
    on the same images, so that the difference of two such arrays is paired. metric: one that needs no threshold.
    """
    weights = _with_once(runs[0].lesions, resamples, seed)
    return np.stack([resampled(run, weights, None, {metric: METRICS[metric]})[metric] for run in runs])


def over_seeds(drawn: np.ndarray, seed: int = 0) -> dict[str, float]:
    """The mean over seeds of what `seeded` gives, or of differences of it, as {"value", "low", "high"}.

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
    _check_paired(first, second)
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
        _check_paired(models[first], models[second])
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
        _check_paired(first, other)
    wrong = np.stack([p.predicted != p.labels for p in (first, *others)])
    expected = 0.0
    for members in (first.labels == k for k in np.unique(first.labels)):
        expected += wrong[:, members].mean(axis=1).prod() * members.mean()
    return wrong.all(axis=0), float(expected)


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
    _check_paired(first[1], second[1], "is_malignant")
    drawn = [_malignancy(*parts, _with_once(parts[1].lesions, resamples, seed)) for parts in (first, second)]
    columns = {"first": drawn[0], "second": drawn[1], "difference": drawn[0] - drawn[1]}
    figures = {
        (name, key): {row: _figure(values[0], values[1:])[key] for row, values in table.items()}
        for name, table in columns.items()
        for key in ("value", "low", "high")
    }
    return pd.DataFrame(figures, dtype=float).rename_axis(["point", "figure"])


def _malignancy(validation: Predictions, test: Predictions, weights: np.ndarray) -> pd.DataFrame:
    """The figures of `compare_malignancy` for one model: a row for each row of `weights`, a column for each figure."""
    ranking = {"AUC": _malignant_auc, "average precision": _malignant_average_precision}
    columns = {("ranking", name): values for name, values in resampled(test, weights, None, ranking).items()}
    for point, threshold in operating_points(validation).items():
        reached = resampled(test, weights, threshold, {"sensitivity": _sensitivity, "specificity": _specificity})
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
    once, values = _once_and_resampled(p, None, net, resamples, seed)
    low, high = np.transpose([interval(column) for column in values["net"].T])
    columns = {"value": once["net"][0], "low": low, "high": high, "all": gain.mean(axis=0)}
    return pd.DataFrame(columns, index=pd.Index(thresholds, name="threshold"))


def confusion(predictions: Predictions) -> np.ndarray:
    """Confusion matrix int64 [k, k]: rows the truth, columns the prediction."""
    k = len(predictions.classes)
    cells = np.bincount(predictions.labels * k + predictions.predicted, minlength=k * k)
    return cells.reshape(k, k)


def curves(predictions: Predictions, resamples: int = 2000, seed: int = 0, only: str = "") -> dict[str, dict]:
    """One-against-rest ROC and precision-recall curve of each class, and of malignancy under `malignant`.

    only: the name of a single one of them, where the others are not needed.
    Each holds the arrays false_positive_rate, true_positive_rate, recall and precision, and the floats auc and
    average_precision with auc_interval and average_precision_interval, (low, high). A class without images is left
    out, as is one that all images belong to.
    """
    p = predictions
    questions = {code: (p.labels == k, p.probabilities[:, k]) for k, code in enumerate(p.classes)}
    questions["malignant"] = (p.is_malignant, p.malignant_score)
    wanted = {only: questions[only]} if only else questions
    questions = {name: question for name, question in wanted.items() if 0 < question[0].mean() < 1}
    weights = bootstrap_weights(p.lesions, resamples, seed)
    return {name: _points(*question) | _areas(p, weights, question) for name, question in questions.items()}


def _points(positive: np.ndarray, score: np.ndarray) -> dict[str, np.ndarray]:
    false_positive_rate, true_positive_rate, _ = roc_curve(positive, score)
    precision, recall, _ = precision_recall_curve(positive, score, drop_intermediate=True)
    rates = {"false_positive_rate": false_positive_rate, "true_positive_rate": true_positive_rate}
    return {**rates, "recall": recall, "precision": precision}


def _areas(predictions: Predictions, weights: np.ndarray, question: tuple[np.ndarray, np.ndarray]) -> dict:
    areas = {
        "auc": lambda drawn: auc(drawn.weights, *question),
        "average_precision": lambda drawn: average_precision(drawn.weights, *question),
    }
    once = resampled(predictions, np.ones((1, len(predictions))), None, areas)
    values = resampled(predictions, weights, None, areas)
    intervals = {f"{name}_interval": interval(values[name]) for name in areas}
    return {name: float(once[name][0]) for name in areas} | intervals


def reliability(predictions: Predictions, bins: int = BINS) -> pd.DataFrame:
    """Confidence against accuracy in equally wide bins, a row each: what a reliability diagram shows.

    Columns: above and up_to (the bin's edges), images, lesions, confidence (mean), accuracy, and low and high, its
    95 % Wilson (1927) interval with the number of lesions as n, since images of a lesion are no independent trials.
    An empty bin has counts of 0 and NaN for the rest.
    """
    p, edges = predictions, np.linspace(0, 1, bins + 1)
    images = pd.DataFrame({"lesion": p.lesions, "confidence": p.confidence, "right": p.predicted == p.labels})
    table = images.groupby(_bin(p.confidence, bins)).agg(
        images=("right", "size"),
        lesions=("lesion", "nunique"),
        confidence=("confidence", "mean"),
        accuracy=("right", "mean"),
    )
    table = table.reindex(range(bins)).fillna({"images": 0, "lesions": 0}).astype({"images": int, "lesions": int})
    low, high = _wilson(table["accuracy"].to_numpy(), table["lesions"].to_numpy())
    table.insert(0, "above", edges[:-1])
    table.insert(1, "up_to", edges[1:])
    return table.assign(low=low, high=high)


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
    once, values = _once_and_resampled(members, threshold, metrics, resamples, seed)
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


def _figure(value: float, values: np.ndarray) -> dict[str, float | None]:
    """A figure and its interval, ready for JSON."""
    if np.isnan(value):
        return {"value": None, "low": None, "high": None}
    low, high = interval(values)
    return {"value": float(value)} | ({"low": None, "high": None} if np.isnan(low) else {"low": low, "high": high})


def _macro(drawn: Drawn, values: np.ndarray) -> np.ndarray:
    """Mean of float [b, k] over the classes that occur in the predictions: float64 [b].

    NaN for a resample that lacks one of them: a mean over fewer classes would be another figure, and by and large a
    better one. Leaving such resamples out is drawing again until every class is there.
    """
    return values[:, np.unique(drawn.predictions.labels)].mean(axis=1)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole as float64, and NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def _bin(confidence: np.ndarray, bins: int) -> np.ndarray:
    """Which of `bins` equally wide bins, open below and closed above, a confidence falls in: int [n]."""
    return np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1], right=True)


def _wilson(share: np.ndarray, trials: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    z = NormalDist().inv_cdf(0.975)
    n = np.maximum(trials, 1)
    centre, half = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return tuple(np.clip((centre + sign * half) / (1 + z**2 / n), 0, 1) for sign in (-1, 1))


def _check_paired(first: Predictions, second: Predictions, truth: str = "labels") -> None:
    """StudyError unless both are for the same images in the same order; truth: the attribute that has to agree."""
    if not all(np.array_equal(getattr(first, name), getattr(second, name)) for name in (truth, "lesions")):
        raise StudyError("Only predictions for the same images in the same order can be compared in pairs.")


def _check_shapes(p: Predictions) -> None:
    n, k = p.labels.size, len(p.classes)
    if n == 0:
        raise StudyError("Predictions: there are no images to judge.")
    if (p.probabilities.shape, p.labels.shape, p.lesions.shape, len(p.malignant)) != ((n, k), (n,), (n,), k):
        raise StudyError(
            f"Predictions: probabilities {p.probabilities.shape}, labels {p.labels.shape}, lesions {p.lesions.shape}, "
            f"{k} classes and {len(p.malignant)} malignant flags do not fit; wanted are [n, k], [n], [n], k and k."
        )


def _check_values(p: Predictions) -> None:
    k, sums = len(p.classes), p.probabilities.sum(axis=1)
    if p.labels.dtype.kind not in "iu" or p.labels.min() < 0 or p.labels.max() >= k:
        raise StudyError(f"Predictions: labels have to be whole numbers from 0 to {k - 1}, indices into the classes.")
    if not ((p.probabilities >= 0) & (p.probabilities <= 1)).all():
        raise StudyError("Predictions: probabilities have to be finite and between 0 and 1.")
    if np.abs(sums - 1).max() > 1e-3:
        worst = int(np.abs(sums - 1).argmax())
        raise StudyError(
            f"Predictions: probabilities of image {worst} sum to {sums[worst]:.4f}; they have to sum to 1."
        )
    if pd.isna(p.lesions).any():
        raise StudyError("Predictions: every image needs a lesion; one without is its own lesion.")
