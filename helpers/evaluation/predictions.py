"""A model's predictions for a set of images, with true labels and lesions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from helpers.data.lesions import classes
from helpers.records import read_predictions
from helpers.study import StudyError


@dataclass(frozen=True, eq=False)
class Predictions:
    """A model's predictions for n images, with true labels and lesions.

    labels: int [n], indices into `classes`; probabilities: float64 [n, k], rows sum to 1; lesions: str [n], the lesion
    of each image; classes: k class codes; malignant: k bools. Raises StudyError if shapes or values are inconsistent.
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
        cls, table: pd.DataFrame, classes: Iterable[str], malignant: Iterable[bool], *, lesions: Mapping[str, str]
    ) -> "Predictions":
        """From a predictions table: image_id, label and one column of probabilities per class. All rows are used.

        lesions: lesion id by image id, as a Series or a dictionary. Raises StudyError for a missing column, an unknown
        label or image, or an image that occurs twice.
        """
        classes, images = list(classes), table.get("image_id")
        missing = ", ".join(name for name in ("image_id", "label", *classes) if name not in table)
        if missing:
            raise StudyError(f"The predictions have no column {missing}. Run the notebook that writes them again.")
        lesion = images.map(lesions)
        for at_fault, fault in (
            (images[images.duplicated()], "listed more than once"),
            (images[~table["label"].isin(classes)], f"labelled with a class that is not one of {', '.join(classes)}"),
            (images[lesion.isna()], "not assigned to a lesion"),
        ):
            if len(at_fault):
                raise StudyError(f"Predictions: {len(at_fault)} images are {fault}; the first is {at_fault.iloc[0]}.")
        labels = pd.Index(classes).get_indexer(table["label"])
        return cls(labels, table[classes].to_numpy(np.float64), lesion.to_numpy(), tuple(classes), tuple(malignant))

    def subset(self, mask: np.ndarray) -> "Predictions":
        """Only the images selected by `mask`, bool [n] or row numbers. Raises StudyError if there are none."""
        mask = np.asarray(mask)
        chosen = self.labels[mask], self.probabilities[mask], self.lesions[mask]
        return Predictions(*chosen, self.classes, self.malignant)

    def restrict_to(self, classes: Sequence[str]) -> "Predictions":
        """Only the images of these classes, with probabilities for these classes only.

        The probabilities are rescaled to sum to 1. If all are 0, they become equal.
        """
        columns = [self.classes.index(code) for code in classes]
        chosen = np.isin(self.labels, columns)
        given = self.probabilities[chosen][:, columns]
        total = given.sum(axis=1, keepdims=True)
        scaled = np.divide(given, total, out=np.full_like(given, 1 / len(columns)), where=total > 0)
        labels = pd.Index(columns).get_indexer(self.labels[chosen])
        malignant = tuple(self.malignant[column] for column in columns)
        return Predictions(labels, scaled, self.lesions[chosen], tuple(classes), malignant)

    @cached_property
    def predicted(self) -> np.ndarray:
        """Index of the most probable class, int [n]. The first one wins a tie."""
        return self.probabilities.argmax(axis=1)

    @cached_property
    def is_right(self) -> np.ndarray:
        """Whether the predicted class is the true one, bool [n]."""
        return self.predicted == self.labels

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


def read_parts(record: dict, lesions: Mapping[str, str]) -> tuple[Predictions, Predictions]:
    """The predictions on validation and on test of a record of `read_records`, for the classes that it was trained on.

    lesions: lesion id by image id. Raises StudyError if the predictions are lost or damaged.
    """
    table = read_predictions(record["folder"])
    known = [one for one in classes(record["parameters"]["dataset"], record["task"]) if one.code in table]
    codes, malignant = [one.code for one in known], [one.malignant for one in known]
    parts = (table[table["part"] == part] for part in ("validation", "test"))
    return tuple(Predictions.from_table(part, codes, malignant, lesions=lesions) for part in parts)


def ensemble(members: Iterable[Predictions]) -> Predictions:
    """Mean of the members' probabilities. Raises StudyError unless all are for the same images in the same order."""
    members = list(members)
    check_paired(*members)
    return replace(members[0], probabilities=np.mean([p.probabilities for p in members], axis=0))


def per_lesion(predictions: Predictions) -> Predictions:
    """One prediction per lesion: the mean probabilities of its images. A lesion has the label of its first image."""
    p = predictions
    names, first, lesion = np.unique(p.lesions, return_index=True, return_inverse=True)
    members = np.eye(len(names))[lesion]
    means = members.T @ p.probabilities / members.sum(axis=0)[:, None]
    return replace(p, labels=p.labels[first], probabilities=means, lesions=names)


def concatenate_predictions(parts: Sequence[Predictions]) -> Predictions:
    """Predictions for several sets of images, such as five folds, as one.

    Raises StudyError if their classes differ.
    """
    if len({(part.classes, part.malignant) for part in parts}) != 1:
        raise StudyError("Predictions of different classes cannot be concatenated.")
    columns = zip(*((part.labels, part.probabilities, part.lesions) for part in parts), strict=True)
    return Predictions(*map(np.concatenate, columns), parts[0].classes, parts[0].malignant)


def check_paired(first: Predictions, *others: Predictions, truth: str = "labels") -> None:
    """Raise StudyError unless all are for the same images in the same order, with equal lesions and `truth`."""
    if not all(np.array_equal(getattr(first, name), getattr(p, name)) for p in others for name in (truth, "lesions")):
        raise StudyError("Models can be compared in pairs only if they predict the same images in the same order.")


def _check_shapes(p: Predictions) -> None:
    n, k = p.labels.size, len(p.classes)
    if n == 0:
        raise StudyError("Predictions: there are no images.")
    if (p.probabilities.shape, p.labels.shape, p.lesions.shape, len(p.malignant)) != ((n, k), (n,), (n,), k):
        raise StudyError(
            f"Predictions: probabilities {p.probabilities.shape}, labels {p.labels.shape}, lesions {p.lesions.shape}, "
            f"{k} classes and {len(p.malignant)} malignant flags do not fit; they must be [n, k], [n], [n], k and k."
        )


def _check_values(p: Predictions) -> None:
    k, sums = len(p.classes), p.probabilities.sum(axis=1)
    if p.labels.dtype.kind not in "iu" or p.labels.min() < 0 or p.labels.max() >= k:
        raise StudyError(f"Predictions: labels must be whole numbers from 0 to {k - 1}, indices into the classes.")
    if not ((p.probabilities >= 0) & (p.probabilities <= 1)).all():
        raise StudyError("Predictions: probabilities must be finite and between 0 and 1.")
    if np.abs(sums - 1).max() > 1e-3:
        worst = int(np.abs(sums - 1).argmax())
        raise StudyError(f"Predictions: probabilities of image {worst} sum to {sums[worst]:.4f}; they must sum to 1.")
    if pd.isna(p.lesions).any():
        raise StudyError("Predictions: every image needs a lesion. Use its image id where the lesion is unknown.")
