"""The hyperparameters that the search varies, and the study parameters of a trial."""

from collections.abc import Mapping, Sequence

import optuna

from helpers.study import StudyError

# Widths, units, rates and batch sizes are searched as multiples of the values in the study file.
MULTIPLES = (0.5, 1.0, 2.0)
RATE = (0.25, 4.0)
DROPOUT = 0.6  # the upper limit, unless the study's own value is higher
VARIED = ("brightness", "zoom")  # augmentations whose strength is searched
UNCHANGED = "unchanged"  # the study's own augmentations at their own strengths
STRENGTHS = (UNCHANGED, 0.0, 0.5, 1.0, 1.5)
HYPERPARAMETERS = ("width", "units", "rate", "batch", "dropout", "strength")
ABSENT = {"cnn": ("units",), "cnn_lstm": (), "mobilenet": ("width", "units")}  # hyperparameters that a network lacks


def searched_names(parameters: Mapping, kind: str) -> list[str]:
    """The hyperparameters that the study searches and that a network of this kind has, in the order of HYPERPARAMETERS.

    Raises StudyError for an unknown name.
    """
    names = parameters["hyperparameters"]
    if unknown := [name for name in names if name not in HYPERPARAMETERS]:
        raise StudyError(f"hyperparameters: {unknown[0]!r} is unknown; choose from {', '.join(HYPERPARAMETERS)}.")
    return [name for name in HYPERPARAMETERS if name in names and name not in ABSENT[kind]]


def study_values(parameters: Mapping, kind: str) -> dict:
    """The hyperparameters that reproduce the study's own parameters."""
    values = dict.fromkeys(HYPERPARAMETERS, 1.0) | {"dropout": parameters["dropout"], "strength": UNCHANGED}
    return {name: values[name] for name in searched_names(parameters, kind)}


def suggest_values(trial: optuna.Trial, parameters: Mapping, kind: str) -> dict:
    """The hyperparameters that a trial suggests, by name."""
    ranges = {"rate": RATE, "dropout": (0.0, max(DROPOUT, parameters["dropout"]))}
    values = {}
    for name in searched_names(parameters, kind):
        if name in ranges:
            values[name] = trial.suggest_float(name, *ranges[name], log=name == "rate")
        else:
            values[name] = trial.suggest_categorical(name, STRENGTHS if name == "strength" else MULTIPLES)
    return values


def trial_parameters(values: Mapping, parameters: Mapping, kind: str) -> dict:
    """The study's parameters, changed by the hyperparameters `values` of a trial."""
    p = parameters
    v = dict.fromkeys(HYPERPARAMETERS, 1.0) | {"dropout": p["dropout"], "strength": UNCHANGED} | dict(values)
    changed = {
        "filters": [scale(filters, v["width"], 4) for filters in p["filters"]],
        "lstm_units": scale(p["lstm_units"], v["units"], 4),
        "batch_size": scale(p["batch_size"], v["batch"], 8),
        "dropout": round(v["dropout"], 3),
    }
    # The rate of a pretrained backbone is scaled together with that of the head.
    for name in ("learning_rate", "fine_tuning_rate")[: 2 if kind == "mobilenet" else 1]:
        changed[name] = p[name] if v["rate"] == 1 else float(f"{p[name] * v['rate']:.3g}")
    if v["strength"] != UNCHANGED:
        kept = [name for name in p["augmentation"] if name.partition(":")[0] not in VARIED]
        changed["augmentation"] = kept + [f"{name}:{v['strength']:.2f}" for name in VARIED if v["strength"]]
    return dict(p) | changed


def add_varied(augmentation: Sequence[str]) -> list[str]:
    """Augmentations `name` or `name:strength`, plus those of VARIED that are missing, at strength 0."""
    names = [entry.partition(":")[0] for entry in augmentation]
    return [*augmentation, *(f"{name}:0" for name in VARIED if name not in names)]


def scale(value: int, factor: float, least: int) -> int:
    """A whole number times a factor, not below `least`. A factor of 1 changes nothing."""
    return value if factor == 1 else max(least, round(factor * value))
