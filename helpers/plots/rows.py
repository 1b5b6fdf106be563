"""Values of several series in the same rows, one panel per score."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from helpers.plots.style import NEUTRAL, error_bars, legend_below, model_styles, rows_downwards

SPREAD = 0.6  # of a row's height, shared by its series


def dot_rows(panels: Mapping[str, pd.DataFrame], title: str, *, rows: Mapping[str, str]) -> Figure:
    """Values with 95 % intervals: rows are sets of images, colours are series, such as models; one panel per score.

    panels: by axis label, with columns row, series, value, low and high; rows: label of each row, in the order of the
    figure, of which a line sets the first apart. A value that is missing leaves a gap.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(9.5, 1.5 + 0.62 * len(rows)), sharey=True, squeeze=False)
    names = list(dict.fromkeys(name for table in panels.values() for name in table["series"]))
    for place, (label, table) in zip(axes[0], panels.items(), strict=True):
        _draw_rows(place, table, list(rows), names=names)
        place.xaxis.set_major_locator(MaxNLocator(4))
        place.set_xlabel(label)
        place.axhline(0.5, color=NEUTRAL, linewidth=1, linestyle=":")
    rows_downwards(axes[0, 0], list(rows.values()))
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    legend_below(figure, axes[0])
    return figure


def _draw_rows(axes: plt.Axes, table: pd.DataFrame, rows: Sequence[str], *, names: Sequence[str]) -> None:
    styles = model_styles(names)
    shifts = (np.arange(len(names)) - (len(names) - 1) / 2) * SPREAD / len(names)
    for name, shift in zip(names, shifts, strict=True):
        series = table[table["series"] == name].set_index("row").reindex(rows)
        options = {"fmt": styles[name]["marker"], "color": styles[name]["color"], "capsize": 2, "markersize": 5}
        axes.errorbar(series["value"], np.arange(len(rows)) + shift, xerr=error_bars(series), label=name, **options)
