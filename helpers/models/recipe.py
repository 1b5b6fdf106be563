"""How a network is trained: the settings of each stage, and which layers are trainable."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import keras
from keras import layers

from helpers.study import StudyError, check_choice

IMBALANCE = ("none", "class_weight", "balanced_batches", "focal", "logit_adjustment")
MIXING = {"none": None, "mixup": 0.2, "cutmix": 1.0}  # alpha of the Beta distribution of the mixing proportion
BATCH_NORMS = ("adapt", "frozen")
LAST_RATE = 0.3  # of the stage that follows small images, relative to the rate on them


@dataclass(frozen=True)
class Recipe:
    """The settings of one stage of training.

    imbalance: one of IMBALANCE; patience: epochs without improvement on validation before training stops;
    label_smoothing: proportion of the label that is spread over all classes; ema: momentum of the moving average of the
    weights, which is then validated and saved, or 0 for none; trainable, batch_norm: see `set_trainable`; mixing: one
    of MIXING; shrink: by how much the images are smaller than the network's, see `resizing.shrink_images`. Raises
    StudyError for an invalid value.
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
    shrink: int = 1

    def __post_init__(self):
        check_choice("imbalance", self.imbalance, IMBALANCE)
        check_choice("mixing", self.mixing, MIXING)
        check_choice("batch_norm", self.batch_norm, BATCH_NORMS)
        for name in ("epochs", "batch_size", "learning_rate", "patience", "shrink"):
            if getattr(self, name) <= 0:
                raise StudyError(f"{name} is {getattr(self, name)}; it must be above 0.")
        for name in ("label_smoothing", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise StudyError(f"{name} is {getattr(self, name)}; it must be 0 or more and below 1.")


def recipes(kind: str, parameters: Mapping, epochs: int) -> list[Recipe]:
    """The stages for a network of `networks.KINDS`: fine-tuning if it is pretrained, otherwise one stage."""
    pretrained = kind == "mobilenet" and parameters["pretrained"] != "none"
    return (fine_tuning if pretrained else whole_network)(parameters, epochs)


def whole_network(parameters: Mapping, epochs: int) -> list[Recipe]:
    """One stage in which all layers are trained.

    parameters: of a run, named as in the notebooks. Without `patience` there is no early stopping.
    """
    names = ("batch_size", "learning_rate", "weight_decay", "imbalance", "seed")
    settings = {name: parameters[name] for name in names}
    return [Recipe(epochs, patience=parameters.get("patience", epochs), **settings)]


def head_only(parameters: Mapping, epochs: int) -> list[Recipe]:
    """One stage in which only the head is trained. The backbone is frozen, including its batch normalisations."""
    (recipe,) = whole_network(parameters, epochs)
    return [replace(recipe, trainable="head", batch_norm="frozen")]


def fine_tuning(parameters: Mapping, epochs: int) -> list[Recipe]:
    """Two stages: only the head for `head_epochs`, then all layers from `unfreeze_from` on, at `fine_tuning_rate`."""
    p = parameters
    (recipe,) = whole_network(p, epochs)
    changes = {name: p[name] for name in ("label_smoothing", "ema", "batch_norm")}
    last = replace(recipe, learning_rate=p["fine_tuning_rate"], trainable=p["unfreeze_from"], **changes)
    return [*head_only(p, p["head_epochs"]), last]


def enlarge(stages: list[Recipe], epochs: int) -> list[Recipe]:
    """The same stages on images of half the width, and one more for `epochs` on images of full width.

    The last stage repeats the one before at LAST_RATE times its rate. With 0 epochs nothing changes. Small images train
    four times as fast, but a network must also see images of the size that it will be asked about (Touvron et al. 2019,
    https://arxiv.org/abs/1906.06423).
    """
    if not epochs:
        return stages
    last = replace(stages[-1], epochs=epochs, learning_rate=LAST_RATE * stages[-1].learning_rate)
    return [*(replace(stage, shrink=2) for stage in stages), last]


def set_trainable(model: keras.Model, start: str, batch_norm: str) -> None:
    """Make the layers from `start` on trainable, and freeze those before it.

    start: `all`, `head` or the name of a layer. batch_norm: `adapt`; or `frozen`, which keeps the statistics and scales
    of the backbone's batch normalisations, as is usual when fine-tuning on few images. Raises StudyError if there is no
    such layer.
    """
    names = [layer.name for layer in model.layers]
    head = next(place for place, name in enumerate(names) if name.startswith("head_"))
    places = {name: place for place, name in enumerate(names)} | {"all": 0, "head": head}
    if start not in places:
        near = ", ".join(name for name in names if name.startswith(("conv_pw", "block", "conv2d")))
        raise StudyError(f"There is no layer {start!r} to train from. Choose all, head, or a layer such as {near}.")
    for place, layer in enumerate(model.layers):
        is_norm = place < head and isinstance(layer, layers.BatchNormalization)
        layer.trainable = place >= places[start] and not (is_norm and batch_norm == "frozen")
