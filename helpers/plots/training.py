"""Pictures of training: curves, sizes, costs, folds, trials."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from sklearn.isotonic import isotonic_regression

from helpers.plots.data import NEUTRAL
from helpers.plots.style import MODEL_COLOURS, model_styles

PART_COLOURS = {"train": "#0072B2", "validation": "#D55E00", "test": "#009E73"}


def learning_curves(history: pd.DataFrame, best_epoch: int) -> Figure:
    """Loss and accuracies by epoch, for training and validation; lines mark the epoch kept and where a stage begins.

    history: columns epoch, stage, loss, val_loss, accuracy, val_accuracy and val_balanced_accuracy. The training loss
    is the one that was optimised, so it can be on another scale than that of validation, the cross-entropy in nats.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2))
    losses = (("train", "loss", "as optimised"), ("validation", "val_loss", "cross-entropy (nats)"))
    for part, column, kind in losses:
        left.plot(history["epoch"], history[column], color=PART_COLOURS[part], label=f"{part}, {kind}")
    curves = (
        ("accuracy", "train", "-"),
        ("val_accuracy", "validation", "-"),
        ("val_balanced_accuracy", "validation", "--"),
    )
    for column, part, style in curves:
        name = f"{part}, balanced" if "balanced" in column else part
        right.plot(history["epoch"], history[column], style, color=PART_COLOURS[part], label=name)
    left.set(xlabel="epoch", ylabel="loss", title="Loss")
    right.set(xlabel="epoch", ylabel="accuracy", ylim=(0, 1), title="Accuracy, plain and balanced")
    for axes in (left, right):
        axes.axvline(best_epoch, color=NEUTRAL, linewidth=1, linestyle=":", label=f"kept: epoch {best_epoch}")
        for first in history["epoch"][history["stage"].diff() > 0]:
            axes.axvline(first - 0.5, color=NEUTRAL, linewidth=0.8, label=f"stage {history['stage'][first - 1]} begins")
        axes.legend(fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))  # there is no half epoch
    return figure


def training_size(points: pd.DataFrame, chance: float, title: str = "Balanced accuracy by training size") -> Figure:
    """Balanced accuracy by number of training images on a logarithmic axis, a line with 95 % intervals for each way.

    points: columns images, way, value, low, high; chance: the balanced accuracy of an answer without looking.
    """
    figure, axes = plt.subplots(figsize=(6, 3.8))
    looks = model_styles(list(dict.fromkeys(points["way"])))
    for number, (way, own) in enumerate(points.groupby("way", sort=False)):
        own = own.sort_values("images")
        nudged = own["images"] * 1.03 ** (number - 1)  # so that intervals do not lie upon each other
        errors = [own["value"] - own["low"], own["high"] - own["value"]]
        axes.errorbar(nudged, own["value"], errors, capsize=3, label=way, **looks[way])
    axes.axhline(chance, color=NEUTRAL, linestyle=":", linewidth=1, label="chance")
    axes.set(xscale="log", xlabel="training images", ylabel="balanced accuracy on test, with 95 % interval")
    axes.set_title(title)
    axes.set_xticks(sorted(points["images"].unique()), [f"{count:,}" for count in sorted(points["images"].unique())])
    axes.minorticks_off()
    axes.legend(fontsize=8)
    return figure


def folds(points: pd.DataFrame, whole: pd.DataFrame, label: str, title: str) -> Figure:
    """A figure fold by fold as small points, and over all folds with its 95 % interval; a row for each model.

    points: columns kind, value, a row a fold; whole: index: the kinds; columns value, low, high.
    """
    figure, axes = plt.subplots(figsize=(7, 0.6 * len(whole) + 1.4))
    places = np.arange(len(whole))
    errors = np.stack([whole["value"] - whole["low"], whole["high"] - whole["value"]]).astype(float)
    axes.errorbar(
        whole["value"],
        places + 0.15,
        xerr=errors,
        fmt="o",
        color=MODEL_COLOURS[0],
        capsize=3,
        label="all folds together,\nwith 95 % interval",
    )
    for place, kind in enumerate(whole.index):
        own = points.loc[points["kind"] == kind, "value"]
        name = "one fold" if place == 0 else None
        axes.scatter(own, np.full(len(own), place - 0.15), marker="d", s=22, color=MODEL_COLOURS[1], label=name)
    axes.set(yticks=places, yticklabels=whole.index, xlabel=label, title=title, ylim=(len(whole) - 0.5, -0.5))
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


def search_history(trials: pd.DataFrame) -> Figure:
    """The score of each trial of a search, and the best so far. trials: columns trial, score, state, in order."""
    figure, axes = plt.subplots(figsize=(6.5, 3.6))
    looks = {"complete": ("o", MODEL_COLOURS[0], "trained to its end"), "pruned": ("x", NEUTRAL, "stopped early")}
    for state, (mark, colour, name) in looks.items():
        own = trials[trials["state"] == state]
        axes.scatter(own["trial"], own["score"], marker=mark, color=colour, s=28, label=f"{name} ({len(own)})")
    axes.step(trials["trial"], trials["score"].cummax(), where="post", color=MODEL_COLOURS[1], label="best so far")
    label = "trial (0 is the study file)"
    axes.set(xlabel=label, ylabel="balanced accuracy on validation", title=f"A search of {len(trials)} trials")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(fontsize=8)
    return figure


def cost(
    table: pd.DataFrame, costs: Mapping[str, str], label: str, title: str, looks: Mapping[str, dict] | None = None
) -> Figure:
    """A figure with its interval against what it costs, a panel a kind of cost, on logarithmic axes.

    table: a row a model, with columns value, low, high and one for each of `costs`; costs: axis label by column;
    looks: as of `malignancy_curves`. Names stand in a column of their own at the right, where they cannot collide,
    joined to their marks by lines.
    """
    figure, row = plt.subplots(1, len(costs), figsize=(3.4 * len(costs) + 2.6, 4), sharey=True, squeeze=False)
    looks = looks or model_styles(list(table.index))
    for axes, (column, unit) in zip(row[0], costs.items(), strict=True):
        for name, model in table.iterrows():
            bars = [[model["value"] - model["low"]], [model["high"] - model["value"]]]
            look = {"color": looks[name]["color"], "marker": looks[name]["marker"]}
            axes.errorbar(model[column], model["value"], yerr=bars, capsize=3, **look)
        ends = np.log10([0.8 * table[column].min(), 1.25 * table[column].max()])
        axes.set(xscale="log", xlabel=unit, xlim=(10 ** np.floor(ends[0]), 10 ** np.ceil(ends[1])))
        axes.xaxis.set_major_formatter("{x:,.9g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    row[0, 0].set(ylabel=label, title=title)
    figure.get_layout_engine().set(wspace=0.06)
    _name_at_the_right(row[0, -1], table[column], table["value"], looks)
    return figure


def _name_at_the_right(axes: Axes, across: pd.Series, up: pd.Series, looks: Mapping[str, dict]) -> None:
    """Write the index of `up` to the right of the axes, in order of height and at least a line apart."""
    up = up.sort_values()
    low, high = axes.get_ylim()
    gap = 0.065 * (high - low) * np.arange(len(up))
    for name, place in zip(up.index, isotonic_regression(up.to_numpy() - gap) + gap, strict=True):
        axes.annotate(
            name,
            (across[name], up[name]),
            (1.06, (place - low) / (high - low)),
            textcoords="axes fraction",
            va="center",
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": looks[name]["color"], "linewidth": 0.5, "shrinkB": 4},
        )


def training_gaps(histories: dict[str, pd.DataFrame]) -> Figure:
    """Accuracy by epoch, a panel a model, with the gap between training and validation shaded.

    histories: by model; columns epoch, accuracy and val_accuracy.
    """
    columns = min(4, len(histories))
    rows = -(-len(histories) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(2.9 * columns + 0.4, 2.6 * rows + 0.5), sharex=True, sharey=True, squeeze=False
    )
    for place, (name, history) in zip(axes.flat, histories.items(), strict=False):
        for part, column in (("train", "accuracy"), ("validation", "val_accuracy")):
            place.plot(history["epoch"], history[column], color=PART_COLOURS[part], label=part)
        place.fill_between(history["epoch"], history["accuracy"], history["val_accuracy"], color=NEUTRAL, alpha=0.15)
        place.set(title=name, xlabel="epoch", ylim=(0, 1))
        place.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for place in axes.flat[len(histories) :]:
        place.remove()
    for place in axes[:, 0]:
        place.set_ylabel("accuracy (share of images)")
    axes[0, 0].legend(fontsize=8)
    return figure


def robustness(table: pd.DataFrame, label: str, floor: tuple[float, str]) -> Figure:
    """A figure of several models on ever more corrupted images, a panel a corruption, with bands for the intervals.

    table: columns corruption (with its unit), strength, model, value, low, high; label: what the figure is; floor: a
    value to hold them against and what it is called.
    """
    names = list(dict.fromkeys(table["corruption"]))
    models = list(dict.fromkeys(table["model"]))
    colours = dict(zip(models, sns.color_palette("colorblind", len(models)), strict=True))
    figure, axes = plt.subplots(1, len(names), figsize=(3.2 * len(names) + 0.4, 3.4), sharey=True, squeeze=False)
    for place, name in zip(axes[0], names, strict=True):
        for model, rows in table[table["corruption"] == name].groupby("model", sort=False):
            place.plot(rows["strength"], rows["value"], "o-", markersize=4, color=colours[model], label=model)
            place.fill_between(rows["strength"], rows["low"], rows["high"], color=colours[model], alpha=0.15)
        place.axhline(floor[0], color=NEUTRAL, linewidth=1, linestyle=":", label=floor[1])
        place.set(title=name.split(" (")[0], xlabel=name, ylim=(0, 1))
        place.legend(fontsize=8)
    axes[0, 0].set_ylabel(label)
    return figure


def throughput(table: pd.DataFrame) -> Figure:
    """Images a second of each network by way, training and prediction side by side, on a logarithmic axis.

    table: one row a network, way and `what`, with median, low and high; see benchmarks/throughput.py.
    """
    whats, names, ways = (list(table[column].unique()) for column in ("what", "network", "way"))
    figure, panels = plt.subplots(1, len(whats), figsize=(5 * len(whats), 3.6), sharey=True, squeeze=False)
    looks = model_styles(ways)
    for axes, what in zip(panels[0], whats, strict=True):
        for place, way in enumerate(ways):
            rows = table[(table["what"] == what) & (table["way"] == way)]
            down = [names.index(name) + 0.12 * (place - (len(ways) - 1) / 2) for name in rows["network"]]
            spread = [rows["median"] - rows["low"], rows["high"] - rows["median"]]
            axes.errorbar(rows["median"], down, xerr=spread, label=way, capsize=2, **looks[way] | {"linestyle": ""})
        axes.set(xscale="log", title=what, xlabel="images a second: median and range")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    panels[0][0].set_yticks(range(len(names)), names)
    panels[0][0].invert_yaxis()
    panels[0][-1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    first = table.iloc[0]
    size = f"{first['images']:,} images of {first['side']} px in batches of {first['batch']}, {first['rounds']} rounds"
    figure.suptitle(f"{size}; {first['backend']} on {first['device']}")
    return figure
