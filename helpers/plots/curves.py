"""Curves: ROC, calibration, decisions, abstention."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from helpers.plots.data import NEUTRAL
from helpers.plots.style import COLOURS, model_styles
from helpers.sentences import with_interval


def risk_coverage(panels: Mapping[str, Mapping[str, pd.DataFrame]]) -> Figure:
    """The share of wrong answers among the surest images, with 95 % intervals, one panel a set of images.

    panels: by title and by score, what `rejection.risk_coverage` gives.
    """
    labels = "coverage (share of images answered)", "risk (share of answers that are wrong)"
    return _bands(panels, "coverage", "risk", *labels)


def exchange(panels: Mapping[str, Mapping[str, pd.DataFrame]]) -> Figure:
    """How a probability falls or climbs while an image is exchanged, with 95 % intervals, one panel a way.

    panels: by title and by map, with columns share (of the pixels), value, low, high; see `saliency.exchange`.
    """
    return _bands(panels, "share", "value", "share of the pixels, the map's highest first", "probability of the answer")


def randomisation(panels: Mapping[str, Mapping[str, pd.DataFrame]]) -> Figure:
    """What is left of maps when ever more layers are as before training, with 95 % intervals.

    panels: by title and by network, with columns share (of the layers, from the last), value, low, high.
    """
    labels = "share of the layers with new weights", "rank correlation with the map as trained"
    figure = _bands(panels, "share", "value", *labels)
    for axes in figure.axes:
        axes.axhline(0, color=NEUTRAL, linewidth=1, linestyle=":")
        axes.set_ylim(None, 1.02)
    return figure


def _bands(panels: Mapping[str, Mapping[str, pd.DataFrame]], x: str, y: str, across: str, up: str) -> Figure:
    """Curves with bands for their intervals, columns low and high: a panel a title, a line a name."""
    figure, row = plt.subplots(1, len(panels), figsize=(4.6 * len(panels), 3.6), sharey=True, squeeze=False)
    for axes, (title, curves) in zip(row[0], panels.items(), strict=True):
        for (name, curve), look in zip(curves.items(), model_styles(list(curves)).values(), strict=True):
            axes.plot(curve[x], curve[y], color=look["color"], linestyle=look["linestyle"], label=name)
            axes.fill_between(curve[x], curve["low"], curve["high"], color=look["color"], alpha=0.15, linewidth=0)
        axes.set(xlabel=across, title=title, xlim=(0, 1))
        axes.legend(fontsize=8)
    lowest = min(curve["low"].min() for curves in panels.values() for curve in curves.values())
    row[0][0].set(ylabel=up, ylim=(min(0, lowest), None))
    return figure


def roc_and_precision_recall(curves: dict[str, dict], images: int) -> Figure:
    """One-against-rest ROC and precision-recall curves, as `metrics.curves` gives them, with areas in the legend."""
    malignant = {"color": "black", "linestyle": "--"}
    styles = {name: malignant if name == "malignant" else {"color": COLOURS[name.upper()]} for name in curves}
    return _curves(curves, styles, f"ROC on {images:,} test images")


def malignancy_curves(
    curves: dict[str, dict], images: int, malignant: int, looks: Mapping[str, dict] | None = None
) -> Figure:
    """ROC and precision-recall curves of several models for malignant against benign, with areas in the legend.

    curves: by model, as `metrics.curves` gives them under `malignant`; malignant: how many of the images are so; looks:
    by model, as `model_styles` gives them, where other figures show the same models.
    """
    looks = looks or model_styles(list(curves))
    styles = {name: {key: looks[name][key] for key in ("color", "linestyle")} for name in curves}
    figure = _curves(curves, styles, f"ROC on {images:,} test images, {malignant:,} malignant")
    figure.axes[1].axhline(malignant / images, color=NEUTRAL, linewidth=1, linestyle=":")
    return figure


def _curves(curves: dict[str, dict], styles: dict[str, dict], title: str) -> Figure:
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4.6))
    for name, curve in curves.items():
        areas = f"{name}: {_area(curve, 'auc')}; {_area(curve, 'average_precision')}"
        left.plot(curve["false_positive_rate"], curve["true_positive_rate"], **styles[name])
        # Between two thresholds there is no precision in between: the curve is a staircase (Davis and Goadrich 2006).
        right.plot(curve["recall"], curve["precision"], label=areas, drawstyle="steps-post", **styles[name])
    left.plot([0, 1], [0, 1], color=NEUTRAL, linewidth=1, linestyle=":")
    left.set(xlabel="1 - specificity", ylabel="sensitivity", title=title)
    right.set(
        xlabel="recall (sensitivity)", ylabel="precision", title="Precision and recall on the same", ylim=(0, 1.02)
    )
    title = "AUC; average precision [95 % intervals]"
    right.legend(title=title, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1), alignment="left")
    return figure


def decision_curves(
    panels: Mapping[str, Mapping[str, pd.DataFrame]], images: int, looks: Mapping[str, dict] | None = None
) -> Figure:
    """Net benefit against threshold, a panel each: models by name, as `metrics.decision_curve` gives them.

    Shaded are the 95 % intervals; dotted is a biopsy for every image, and 0 is a biopsy for none. looks: as of
    `malignancy_curves`.
    """
    figure, row = plt.subplots(1, len(panels), figsize=(5.2 * len(panels), 3.8), squeeze=False, sharey=True)
    for axes, (title, models) in zip(row[0], panels.items(), strict=True):
        own = looks or model_styles(list(models))
        for name, curve in models.items():
            look = own[name]
            axes.plot(curve.index, curve["value"], color=look["color"], linestyle=look["linestyle"], label=name)
            axes.fill_between(curve.index, curve["low"], curve["high"], color=look["color"], alpha=0.15, linewidth=0)
        axes.plot(curve.index, curve["all"], color=NEUTRAL, linestyle=":", label="biopsy all")
        axes.axhline(0, color=NEUTRAL, linewidth=1, label="biopsy none")
        highest = max(model["high"].max() for model in models.values())
        axes.set(title=f"{title}, {images:,} test images", xlabel="threshold probability of malignancy")
        axes.set_ylim(-0.15 * highest, 1.1 * highest)
        axes.legend(fontsize=8, loc="upper right")
    row[0, 0].set_ylabel("net benefit (true positives per image)")
    return figure


def reliability(table: pd.DataFrame, ece: dict) -> Figure:
    """Accuracy against stated probability, bin by bin with 95 % intervals, and below it how many images a bin has.

    table: what `metrics.reliability` gives; ece: expected calibration error with its interval.
    """
    return reliabilities({"Reliability on test": (table, ece)})


def reliabilities(panels: Mapping[str, tuple[pd.DataFrame, dict]]) -> Figure:
    """What `reliability` draws, side by side: the table and the calibration error of each panel, by title."""
    size, heights = (4.6 * len(panels), 5), {"height_ratios": [3, 1]}
    figure, rows = plt.subplots(2, len(panels), figsize=size, sharex=True, gridspec_kw=heights, squeeze=False)
    for (title, (table, ece)), top, bottom in zip(panels.items(), *rows, strict=True):
        filled = table[table["images"] > 0]
        errors = np.abs(filled[["low", "high"]].to_numpy().T - filled["accuracy"].to_numpy())
        options = {"fmt": "o", "color": "#0072B2", "capsize": 3, "label": "model"}
        top.plot([0, 1], [0, 1], color=NEUTRAL, linewidth=1, linestyle=":", label="perfect")
        top.errorbar(filled["confidence"], filled["accuracy"], yerr=errors, **options)
        top.set(ylabel="share that was right", ylim=(0, 1.02), title=f"{title}\nECE {with_interval(ece)}")
        top.legend(fontsize=8)
        bottom.bar(filled["confidence"], filled["images"], width=0.05, color=NEUTRAL)
        bottom.set(xlabel="probability of the answer given", ylabel="images", xlim=(0, 1))
    return figure


def _area(curve: dict, key: str) -> str:
    low, high = curve[f"{key}_interval"]
    return f"{curve[key]:.2f} [{low:.2f}, {high:.2f}]"
