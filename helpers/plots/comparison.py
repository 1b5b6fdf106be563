"""Pictures that compare models: forests, matrices, differences."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from helpers.plots.data import NEUTRAL
from helpers.plots.style import MODEL_COLOURS


def bars(values: pd.Series, label: str, title: str) -> Figure:
    """One horizontal bar for each value, the first on top, with its number."""
    figure, axes = plt.subplots(figsize=(6, 0.34 * len(values) + 1.1))
    drawn = axes.barh(np.arange(len(values)), values, color=MODEL_COLOURS[0])
    axes.bar_label(drawn, fmt="%.2f", padding=3, fontsize=9)
    axes.set(yticks=np.arange(len(values)), yticklabels=values.index, xlabel=label, title=title)
    axes.invert_yaxis()
    return figure


def confusion_matrices(counts: np.ndarray, codes: Sequence[str], title: str) -> Figure:
    """Confusion matrix int [k, k], rows the truth: as counts, and in percent of each row."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 0.45 * len(codes) + 1.4))
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    options = {"annot": True, "xticklabels": codes, "cmap": "Blues", "square": False}
    sns.heatmap(counts, fmt="d", yticklabels=codes, ax=left, cbar=False, **options)
    rows = [f"{code} (n = {n})" for code, n in zip(codes, counts.sum(axis=1), strict=True)]
    sns.heatmap(shares, fmt=".0f", yticklabels=rows, ax=right, vmin=0, vmax=100, cbar_kws={"label": "%"}, **options)
    left.set(title=f"{title}: images", xlabel="predicted", ylabel="true")
    right.set(title="in % of the true class", xlabel="predicted", ylabel="")
    for axes in (left, right):
        axes.tick_params(axis="y", rotation=0)
    return figure


def forest(table: pd.DataFrame, label: str, title: str, floor: tuple[float, str] | None = None) -> Figure:
    """Figures with their 95 % intervals, one line a row of `table` (index: name; columns value, low, high).

    floor: a value to hold them against, drawn as a dotted line, and what it is called. The figure is the wider, the
    longer the names are.
    """
    width = max(7, 3.6 + 0.1 * max(len(str(name)) for name in table.index))
    figure, axes = plt.subplots(figsize=(width, 0.38 * len(table) + 1.2))
    places = np.arange(len(table))
    errors = np.stack([table["value"] - table["low"], table["high"] - table["value"]])
    axes.errorbar(table["value"], places, xerr=errors, fmt="o", color="#0072B2", capsize=3)
    for place, (value, low, high) in enumerate(table[["value", "low", "high"]].to_numpy(float)):
        if np.isfinite(value):
            axes.annotate(
                f"{value:.3f} [{low:.3f}, {high:.3f}]",
                (1.02, place),
                xycoords=("axes fraction", "data"),
                va="center",
            )
    if floor is not None:
        axes.axvline(floor[0], color=NEUTRAL, linewidth=1, linestyle=":")
        left = floor[0] > np.mean(axes.get_xlim())  # write to the side that has more room
        place = {"xytext": (-3 if left else 3, 3), "textcoords": "offset points", "ha": "right" if left else "left"}
        axes.annotate(floor[1], (floor[0], 0), fontsize=8, color=NEUTRAL, xycoords=("data", "axes fraction"), **place)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set(yticks=places, yticklabels=table.index, xlabel=label, title=title, ylim=(len(table) - 0.5, -0.5))
    return figure


def recall_heatmap(recalls: pd.DataFrame) -> Figure:
    """Recall of each class (column) by each model (row), in percent."""
    figure, axes = plt.subplots(figsize=(2.5 + 0.9 * recalls.shape[1], 1.4 + 0.4 * len(recalls)))
    sns.heatmap(
        100 * recalls, annot=True, fmt=".0f", cmap="Blues", vmin=0, vmax=100, ax=axes, cbar_kws={"label": "recall (%)"}
    )
    axes.set(title="Recall on test by class", xlabel="", ylabel="")
    axes.tick_params(axis="y", rotation=0)
    return figure


def agreement(kappa: pd.DataFrame, images: int) -> Figure:
    """Cohen's kappa of each pair of models, as `metrics.agreement` gives it for `images`, below the diagonal."""
    title = f"Agreement of the answers on {images:,} test images"
    return _pairs(kappa, ".2f", title, "Cohen's kappa", cmap="Blues", vmin=0, vmax=1)


def differences(table: pd.DataFrame, label: str, title: str) -> Figure:
    """What `metrics.pairwise` gives, in points of a hundred: the model of the column minus that of the row.

    table: with a column `mark`, what is written behind each number; see `metrics.marks`. The colours reach from the
    smallest to the largest difference, and zero is pale.
    """
    names = list(dict.fromkeys([*table["first"], *table["second"]]))
    points, words = pd.DataFrame(np.nan, names, names), pd.DataFrame("", names, names)
    for pair in table.to_dict("records"):
        value = 100 * pair["value"]
        points.loc[pair["second"], pair["first"]] = value
        words.loc[pair["second"], pair["first"]] = f"{value:+.1f}{pair['mark']}"
    reach = {"vmin": min(-1, np.nanmin(points)), "vmax": max(1, np.nanmax(points)), "center": 0}
    return _pairs(points, "", title, label, annot=words, cmap="PuOr", **reach)


def _pairs(
    table: pd.DataFrame, fmt: str, title: str, label: str, annot: bool | pd.DataFrame = True, **colours
) -> Figure:
    """Lower triangle of a square table, a cell a pair."""
    size = len(table)
    figure, axes = plt.subplots(figsize=(3.2 + 0.62 * size, 2.4 + 0.36 * size))
    above = np.triu(np.ones((size, size), bool))
    options = {"mask": above, "linewidths": 1, "annot_kws": {"fontsize": 8}, "cbar_kws": {"label": label}}
    sns.heatmap(table, annot=annot, fmt=fmt, ax=axes, **options, **colours)
    axes.set(title=title, xlim=(0, size - 1), ylim=(size, 1))
    axes.tick_params(axis="y", rotation=0)
    plt.setp(axes.get_xticklabels(), rotation=30, ha="right", rotation_mode="anchor")
    return figure


def before_and_after(before: pd.DataFrame, after: pd.DataFrame, names: Sequence[str], label: str, title: str) -> Figure:
    """Two figures a row with their 95 % intervals, one above the other (index: name; columns value, low, high).

    names: what `before` and `after` are called in the legend.
    """
    figure, axes = plt.subplots(figsize=(7, 0.45 * len(before) + 1.7))
    places = np.arange(len(before))
    for table, shift, name, mark, colour in zip(
        (before, after), (-0.14, 0.14), names, ("o", "s"), (MODEL_COLOURS[1], MODEL_COLOURS[0]), strict=True
    ):
        bars = np.stack([table["value"] - table["low"], table["high"] - table["value"]])
        axes.errorbar(table["value"], places + shift, xerr=bars, fmt=mark, color=colour, capsize=3, label=name)
    axes.set(yticks=places, yticklabels=before.index, xlabel=label, title=title, ylim=(len(before) - 0.5, -0.5))
    figure.legend(fontsize=8, loc="outside lower center", ncols=2)  # beside the axes it would leave them no room
    return figure
