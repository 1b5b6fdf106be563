"""Small networks that see a lesion's photographs as a sequence, and what is known of its patient."""

from collections.abc import Sequence

import keras
from keras import layers

from helpers.backend import set_seed
from helpers.data.histories import Histories


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
