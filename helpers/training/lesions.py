"""Training and asking the small networks that see lesions instead of images."""

from dataclasses import dataclass, replace

import keras
import numpy as np
import pandas as pd

from helpers.backend import set_seed
from helpers.data.histories import Histories
from helpers.training.batches import class_weights
from helpers.training.fit import Validation


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
