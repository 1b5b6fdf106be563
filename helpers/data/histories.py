"""Data by lesion instead of by image: a sequence of photographs, and the patient's data."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

AGE_STEP = 20.0  # years; ages are given to the networks in this unit
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Histories:
    """n lesions, each with up to `steps` photographs and the patient's data.

    lesions: lesion ids, str [n]; first: image id of each first photograph, str [n]; images: float32 [n, steps, d],
    features of each photograph, zeros after the last; count: number of photographs, int64 [n]; patient: float32
    [n, m]; labels: class indices, int64 [n].
    """

    lesions: np.ndarray
    first: np.ndarray
    images: np.ndarray
    count: np.ndarray
    patient: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.lesions)

    def table(self, codes: Sequence[str]) -> pd.DataFrame:
        """One row per lesion: image_id of its first photograph, lesion_id and label."""
        return pd.DataFrame({"image_id": self.first, "lesion_id": self.lesions, "label": np.array(codes)[self.labels]})

    def shuffle(self, seed: int) -> "Histories":
        """The same lesions, each with its photographs in random order."""
        random = np.random.default_rng(seed)
        rank = random.random(self.images.shape[:2]) + (np.arange(self.images.shape[1]) >= self.count[:, None])
        return replace(self, images=np.take_along_axis(self.images, rank.argsort(axis=1)[..., None], axis=1))

    def without_patient(self, encoder: "PatientEncoder") -> "Histories":
        """The same lesions with all patient data set to unknown."""
        return replace(self, patient=np.tile(encoder.blank(), (len(self), 1)))


class PatientEncoder:
    """Age, sex and site as numbers, with an encoding for `unknown`: float32 [n, m].

    Age has two columns: the difference from the mean of the training images in units of AGE_STEP (0 if unknown), and
    whether it is known. Sex and site are one-hot over the values of the training images; other values count as
    unknown.
    """

    def __init__(self, table: pd.DataFrame):
        self.mean_age = float(table["age"].mean()) if table["age"].notna().any() else 0.0
        self.words = {name: sorted({*map(str, table[name]), UNKNOWN}) for name in ("sex", "site")}
        self.columns = ["age", "age known", *(f"{name}: {word}" for name in self.words for word in self.words[name])]

    def __call__(self, table: pd.DataFrame) -> np.ndarray:
        known = table["age"].notna().to_numpy()
        age = (table["age"].fillna(self.mean_age).to_numpy(float) - self.mean_age) / AGE_STEP
        parts = [age[:, None], known[:, None]]
        for name, words in self.words.items():
            given = table[name].astype(str)
            given = given.where(given.isin(words), UNKNOWN)
            parts.append(given.to_numpy()[:, None] == np.array(words)[None])
        return np.concatenate(parts, axis=1).astype(np.float32)

    def blank(self) -> np.ndarray:
        """The encoding of a patient without any data, float32 [m]."""
        return self(pd.DataFrame({"age": [np.nan], "sex": [UNKNOWN], "site": [UNKNOWN]}))[0]


def make_histories(
    table: pd.DataFrame, features: np.ndarray, patient: np.ndarray, *, codes: Sequence[str], steps: int
) -> Histories:
    """Group images into lesions, keeping at most the first `steps` photographs of each.

    table: one row per image with image_id, lesion_id, label and, if known, date (text that sorts by time); features:
    float32 [images, d]; patient: float32 [images, m]. Photographs are ordered by date, then by image id. Label and
    patient are those of the first photograph.
    """
    keys = [name for name in ("lesion_id", "date", "image_id") if name in table]
    order = table.reset_index(drop=True).sort_values(keys).index.to_numpy()
    rows = table.iloc[order].reset_index(drop=True)
    place = rows.groupby("lesion_id").cumcount().to_numpy()
    starts = np.flatnonzero(place == 0)
    lesion = np.cumsum(place == 0) - 1
    kept = place < steps
    images = np.zeros((len(starts), steps, features.shape[1]), np.float32)
    images[lesion[kept], place[kept]] = features[order[kept]]
    return Histories(
        lesions=rows["lesion_id"].to_numpy(str)[starts],
        first=rows["image_id"].to_numpy(str)[starts],
        images=images,
        count=np.minimum(np.bincount(lesion), steps),
        patient=patient[order[starts]],
        labels=pd.Index(codes).get_indexer(rows["label"].to_numpy()[starts]),
    )
