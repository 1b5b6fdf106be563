"""Training and prediction of the small networks whose inputs are lesions instead of images."""

from dataclasses import fields, replace

import keras
import numpy as np
import pandas as pd

from helpers.backend import set_seed
from helpers.data.histories import Histories
from helpers.models.recipe import Recipe
from helpers.training.fit import ProgressBar, Validation, epochs_table
from helpers.training.losses import class_weights


def fit_lesions(
    network: keras.Model, train: Histories, validation: Histories, *, recipe: Recipe, label: str
) -> pd.DataFrame:
    """Train a lesion network with AdamW at a constant rate, and keep the weights of its best epoch on validation.

    Rare classes weigh more, as with `imbalance="class_weight"`. label: of the progress bar. Returns the history, one
    row per epoch, as `fit` does.
    """
    set_seed(recipe.seed)
    classes = network.output_shape[-1]
    optimizer = keras.optimizers.AdamW(recipe.learning_rate, weight_decay=recipe.weight_decay)
    network.compile(optimizer, "categorical_crossentropy", metrics=["accuracy"])
    judge = Validation(
        network, lambda: predict_lesions(network, validation), validation.labels, patience=recipe.patience
    )
    history = network.fit(
        [train.images, train.patient],
        np.eye(classes, dtype=np.float32)[train.labels],
        sample_weight=class_weights(train.labels, classes)[train.labels],
        batch_size=min(recipe.batch_size, len(train)),
        epochs=recipe.epochs,
        callbacks=[judge, ProgressBar(label)],
        verbose=0,
    ).history
    return epochs_table(history)


def predict_lesions(network: keras.Model, lesions: Histories) -> np.ndarray:
    """Probabilities float32 [n, classes]."""
    # One batch is enough, since the vectors are small. The overhead of `predict` would take longer than the network.
    return network.predict_on_batch([lesions.images, lesions.patient])


def mean_over_photographs(network: keras.Model, lesions: Histories) -> np.ndarray:
    """Probabilities for each photograph by itself, averaged over the photographs of a lesion: float32 [n, classes]."""
    answers = []
    for step in range(lesions.images.shape[1]):
        images = np.zeros_like(lesions.images)
        images[:, 0] = lesions.images[:, step]
        answers.append(predict_lesions(network, replace(lesions, images=images)))
    taken = np.arange(len(answers)) < lesions.count[:, None]
    return np.einsum("snk,ns->nk", np.stack(answers), taken / lesions.count[:, None]).astype(np.float32)


def concatenate_lesions(*sets: Histories) -> Histories:
    """The lesions of several sets, one set after the other."""
    names = [field.name for field in fields(Histories)]
    return Histories(**{name: np.concatenate([getattr(one, name) for one in sets]) for name in names})
