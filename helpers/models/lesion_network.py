"""Small networks that read a lesion's photographs as a sequence, together with the patient's data."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
from keras import layers

from helpers.backend import set_seed
from helpers.data.histories import Histories


@dataclass(frozen=True)
class Branches:
    """The inputs of a lesion network, and the width of its layers.

    sees: any of `image` (the first photograph), `sequence` (all photographs, read by an LSTM that skips missing ones)
    and `patient` (the patient's data). units: width of the first two branches; the third is a quarter as wide. seed: of
    the initial weights and dropout.
    """

    sees: Sequence[str]
    units: int
    dropout: float
    seed: int


def lesion_network(lesions: Histories, classes: int, settings: Branches) -> keras.Model:
    """From photographs float32 [n, steps, d] and patients float32 [n, m] to probabilities float32 [n, classes].

    lesions: examples that define both shapes. Branches that are not used are not built.
    """
    set_seed(settings.seed)
    images = keras.Input(lesions.images.shape[1:], name="images")
    patient = keras.Input(lesions.patient.shape[1:], name="patient")
    branches = []
    if "image" in settings.sees:
        branches.append(layers.Dense(settings.units, activation="relu", name="image")(images[:, 0]))
    if "sequence" in settings.sees:
        branches.append(layers.LSTM(settings.units, name="sequence")(layers.Masking(0.0)(images)))
    if "patient" in settings.sees:
        branches.append(layers.Dense(settings.units // 4, activation="relu", name="patient_units")(patient))
    features = branches[0] if len(branches) == 1 else layers.Concatenate()(branches)
    features = layers.Dropout(settings.dropout, seed=settings.seed)(features)
    answer = layers.Dense(classes, activation="softmax", dtype="float32", name="softmax")(features)
    return keras.Model([images, patient], answer, name="lesion_" + "_".join(settings.sees))
