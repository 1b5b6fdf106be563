"""How a network is trained: the settings of one stage."""

from dataclasses import dataclass

from helpers.study import StudyError

IMBALANCE = ("none", "class_weight", "balanced_batches", "focal", "logit_adjustment")
MIXING = {"none": None, "mixup": 0.2, "cutmix": 1.0}  # alpha of the Beta distribution that says how much is mixed


@dataclass(frozen=True)
class Recipe:
    """How a model is trained, or in one of several stages.

    imbalance: one of IMBALANCE; patience: epochs without a better validation before it stops; label_smoothing: share of
    the truth that is spread over all classes; ema: share of the average of past weights that each step keeps (those are
    the weights that are judged and kept), or 0 for none; trainable and batch_norm: see `models.set_trainable`;
    mixing: one of MIXING, see `mix`.
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
        for name, known in (("imbalance", IMBALANCE), ("mixing", MIXING)):
            if getattr(self, name) not in known:
                raise StudyError(f"{name} {getattr(self, name)!r}: choose one of {', '.join(known)}.")
        for name in ("epochs", "batch_size", "learning_rate", "patience"):
            if getattr(self, name) <= 0:
                raise StudyError(f"{name} is {getattr(self, name)}; it has to be above 0.")
        for name in ("label_smoothing", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise StudyError(f"{name} is {getattr(self, name)}; it has to be 0 or more and below 1.")
