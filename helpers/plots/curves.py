"""Curves: ROC, calibration, net benefit, abstention, robustness, and tests of explanation maps."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from helpers.plots.style import NEUTRAL, draw_band, error_bars, legend_below, model_styles, panel_row
from helpers.sentences import with_interval

Panels = Mapping[str, Mapping[str, pd.DataFrame]]  # tables by panel title and line name


def risk_coverage(panels: Panels) -> Figure:
    """Risk by coverage: the proportion of wrong predictions among the most confident images, with 95 % intervals.

    panels: by set of images and confidence score; columns coverage, risk, low, high.
    """
    labels = "coverage (proportion of images classified)", "risk (proportion misclassified)"
    return _bands(panels, ("coverage", "risk"), labels)


def deletion_insertion(panels: Panels) -> Figure:
    """How the predicted probability changes as pixels are deleted or inserted, with 95 % intervals.

    panels: by test and map; columns share (of the pixels), value, low, high.
    """
    labels = "proportion of pixels, highest values first", "probability of the predicted class"
    return _bands(panels, ("share", "value"), labels)


def _bands(panels: Panels, columns: tuple[str, str], labels: tuple[str, str]) -> Figure:
    """Lines with bands from low to high. columns, labels: names of the x and y columns, and of the axes."""
    figure, row = panel_row(len(panels), 4.6, 3.6)
    for axes, (title, curves) in zip(row, panels.items(), strict=True):
        styles = model_styles(list(curves))
        for name, curve in curves.items():
            table = curve.rename(columns={columns[1]: "value"})
            draw_band(axes, table[columns[0]], table, style=styles[name], label=name)
        axes.set(xlabel=labels[0], title=title, xlim=(0, 1))
    lowest = min(curve["low"].min() for curves in panels.values() for curve in curves.values())
    row[0].set(ylabel=labels[1], ylim=(min(0, lowest), None))
    legend_below(figure, row)
    return figure


def roc_panels(
    curves: Mapping[str, dict], title: str, *, colours: Mapping[str, str], reference: str = "", columns: int = 4
) -> Figure:
    """One small ROC curve per class or model, with its area and the average precision above it.

    curves: as in `evaluation.curves`; colours: by name; reference: the name of a curve that every panel also shows.
    """
    rows = -(-len(curves) // columns)
    size = {"figsize": (2.7 * columns, 2.75 * rows + 0.4), "sharex": True, "sharey": True, "squeeze": False}
    figure, panels = plt.subplots(rows, columns, **size)
    for axes, (name, curve) in zip(panels.flat, curves.items(), strict=False):
        for grey in (curves[one] for one in [reference] if one):
            axes.plot(grey["false_positive_rate"], grey["true_positive_rate"], color="#BBBBBB", linewidth=3)
        axes.plot([0, 1], [0, 1], color=NEUTRAL, linewidth=1, linestyle=":")
        axes.plot(curve["false_positive_rate"], curve["true_positive_rate"], color=colours[name])
        axes.set_title(f"{name}\nAUC {_area(curve, 'auc')}\nAP {_area(curve, 'average_precision')}", fontsize=8)
    for axes in list(panels.flat)[len(curves) :]:
        axes.set_visible(False)
    figure.supxlabel("1 - specificity", fontsize=10)
    figure.supylabel("sensitivity", fontsize=10)
    figure.suptitle(title, x=0.02, ha="left", fontsize=11)
    return figure


def _area(curve: dict, key: str) -> str:
    low, high = curve[f"{key}_interval"]
    return f"{curve[key]:.2f} [{low:.2f}, {high:.2f}]"


def decision_curves(panels: Panels, images: int) -> Figure:
    """Net benefit by threshold with 95 % intervals, compared with a biopsy of every lesion and of none.

    panels: by title and model; index: threshold; columns value, low, high and all.
    """
    figure, row = panel_row(len(panels), 5.2, 3.8)
    for axes, (title, models) in zip(row, panels.items(), strict=True):
        for name, curve in models.items():
            draw_band(axes, curve.index, curve, style=model_styles(list(models))[name], label=name)
        axes.plot(curve.index, curve["all"], color=NEUTRAL, linestyle=":", label="biopsy all")
        axes.axhline(0, color=NEUTRAL, linewidth=1, label="biopsy none")
        highest = max(model["high"].max() for model in models.values())
        axes.set(title=f"{title}, {images:,} test images", xlabel="threshold probability of malignancy")
        axes.set_ylim(-0.15 * highest, 1.1 * highest)
    row[0].set_ylabel("net benefit (true positives per image)")
    legend_below(figure, row)
    return figure


def reliability(panels: Mapping[str, tuple[pd.DataFrame, dict]]) -> Figure:
    """Reliability diagram: accuracy by predicted probability with 95 % intervals, and the images in each bin below.

    panels: by title, a table (columns confidence, accuracy, low, high, images) and the ECE with its interval.
    """
    size, heights = (4.6 * len(panels), 5), {"height_ratios": [3, 1]}
    figure, rows = plt.subplots(2, len(panels), figsize=size, sharex=True, gridspec_kw=heights, squeeze=False)
    for (title, (table, ece)), top, bottom in zip(panels.items(), *rows, strict=True):
        filled = table[table["images"] > 0].rename(columns={"accuracy": "value"})
        options = {"fmt": "o", "color": "#0072B2", "capsize": 3, "label": "model"}
        top.plot([0, 1], [0, 1], color=NEUTRAL, linewidth=1, linestyle=":", label="perfect")
        top.errorbar(filled["confidence"], filled["value"], yerr=error_bars(filled), **options)
        top.set(ylabel="accuracy", ylim=(0, 1.02), title=f"{title}\nECE {with_interval(ece)}")
        bottom.bar(filled["confidence"], filled["images"], width=0.05, color=NEUTRAL)
        bottom.set(xlabel="probability of the predicted class", ylabel="images", xlim=(0, 1))
        bottom.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    legend_below(figure, rows[0])
    return figure


def robustness(table: pd.DataFrame, label: str, *, reference: tuple[float, str]) -> Figure:
    """A score of several models by strength of corruption, one panel per corruption, with bands for intervals.

    table: columns corruption (with its unit), strength, model, value, low, high; label: of the score; reference: a
    value to compare with, and its name.
    """
    corruptions = list(table.groupby("corruption", sort=False))
    styles = model_styles(list(table["model"].unique()))
    figure, row = panel_row(len(corruptions), 3.3, 3.4)
    for axes, (name, rows) in zip(row, corruptions, strict=True):
        for model, curve in rows.groupby("model", sort=False):
            draw_band(axes, curve["strength"], curve, style=styles[model], marker="o", markersize=4, label=model)
        axes.axhline(reference[0], color=NEUTRAL, linewidth=1, linestyle=":", label=reference[1])
        axes.set(title=name.split(" (")[0], xlabel=name, ylim=(0, 1))
    row[0].set_ylabel(label)
    legend_below(figure, row)
    return figure
