"""Figures that compare models: forest plots, matrices and differences."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from helpers.plots.style import MODEL_COLOURS, NEUTRAL, error_bars, legend_below, rows_downwards


def confusion_matrices(counts: np.ndarray, codes: Sequence[str], title: str) -> Figure:
    """Confusion matrix int [k, k] (rows are true classes), as counts and in percent of each row."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 0.45 * len(codes) + 1.4))
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = [f"{code} (n = {n})" for code, n in zip(codes, counts.sum(axis=1), strict=True)]
    options = {"annot": True, "xticklabels": codes, "cmap": "Blues"}
    sns.heatmap(counts, fmt="d", yticklabels=codes, ax=left, cbar=False, **options)
    sns.heatmap(shares, fmt=".0f", yticklabels=rows, ax=right, vmin=0, vmax=100, cbar_kws={"label": "%"}, **options)
    left.set(title=title, xlabel="predicted (number of images)", ylabel="true")
    right.set(title="in % of the true class", xlabel="predicted", ylabel="")
    for axes in (left, right):
        axes.tick_params(axis="y", rotation=0)
    return figure


def forest(table: pd.DataFrame, label: str, title: str, *, reference: tuple[float, str] | None = None) -> Figure:
    """Values with their 95 % intervals, one line per row of `table` (index: name; columns value, low, high).

    reference: a value to compare with, drawn as a dotted line, and its name. Long row names make the figure wider.
    """
    longest = max(len(str(name)) for name in table.index)
    width = max(7, 3.6 + 0.1 * longest)
    figure, axes = plt.subplots(figsize=(width, 0.38 * len(table) + 1.2))
    places = rows_downwards(axes, table.index)
    axes.errorbar(table["value"], places, xerr=error_bars(table), fmt="o", color=MODEL_COLOURS[0], capsize=3)
    for place, (value, low, high) in enumerate(table[["value", "low", "high"]].to_numpy(float)):
        if np.isfinite(value):
            text = f"{value:.3f} [{low:.3f}, {high:.3f}]"
            axes.annotate(text, (1.02, place), xycoords=("axes fraction", "data"), va="center")
    if reference is not None:
        _reference_line(axes, *reference)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    title = fill(title, int(13 * (width - 0.08 * longest)))  # a longer line would squeeze the axes
    axes.set(xlabel=label, title=title)
    return figure


def forest_panels(
    panels: Mapping[str, pd.DataFrame], label: str, title: str, *, reference: tuple[float, str]
) -> Figure:
    """`forest` of several groups side by side, with the same rows and the same axis, without the numbers.

    panels: by title, tables as in `forest`; reference: a value to compare with, and its name.
    """
    names = next(iter(panels.values())).index
    width = 1.2 + 0.08 * max(len(str(name)) for name in names)
    options = {"figsize": (width + 2.7 * len(panels), 0.34 * len(names) + 1.6), "sharey": True, "sharex": True}
    figure, row = plt.subplots(1, len(panels), squeeze=False, **options)
    for axes, (name, table) in zip(row[0], panels.items(), strict=True):
        places = rows_downwards(axes, names)
        axes.errorbar(table["value"], places, xerr=error_bars(table), fmt="o", color=MODEL_COLOURS[0], capsize=3)
        axes.set_title(name)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        _reference_line(axes, *reference)
    figure.supxlabel(label, fontsize=10)
    figure.suptitle(title, x=0.02, ha="left", fontsize=11)
    return figure


def _reference_line(axes: Axes, value: float, name: str) -> None:
    """Draw a dotted vertical line, with its name on the side that has more room."""
    axes.axvline(value, color=NEUTRAL, linewidth=1, linestyle=":")
    at_the_left = value > np.mean(axes.get_xlim())
    shift, side = (-3, "right") if at_the_left else (3, "left")
    options = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "fontsize": 8, "color": NEUTRAL}
    axes.annotate(name, (value, 0), (shift, 3), ha=side, **options)


def grouped_forest(tables: Mapping[str, pd.DataFrame], label: str, title: str) -> Figure:
    """Two values per row with their 95 % intervals, one above the other.

    tables: two tables by legend entry, with the same index and the columns value, low, high.
    """
    names = next(iter(tables.values())).index
    figure, axes = plt.subplots(figsize=(7, 0.45 * len(names) + 1.7))
    places = rows_downwards(axes, names)
    looks = ((-0.14, "o", MODEL_COLOURS[1]), (0.14, "s", MODEL_COLOURS[0]))
    for (name, table), (shift, marker, colour) in zip(tables.items(), looks, strict=True):
        options = {"fmt": marker, "color": colour, "capsize": 3, "label": name}
        axes.errorbar(table["value"], places + shift, xerr=error_bars(table), **options)
    axes.set(xlabel=label, title=title)
    legend_below(figure, [axes])
    return figure


def recall_heatmap(recalls: pd.DataFrame, title: str) -> Figure:
    """Recall in percent: one row per model, one column per class."""
    figure, axes = plt.subplots(figsize=(2.5 + 0.9 * recalls.shape[1], 1.4 + 0.4 * len(recalls)))
    colours = {"cmap": "Blues", "vmin": 0, "vmax": 100, "cbar_kws": {"label": "recall (%)"}}
    sns.heatmap(100 * recalls, annot=True, fmt=".0f", ax=axes, **colours)
    axes.set(title=title, xlabel="", ylabel="")
    axes.tick_params(axis="y", rotation=0)
    return figure
