"""The networks of the study by name, built and trained as the parameters of a run say.

For notebooks that ask the same of several networks, or let the reader choose one.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import keras

from helpers.models.networks import classifier, cnn, cnn_backbone, mobilenet
from helpers.models.pretrained import weights_sha256
from helpers.models.recipe import Recipe
from helpers.models.sequence import read_as_sequence
from helpers.study import StudyError

KINDS = {"cnn": "CNN", "cnn_lstm": "CNN-LSTM", "mobilenet": "MobileNet"}


def network(
    kind: str,
    parameters: Mapping,
    classes: int,
    augmentation: Sequence[str] | Mapping[str, float],
    seed: int,
) -> keras.Model:
    """A network of KINDS, with so many classes; parameters: those of a run, by their names in the notebooks.

    Raises StudyError for another kind.
    """
    p = _known(kind, parameters)
    last = p["dropout"], augmentation, seed
    if kind == "cnn":
        return cnn(p["side"], classes, p["filters"], p["depth"], p["stride"], p["dense_units"], *last)
    if kind == "mobilenet":
        return mobilenet(p["side"], classes, p["version"], p["alpha"], p["pretrained"], *last)
    backbone = partial(cnn_backbone, filters=p["filters"], depth=p["depth"], stride=p["stride"])
    names = ("reading", "lstm_units", "lstm_layers", "bidirectional")
    neck = partial(read_as_sequence, seed=seed, **{name: p[name] for name in names})
    return classifier(p["side"], classes, backbone, neck, [p["dense_units"]], *last, "cnn_lstm")


def stages(kind: str, parameters: Mapping, epochs: int, seed: int) -> list[Recipe]:
    """How a network of KINDS is trained for so many epochs: MobileNet's head first, where its backbone is pretrained.

    Raises StudyError for another kind.
    """
    p = _known(kind, parameters)
    common = {name: p[name] for name in ("batch_size", "weight_decay", "imbalance")} | {
        "patience": epochs,
        "seed": seed,
    }
    if kind != "mobilenet" or p["pretrained"] == "none":
        return [Recipe(epochs, learning_rate=p["learning_rate"], **common)]
    fine = {name: p[name] for name in ("label_smoothing", "ema", "batch_norm")}
    head = Recipe(
        p["head_epochs"], learning_rate=p["learning_rate"], trainable="head", **common | {"batch_norm": "frozen"}
    )
    return [head, Recipe(epochs, learning_rate=p["fine_tuning_rate"], trainable=p["unfreeze_from"], **common, **fine)]


def pretrained_sha256(kind: str, parameters: Mapping) -> str | None:
    """SHA-256 of the file of pretrained weights that a network of KINDS starts from; None for none."""
    p = _known(kind, parameters)
    return weights_sha256(p["version"], p["alpha"], p["pretrained"]) if kind == "mobilenet" else None


def _known(kind: str, parameters: Mapping) -> Mapping:
    if kind not in KINDS:
        raise StudyError(f"network {kind!r}: choose one of {', '.join(KINDS)}.")
    return parameters
