"""How a network is trained: the settings of each stage, and which layers learn in it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import keras
from keras import layers

from helpers.study import StudyError, check_choice

IMBALANCE = ("none", "class_weight", "balanced_batches", "focal", "logit_adjustment")
MIXING = {"none": None, "mixup": 0.2, "cutmix": 1.0}  # alpha of the Beta distribution of the mixed share
BATCH_NORMS = ("adapt", "frozen")


@dataclass(frozen=True)
class Recipe:
    """The settings of one stage of training.

    imbalance: one of IMBALANCE; patience: epochs without a better validation before training stops; label_smoothing:
    share of the truth that is spread over all classes; ema: share of the average of past weights that each step keeps
    (validation judges these averages, and they are saved), or 0 for none; trainable, batch_norm: see `set_trainable`;
    mixing: one of MIXING. Raises StudyError for a value that cannot be.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    imbalance: str
    patience: int
    seed: int
    label_smoothing: float = 0.0
    ema: float = 0.0
    trainable: str = "all"
    batch_norm: str = "adapt"
    mixing: str = "none"

    def __post_init__(self):
        check_choice("imbalance", self.imbalance, IMBALANCE)
        check_choice("mixing", self.mixing, MIXING)
        check_choice("batch_norm", self.batch_norm, BATCH_NORMS)
        for name in ("epochs", "batch_size", "learning_rate", "patience"):
            if getattr(self, name) <= 0:
                raise StudyError(f"{name} is {getattr(self, name)}; it has to be above 0.")
        for name in ("label_smoothing", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise StudyError(f"{name} is {getattr(self, name)}; it has to be 0 or more and below 1.")


def recipes(kind: str, parameters: Mapping, epochs: int) -> list[Recipe]:
    """How a network of `networks.KINDS` is trained: a pretrained MobileNet is fine-tuned, others learn as a whole."""
    pretrained = kind == "mobilenet" and parameters["pretrained"] != "none"
    return (fine_tuning if pretrained else whole_network)(parameters, epochs)


def whole_network(parameters: Mapping, epochs: int) -> list[Recipe]:
    """One stage, in which all layers learn.

    parameters: of a run, under their names in the notebooks. Without a `patience` among them no epoch is left out.
    """
    names = ("batch_size", "learning_rate", "weight_decay", "imbalance", "seed")
    settings = {name: parameters[name] for name in names}
    return [Recipe(epochs, patience=parameters.get("patience", epochs), **settings)]


def head_only(parameters: Mapping, epochs: int) -> list[Recipe]:
    """One stage, in which the head learns and the backbone stays frozen, with its batch normalisations."""
    (recipe,) = whole_network(parameters, epochs)
    return [replace(recipe, trainable="head", batch_norm="frozen")]


def fine_tuning(parameters: Mapping, epochs: int) -> list[Recipe]:
    """Two stages: the head alone for `head_epochs`; then all layers from `unfreeze_from` on, at `fine_tuning_rate`."""
    p = parameters
    (recipe,) = whole_network(p, epochs)
    changes = {name: p[name] for name in ("label_smoothing", "ema", "batch_norm")}
    last = replace(recipe, learning_rate=p["fine_tuning_rate"], trainable=p["unfreeze_from"], **changes)
    return [*head_only(p, p["head_epochs"]), last]


def set_trainable(model: keras.Model, start: str, batch_norm: str) -> None:
    """Let the layers from `start` on learn, and freeze those before it.

    start: `all`, `head` or the name of a layer. batch_norm: `adapt`; or `frozen`, so that the batch normalisations of
    the backbone keep their statistics and scales, as is usual when a pretrained backbone is trained on few images.
    Raises StudyError if there is no such layer.
    """
    names = [layer.name for layer in model.layers]
    head = next(place for place, name in enumerate(names) if name.startswith("head_"))
    places = {name: place for place, name in enumerate(names)} | {"all": 0, "head": head}
    if start not in places:
        near = ", ".join(name for name in names if name.startswith(("conv_pw", "block", "conv2d")))
        raise StudyError(f"There is no layer {start!r} to train from: choose all, head, or a layer such as {near}.")
    for place, layer in enumerate(model.layers):
        is_norm = place < head and isinstance(layer, layers.BatchNormalization)
        layer.trainable = place >= places[start] and not (is_norm and batch_norm == "frozen")
