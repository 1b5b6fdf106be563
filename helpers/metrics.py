"""How good a model's predictions are: every figure of the report, with its interval resampled by lesion.

Each figure is computed from weights, how often each image is counted: ones give the figure itself, the rows of
`bootstrap_weights` its 95 % interval. A new figure is one more entry of METRICS. Where a figure is undefined, such as
the recall of a class without images, arrays hold NaN and dictionaries None.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from statistics import NormalDist

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_curve

from helpers.study import StudyError

BINS = 15  # of the expected calibration error, as in Guo et al. (ICML 2017)
FEWEST_IMAGES = 20  # that a group needs for its figures to be given
FEWEST_LESIONS = 10  # malignant ones and benign ones, that a group needs for figures about malignancy
GROUP_METRICS = ("accuracy", "balanced_accuracy", "malignant_auc", "malignant_sensitivity", "malignant_specificity")
AGE_GROUPS = {"0-29": 0, "30-44": 30, "45-59": 45, "60-74": 60, "75+": 75}  # name and first year of each
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
    return np.abs(drawn.weights @ gaps).sum(axis=1) / drawn.weights.sum(axis=1)


def _brier(drawn: Drawn) -> np.ndarray:
    """Squared error summed over the classes, 0 to 2 (Brier 1950)."""
    p = drawn.predictions
    return drawn.share(((p.probabilities - np.eye(len(p.classes))[p.labels]) ** 2).sum(axis=1))


def _malignant_auc(drawn: Drawn) -> np.ndarray:
    return auc(drawn.weights, drawn.predictions.is_malignant, drawn.predictions.malignant_score)


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
    metrics = METRICS | CLASS_METRICS
    once = resampled(predictions, np.ones((1, len(predictions))), threshold, metrics)
    weights = bootstrap_weights(predictions.lesions, resamples, seed)
    values = resampled(predictions, weights, threshold, metrics)
    # Resampling adds noise to every bin: resampled ECEs lie above the figure, and their percentiles can miss it. Moved
    # back by how far their mean is off, the interval covers the true ECE far more often.
    values["ece"] = np.maximum(values["ece"] + once["ece"] - values["ece"].mean(), 0)
    test = {name: _figure(once[name][0], values[name]) for name in METRICS}
    per_class = {}
    for k, code in enumerate(predictions.classes):
        figures = {name: _figure(once[name][0, k], values[name][:, k]) for name in CLASS_METRICS}
        lesions = predictions.lesions[predictions.labels == k]
        per_class[code] = {**figures, "images": len(lesions), "lesions": len(np.unique(lesions))}
    return {"test": test, "per_class": per_class}


def judge(
    table: pd.DataFrame, classes: Iterable, lesions: Mapping[str, str], sensitivity: float, resamples: int = 2000
) -> dict:
    """The judgement of one model for its record: `threshold`, chosen on validation, and what `evaluate` says of test.

    table: the contract's predictions of both parts; classes: objects with `code` and `malignant`, such as
    `datasets.Diagnosis`; lesions: lesion id by image id; sensitivity: wanted share of malignant validation images.
    """
    codes, malignant = [diagnosis.code for diagnosis in classes], [diagnosis.malignant for diagnosis in classes]
    validation, test = (
        Predictions.from_table(table[table["part"] == part], codes, malignant, lesions)
        for part in ("validation", "test")
    )
    threshold = operating_threshold(validation, sensitivity)
    chosen_on = evaluate(validation, threshold, resamples)["test"]
    return {"threshold": threshold, "validation": chosen_on, **evaluate(test, threshold, resamples)}


def paired_difference(
    first: Predictions, second: Predictions, metric: str, resamples: int = 2000, seed: int = 0
) -> dict[str, float | None]:
    """METRICS[metric] of `first` minus that of `second`, as {"value", "low", "high"}, on the same resampled lesions.

    metric: one that needs no threshold. Both have to be predictions for the same images in the same order; StudyError
    if they are not.
    """
    if not (np.array_equal(first.labels, second.labels) and np.array_equal(first.lesions, second.lesions)):
        raise StudyError("Only predictions for the same images in the same order can be compared in pairs.")
    weights = np.vstack([np.ones(len(first)), bootstrap_weights(first.lesions, resamples, seed)])
    figures = [resampled(model, weights, None, {metric: METRICS[metric]})[metric] for model in (first, second)]
    difference = figures[0] - figures[1]
    return _figure(difference[0], difference[1:])


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


def confusion(predictions: Predictions) -> np.ndarray:
    """Confusion matrix int64 [k, k]: rows the truth, columns the prediction."""
    k = len(predictions.classes)
    cells = np.bincount(predictions.labels * k + predictions.predicted, minlength=k * k)
    return cells.reshape(k, k)


def curves(predictions: Predictions, resamples: int = 2000, seed: int = 0) -> dict[str, dict]:
    """One-against-rest ROC and precision-recall curve of each class, and of malignancy under `malignant`.

    Each holds the arrays false_positive_rate, true_positive_rate, recall and precision, and the floats auc and
    average_precision with auc_interval and average_precision_interval, (low, high). A class without images is left
    out, as is one that all images belong to.
    """
    p = predictions
    questions = {code: (p.labels == k, p.probabilities[:, k]) for k, code in enumerate(p.classes)}
    questions["malignant"] = (p.is_malignant, p.malignant_score)
    questions = {name: question for name, question in questions.items() if 0 < question[0].mean() < 1}
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
    once = resampled(members, np.ones((1, len(members))), threshold, metrics)
    values = resampled(members, bootstrap_weights(members.lesions, resamples, seed), threshold, metrics)
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
