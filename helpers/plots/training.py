"""Figures of training: learning curves, claims by epoch, and the effect of more images."""

from collections.abc import Mapping
from textwrap import fill

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from helpers.plots.style import (
    MODEL_COLOURS,
    NEUTRAL,
    PART_COLOURS,
    error_bars,
    legend_below,
    model_styles,
)


def learning_curves(history: pd.DataFrame, best_epoch: int, title: str) -> Figure:
    """Loss and accuracy by epoch for training and validation. Lines mark the epoch kept and the start of each stage.

    history: columns epoch, stage, loss, val_loss, accuracy, val_accuracy and val_balanced_accuracy. The training loss
    is the one being optimised, so its scale can differ from the validation loss, the cross-entropy in nats.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
    curves = (
        (left, "loss", "train", "train, as optimised", "-"),
        (left, "val_loss", "validation", "validation, cross-entropy (nats)", "-"),
        (right, "accuracy", "train", "train", "-"),
        (right, "val_accuracy", "validation", "validation", "-"),
        (right, "val_balanced_accuracy", "validation", "validation, balanced", "--"),
    )
    for axes, column, part, name, line in curves:
        axes.plot(history["epoch"], history[column], line, color=PART_COLOURS[part], label=name)
    left.set(xlabel="epoch", ylabel="loss", title="Loss")
    right.set(xlabel="epoch", ylabel="accuracy", ylim=(0, 1), title="Accuracy, plain and balanced")
    for axes in (left, right):
        _mark_epochs(axes, history, best_epoch)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3)  # below, where it covers no line
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))  # epochs are whole numbers
    figure.suptitle(title, x=0.02, ha="left", fontsize=11)
    return figure


def _mark_epochs(axes: Axes, history: pd.DataFrame, best_epoch: int) -> None:
    axes.axvline(best_epoch, color=NEUTRAL, linewidth=1, linestyle=":", label=f"kept: epoch {best_epoch}")
    for number, first in enumerate(history["epoch"][history["stage"].diff() > 0]):
        axes.axvline(first - 0.5, color=NEUTRAL, linewidth=0.8, label="" if number else "a stage begins")


def claims_by_epoch(histories: Mapping[str, pd.DataFrame], goal: float, title: str) -> Figure:
    """Plain and balanced accuracy by epoch on the protocol's own test part and on unseen lesions, a panel per protocol.

    histories: by protocol; columns epoch, and accuracy and balanced_accuracy with the prefixes claimed_ and test_;
    goal: an accuracy that was promised, drawn as a dotted line.
    """
    rows, across = -(-len(histories) // 3), min(3, len(histories))  # more than three in a row are too small to read
    figure, grid = plt.subplots(rows, across, figsize=(10, 2.9 * rows), sharey=True, squeeze=False)
    panels, spare = grid.ravel()[: len(histories)], grid.ravel()[len(histories) :]
    for axes in spare:
        axes.remove()
    looks = (
        ("claimed_accuracy", MODEL_COLOURS[1], "-", "accuracy claimed"),
        ("claimed_balanced_accuracy", MODEL_COLOURS[1], "--", "balanced accuracy claimed"),
        ("test_accuracy", MODEL_COLOURS[0], "-", "accuracy on unseen lesions"),
        ("test_balanced_accuracy", MODEL_COLOURS[0], "--", "balanced accuracy on unseen lesions"),
    )
    for axes, (name, history) in zip(panels, histories.items(), strict=True):
        for column, colour, line, label in looks:
            axes.plot(history["epoch"], history[column], line, color=colour, label=label, marker=".")
        axes.axhline(goal, color=NEUTRAL, linewidth=1, linestyle=":", label=f"{100 * goal:.0f} %, as promised")
        axes.set(title=fill(name, 36), xlabel="epoch", ylim=(0, 1.02))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    grid[0, 0].set_ylabel("accuracy, plain or balanced")
    figure.suptitle(title, x=0.02, ha="left", fontsize=11)
    legend_below(figure, panels)
    return figure


def training_size(points: pd.DataFrame, chance: float, title: str) -> Figure:
    """Balanced accuracy by number of training images (logarithmic), one line with 95 % intervals per way of training.

    points: columns images, way, value, low, high; chance: the balanced accuracy of guessing.
    """
    figure, axes = plt.subplots(figsize=(6, 3.8))
    styles = model_styles(list(points["way"].unique()))
    for number, (way, table) in enumerate(points.sort_values("images", kind="stable").groupby("way", sort=False)):
        nudged = table["images"] * 1.03 ** (number - 1)  # so that intervals do not overlap
        axes.errorbar(nudged, table["value"], error_bars(table), capsize=3, label=way, **styles[way])
    axes.axhline(chance, color=NEUTRAL, linestyle=":", linewidth=1, label="chance")
    axes.set(xscale="log", xlabel="training images", title=title)
    axes.set_ylabel("balanced accuracy on test, with 95 % interval")
    sizes = sorted(points["images"].unique())
    axes.set_xticks(sizes, [f"{count:,}" for count in sizes])
    axes.minorticks_off()
    legend_below(figure, [axes])
    return figure
