"""Figures of cross-validation and of the hyperparameter search."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from helpers.plots.style import MODEL_COLOURS, NEUTRAL, error_bars, legend_below, rows_downwards


def folds(points: pd.DataFrame, whole: pd.DataFrame, label: str, *, title: str) -> Figure:
    """A score of each fold, and of all folds together with its 95 % interval, one row per model.

    points: columns kind and value, one row per fold; whole: indexed by kind, columns value, low, high.
    """
    figure, axes = plt.subplots(figsize=(7, 0.6 * len(whole) + 1.4))
    places = rows_downwards(axes, whole.index)
    options = {"fmt": "o", "color": MODEL_COLOURS[0], "capsize": 3, "label": "all folds together, with 95 % interval"}
    axes.errorbar(whole["value"], places + 0.15, xerr=error_bars(whole), **options)
    heights = places[whole.index.get_indexer(points["kind"])] - 0.15
    axes.scatter(points["value"], heights, marker="d", s=22, color=MODEL_COLOURS[1], label="one fold")
    axes.set(xlabel=label, title=title)
    legend_below(figure, [axes])
    return figure


def search_history(trials: pd.DataFrame) -> Figure:
    """The score of each search trial, and the best score so far. trials: columns trial, score, state, in order."""
    figure, axes = plt.subplots(figsize=(6.5, 3.6))
    states = (("complete", "o", MODEL_COLOURS[0], "trained to the end"), ("pruned", "x", NEUTRAL, "stopped early"))
    for state, marker, colour, name in states:
        rows = trials[trials["state"] == state]
        axes.scatter(rows["trial"], rows["score"], marker=marker, color=colour, s=28, label=f"{name} ({len(rows)})")
    axes.step(trials["trial"], trials["score"].cummax(), where="post", color=MODEL_COLOURS[1], label="best so far")
    axes.set(xlabel="trial (0 uses the study file's settings)", ylabel="balanced accuracy on validation")
    axes.set_title(f"The best of {len(trials)} trials reaches {trials['score'].max():.3f} on validation")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_below(figure, [axes])
    return figure
