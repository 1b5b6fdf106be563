"""Scores of a finished model on images of another clinic, beside those on the study's own test images."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from helpers.evaluation.bootstrap import STANDARD, Bootstrap, estimate
from helpers.evaluation.calibration import calibrate
from helpers.evaluation.means import means, proportion
from helpers.evaluation.predictions import Predictions
from helpers.evaluation.scores import measure, resample

CLASS_METRICS = ("balanced_accuracy", "accuracy", "macro_auc")
MALIGNANCY_METRICS = ("malignant_auc", "malignant_sensitivity", "malignant_specificity")
INTERNAL = "internal test"
FIGURES = [f"{which}{name}" for which in ("", "inside_", "difference_") for name in ("value", "low", "high")]
METRICS = {
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "macro_auc": "macro AUC",
    "malignant_auc": "AUC, malignant",
    "malignant_sensitivity": "sensitivity, malignant",
    "malignant_specificity": "specificity, malignant",
}


@dataclass(frozen=True, eq=False)
class Collection:
    """A model's predictions for the images of one clinic.

    by_class: of the images whose diagnosis is a class of the study; malignancy: of all images, with the classes benign
    and malignant. They differ where a diagnosis is no class of the study, or where a clinic counts it otherwise.
    """

    by_class: Predictions
    malignancy: Predictions

    def only(self, classes: Iterable[str]) -> "Collection":
        """The images of these true classes. Probabilities of the other classes stay."""
        codes = list(classes)
        return collection(self.by_class.subset(np.isin(np.array(self.by_class.classes)[self.by_class.labels], codes)))

    @property
    def present(self) -> tuple[str, ...]:
        """The classes of which there are images."""
        return tuple(self.by_class.classes[k] for k in np.unique(self.by_class.labels))


def collection(predictions: Predictions) -> Collection:
    """A collection whose diagnoses are all classes of the study, such as its test part."""
    return Collection(predictions, binary(predictions.malignant_score, predictions.is_malignant, predictions.lesions))


def external_collection(table: pd.DataFrame, predictions: pd.DataFrame, classes: Sequence) -> Collection:
    """A collection of another clinic.

    table: as from `load_external`; predictions: one row per row of the table, one column per class; classes: objects
    with `code` and `malignant`, such as `lesions.Diagnosis`.
    """
    codes, malignant = [one.code for one in classes], np.array([one.malignant for one in classes])
    probabilities, units = predictions[codes].to_numpy(np.float64), table["unit"].to_numpy()
    mapped = table["label"].isin(codes).to_numpy()
    labels = pd.Index(codes).get_indexer(table["label"][mapped])
    by_class = Predictions(labels, probabilities[mapped], units[mapped], tuple(codes), tuple(malignant.tolist()))
    score = np.where(malignant, probabilities, 0).sum(axis=1)
    return Collection(by_class, binary(score, table["malignant"].to_numpy(), units))


def binary(score: np.ndarray, malignant: np.ndarray, units: np.ndarray) -> Predictions:
    """Predictions of the classes benign and malignant from malignant scores, float [n]; units: what is resampled."""
    probabilities = np.stack([1 - np.clip(score, 0, 1), np.clip(score, 0, 1)], axis=1)
    return Predictions(np.asarray(malignant).astype(int), probabilities, units, ("benign", "malignant"), (False, True))


def same_mix(predictions: Predictions, like: Predictions) -> Callable[[np.ndarray], np.ndarray]:
    """Weights that give each class of `predictions` its share among the images of `like`.

    Returns a function of rows of weights, [b, n], that scales each row by itself, so that a resample has the wanted mix
    as well (direct standardisation, Keiding and Clayton, Stat. Sci. 29, 2014). Only classes that both have count.
    """
    shares = np.bincount(like.labels, minlength=len(like.classes)).astype(np.float64)
    members = np.eye(len(shares))[predictions.labels]

    def scale(weights: np.ndarray) -> np.ndarray:
        there = weights @ members
        return weights * np.divide(shares, there, out=np.zeros_like(there), where=there > 0)[:, predictions.labels]

    return scale


def scores(given: Collection, threshold: float, bootstrap: Bootstrap = STANDARD) -> dict[str, np.ndarray]:
    """METRICS of a collection: float64 [1 + resamples] by name, the score itself first.

    threshold: of the malignant score, as chosen on validation. Means over classes are over those present.
    """
    by_class = resample(given.by_class, CLASS_METRICS, bootstrap.weights(given.by_class.lesions))
    return by_class | malignancy_scores(given.malignancy, threshold, bootstrap)


def malignancy_scores(
    given: Predictions, threshold: float, bootstrap: Bootstrap = STANDARD, *, scale: Callable | None = None
) -> dict[str, np.ndarray]:
    """MALIGNANCY_METRICS like `scores`. scale: changes rows of weights, such as `same_mix`."""
    weights = bootstrap.weights(given.lesions).astype(np.float64)
    return resample(given, MALIGNANCY_METRICS, scale(weights) if scale else weights, threshold=threshold)


def compare(home: Collection, there: Collection, threshold: float, *, bootstrap: Bootstrap = STANDARD) -> pd.DataFrame:
    """Scores of another clinic's images beside those of the study's test part: one row per metric, pairs as columns.

    First level: inside, outside and difference (outside minus inside); second level: value, low and high. The two sets
    of lesions are resampled independently. Means over classes are over the diagnoses that the other clinic has, in
    both. Sensitivity, specificity and AUC for malignancy inside are those of the whole test part.
    """
    inside = scores(Collection(home.only(there.present).by_class, home.malignancy), threshold, bootstrap)
    outside = scores(there, threshold, bootstrap.independent())
    columns = {"inside": inside, "outside": outside}
    columns["difference"] = {metric: outside[metric] - inside[metric] for metric in inside}
    return pd.concat({name: _estimates(drawn) for name, drawn in columns.items()}, axis=1)


def parts_of_difference(
    home: Collection, there: Collection, threshold: float, *, bootstrap: Bootstrap = STANDARD
) -> pd.DataFrame:
    """What the difference of MALIGNANCY_METRICS between two collections is made of: rows for each part and metric.

    Parts: `diagnoses`, from leaving out those at home that the other clinic does not have; `images`, from its images in
    the mix that is left at home; `mix`, from their own mix; and `all`, the sum. Columns: value, low, high. Only images
    with a class of the study count, and a class is malignant if it is so at home.
    """
    inside, outside = home.malignancy, collection(there.by_class).malignancy
    kept = np.isin(np.array(home.by_class.classes)[home.by_class.labels], there.present)
    like = home.by_class.subset(kept)
    steps = [
        malignancy_scores(inside, threshold, bootstrap),
        malignancy_scores(inside, threshold, bootstrap, scale=lambda weights: weights * kept),
        malignancy_scores(outside, threshold, bootstrap.independent(), scale=same_mix(there.by_class, like)),
        malignancy_scores(outside, threshold, bootstrap.independent()),
    ]
    pairs = {"diagnoses": (0, 1), "images": (1, 2), "mix": (2, 3), "all": (0, 3)}
    tables = {
        part: _estimates({metric: steps[second][metric] - steps[first][metric] for metric in MALIGNANCY_METRICS})
        for part, (first, second) in pairs.items()
    }
    return pd.concat(tables, names=["part", "metric"])


def answer_table(sets: Mapping[str, pd.DataFrame], answers: Mapping[tuple[str, str], pd.DataFrame]) -> pd.DataFrame:
    """All answers in one table: model, set, the columns of `load_external` without the path, and the probabilities."""
    tables = {
        (model, name): pd.concat([sets[name].drop(columns="path"), table], axis=1)
        for (model, name), table in answers.items()
    }
    return pd.concat(tables, names=["model", "set"]).reset_index(["model", "set"])


def relabel_malignancy(table: pd.DataFrame, given: Collection, classes: Sequence) -> Predictions | None:
    """`Collection.malignancy` with what counts as malignant in the study; None if the other clinic counts the same.

    table, classes: as in `external_collection`. A diagnosis without a class counts as the publisher counts it.
    """
    flags = {one.code: one.malignant for one in classes}
    malignant = table["label"].map(flags).fillna(table["malignant"]).astype(bool)
    if (malignant == table["malignant"]).all():
        return None
    return binary(given.malignancy.malignant_score, malignant, given.malignancy.lesions)


def calibrate_answers(answers: pd.DataFrame, setting: tuple[float, Sequence[float]], classes: Sequence) -> pd.DataFrame:
    """Answers, one column per class, calibrated by a temperature and biases, see `calibration.calibrate`."""
    codes, flags = zip(*((one.code, one.malignant) for one in classes), strict=True)
    nobody = np.zeros(len(answers), int)
    given = Predictions(nobody, answers[list(codes)].to_numpy(), nobody, codes, flags)
    return pd.DataFrame(calibrate(given, *setting).probabilities, columns=list(codes))


def reliance(
    given: Collection,
    calibrated: Collection,
    abstains: np.ndarray,
    *,
    threshold: float,
    bootstrap: Bootstrap = STANDARD,
) -> dict[str, dict]:
    """How far calibrated probabilities and abstention can be relied on, each as {"value", "low", "high"}.

    calibrated: the same collection after calibration; abstains: bool [n], on which images the model abstains.
    threshold: the operating point of the calibrated probability; its sensitivity and specificity are of all images.
    """
    part, stated = given.malignancy, calibrated.malignancy.malignant_score
    excess = means({"excess": stated - part.is_malignant}, part.lesions, bootstrap).loc["excess"]
    bad, options = part.is_malignant, {"threshold": threshold, "bootstrap": bootstrap}
    names = ("malignant_sensitivity", "malignant_specificity")
    return {
        "stated minus true share malignant": excess.to_dict(),
        "ECE, calibrated": measure(calibrated.by_class, "ece", bootstrap=bootstrap),
        **{f"{METRICS[name]}, calibrated": measure(calibrated.malignancy, name, **options) for name in names},
        "abstained": proportion(abstains, part.lesions, bootstrap),
        "abstained, of the malignant": proportion(abstains[bad], part.lesions[bad], bootstrap),
    }


def external_table(
    home: Mapping[str, Collection],
    there: Mapping[tuple[str, str], Collection],
    thresholds: Mapping[str, float],
    *,
    bootstrap: Bootstrap = STANDARD,
) -> pd.DataFrame:
    """All METRICS of several models in one table: model, set, metric, images, and the columns of `compare`, flat.

    home, thresholds: by model; there: by model and set. Each model begins with the set INTERNAL, the whole test part,
    which is compared with nothing.
    """
    rows = []
    for model, inside in home.items():
        test = pd.concat({"outside": _estimates(scores(inside, thresholds[model], bootstrap))}, axis=1)
        tables = {(model, INTERNAL): (inside, test)}
        for place, one in there.items():
            if place[0] == model:
                tables[place] = one, compare(inside, one, thresholds[model], bootstrap=bootstrap)
        for (_, name), (one, table) in tables.items():
            columns = [end if first == "outside" else f"{first}_{end}" for first, end in table.columns]
            flat = table.set_axis(columns, axis=1).rename_axis("metric")
            counts = [len(one.by_class if metric in CLASS_METRICS else one.malignancy) for metric in flat.index]
            rows.append(flat.reset_index().assign(model=model, set=name, images=counts))
    return pd.concat(rows, ignore_index=True).reindex(columns=["model", "set", "metric", "images", *FIGURES])


def figure_of(row: pd.Series, which: str = "") -> dict[str, float]:
    """A figure of a row of `external_table`, as {"value", "low", "high"}; which: empty, `inside` or `difference`."""
    return {name: row[f"{which}_{name}".strip("_")] for name in ("value", "low", "high")}


def _estimates(drawn: Mapping[str, np.ndarray]) -> pd.DataFrame:
    return pd.DataFrame({name: estimate(values) for name, values in drawn.items()}, dtype=float).T
