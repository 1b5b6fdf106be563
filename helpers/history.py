"""Lesions instead of images: the photographs of each as a sequence, what is known of its patient, small networks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np
import pandas as pd
from keras import layers

from helpers.study import set_seed
from helpers.training import Validation, class_weights

AGE_STEP = 20.0  # years: what the networks see of an age is how many of these it lies from the mean
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Histories:
    """n lesions, each with up to `steps` photographs and what is known of its patient.

    lesions: their ids, str [n]; first: image id of each one's first photograph, str [n]; images: float32 [n, steps, d],
    features of each photograph, zeros after the last; count: photographs, int64 [n]; patient: float32 [n, m];
    labels: class indices, int64 [n].
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
        """One row a lesion: image_id, that of its first photograph, lesion_id and label."""
        return pd.DataFrame({"image_id": self.first, "lesion_id": self.lesions, "label": np.array(codes)[self.labels]})

    def shuffled(self, seed: int) -> "Histories":
        """The same with the photographs of each lesion in an order drawn at random."""
        random = np.random.default_rng(seed)
        rank = random.random(self.images.shape[:2]) + (np.arange(self.images.shape[1]) >= self.count[:, None])
        return replace(self, images=np.take_along_axis(self.images, rank.argsort(axis=1)[..., None], axis=1))

    def without_patient(self, encoder: "PatientEncoder") -> "Histories":
        """The same with nothing known of any patient."""
        return replace(self, patient=np.tile(encoder.blank(), (len(self), 1)))


class PatientEncoder:
    """Age, sex and site as numbers, with a place for `unknown` in each: float32 [n, m].

    Age as its distance from the mean of the images it was fitted on, in steps of AGE_STEP, 0 if unknown, and whether
    it is known; sex and site as one number a word, among those of the fitted images; another word counts as unknown.
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
        """What is seen of a patient of whom nothing is known, float32 [m]."""
        return self(pd.DataFrame({"age": [np.nan], "sex": [UNKNOWN], "site": [UNKNOWN]}))[0]


def histories(
    table: pd.DataFrame, features: np.ndarray, patient: np.ndarray, codes: Sequence[str], steps: int
) -> Histories:
    """Images put together as lesions; of a lesion with more than `steps` photographs the first so many are taken.

    table: one row an image: image_id, lesion_id, label and, where there is one, date (text that sorts by time);
    features: float32 [images, d]; patient: float32 [images, m]. A lesion's photographs are ordered by date and then by
    image id; its label and patient are those of its first.
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


def lesion_network(
    lesions: Histories, classes: int, sees: Sequence[str], units: int, dropout: float, seed: int
) -> keras.Model:
    """From photographs float32 [n, steps, d] and patients float32 [n, m] to probabilities float32 [n, classes].

    sees: of `image`, the first photograph; `sequence`, all of them through an LSTM that skips what is not there;
    `patient`, what is known of the patient. A branch that a network does not see has no weights. units: width of the
    first and of the second, a quarter of it of the third; seed: of the first weights and of dropout.
    """
    set_seed(seed)
    images = keras.Input(lesions.images.shape[1:], name="images")
    patient = keras.Input(lesions.patient.shape[1:], name="patient")
    branches = []
    if "image" in sees:
        branches.append(layers.Dense(units, activation="relu", name="image")(images[:, 0]))
    if "sequence" in sees:
        there = layers.Masking(0.0)(images)
        branches.append(layers.LSTM(units, name="sequence")(there))
    if "patient" in sees:
        branches.append(layers.Dense(units // 4, activation="relu", name="patient_units")(patient))
    seen = branches[0] if len(branches) == 1 else layers.Concatenate()(branches)
    seen = layers.Dropout(dropout, seed=seed)(seen)
    answer = layers.Dense(classes, activation="softmax", dtype="float32", name="softmax")(seen)
    return keras.Model([images, patient], answer, name="lesion_" + "_".join(sees))


class _Judged:
    """A lesion network as `training.Validation` asks one: for some of the lesions."""

    def __init__(self, network: keras.Model):
        self.network = network

    def predict(self, lesions: Histories, rows: np.ndarray) -> np.ndarray:
        return predict_lesions(self.network, lesions)[rows]


@dataclass(frozen=True)
class _Samples:
    pixels: Histories
    rows: np.ndarray
    labels: np.ndarray


def fit_lesions(
    network: keras.Model,
    train: Histories,
    validation: Histories,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    label: str,
) -> pd.DataFrame:
    """Train a lesion network with AdamW, rare classes weighing more, and keep its best epoch on validation.

    Returns its history, one row an epoch, as `training.fit` does.
    """
    set_seed(seed)
    classes = network.output_shape[-1]
    network.compile(
        keras.optimizers.AdamW(learning_rate, weight_decay=1e-3), "categorical_crossentropy", metrics=["accuracy"]
    )
    judge = Validation(
        _Judged(network), _Samples(validation, np.arange(len(validation)), validation.labels), epochs, epochs, label
    )
    table = network.fit(
        [train.images, train.patient],
        np.eye(classes, dtype=np.float32)[train.labels],
        sample_weight=class_weights(train.labels, classes)[train.labels],
        batch_size=min(batch_size, len(train)),
        epochs=epochs,
        callbacks=[judge],
        verbose=0,
    )
    history = pd.DataFrame(table.history)
    history.insert(0, "epoch", np.arange(1, len(history) + 1))
    return history


def predict_lesions(network: keras.Model, lesions: Histories) -> np.ndarray:
    """Probabilities float32 [n, classes]."""
    # All in one batch, vectors being small: for as few, most of what `predict` does takes longer than the network.
    return network.predict_on_batch([lesions.images, lesions.patient])


def mean_over_photographs(network: keras.Model, lesions: Histories) -> np.ndarray:
    """The mean of what a network that sees one photograph says of each of a lesion's, float32 [n, classes]."""
    answers = []
    for step in range(lesions.images.shape[1]):
        images = np.zeros_like(lesions.images)
        images[:, 0] = lesions.images[:, step]
        answers.append(predict_lesions(network, replace(lesions, images=images)))
    there = np.arange(len(answers)) < lesions.count[:, None]
    return np.einsum("snk,ns->nk", np.stack(answers), there / lesions.count[:, None]).astype(np.float32)


def both(first: Histories, second: Histories) -> Histories:
    """The lesions of two sets, one after the other."""
    values = {
        name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in first.__dataclass_fields__
    }
    return Histories(**values)
