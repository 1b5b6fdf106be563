"""Figures of cost: a score against cost, and images per second."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from sklearn.isotonic import isotonic_regression

from helpers.plots.style import error_bars, model_styles, panel_row


def cost(
    table: pd.DataFrame, costs: Mapping[str, str], label: str, *, title: str, styles: Mapping[str, dict] | None = None
) -> Figure:
    """A score with its 95 % interval against the cost of the model, one panel per kind of cost, on logarithmic axes.

    table: one row per model, with columns value, low, high and one for each of `costs`; costs: axis label by column;
    styles: by model, from `model_styles`, so that models look the same in several figures. The model names are at the
    right, where they cannot overlap.
    """
    figure, row = panel_row(len(costs), 3.4 + 2.6 / len(costs), 4)
    styles = styles or model_styles(list(table.index))
    for axes, (column, unit) in zip(row, costs.items(), strict=True):
        for name in table.index:
            model, style = table.loc[[name]], styles[name] | {"linestyle": "none"}
            axes.errorbar(model[column], model["value"], yerr=error_bars(model), capsize=3, **style)
        ends = np.log10([0.8 * table[column].min(), 1.25 * table[column].max()])
        axes.set(xscale="log", xlabel=unit, xlim=(10 ** np.floor(ends[0]), 10 ** np.ceil(ends[1])))
        axes.xaxis.set_major_formatter("{x:,.9g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    row[0].set(ylabel=label, title=title)
    figure.get_layout_engine().set(wspace=0.06)
    _write_names(row[-1], table[column], table["value"], styles=styles)
    return figure


def _write_names(axes: Axes, across: pd.Series, up: pd.Series, *, styles: Mapping[str, dict]) -> None:
    """Write the names of points to the right of the axes, in order of height, at least one line apart."""
    up = up.sort_values()
    low, high = axes.get_ylim()
    gap = 0.065 * (high - low) * np.arange(len(up))
    for name, place in zip(up.index, isotonic_regression(up.to_numpy() - gap) + gap, strict=True):
        line = {"arrowstyle": "-", "color": styles[name]["color"], "linewidth": 0.5, "shrinkB": 4, "relpos": (0, 0.5)}
        text = {"textcoords": "axes fraction", "va": "center", "fontsize": 8}
        axes.annotate(name, (across[name], up[name]), (1.06, (place - low) / (high - low)), arrowprops=line, **text)


def throughput(table: pd.DataFrame) -> Figure:
    """Images per second of each network and way of running it, one panel each for training and prediction.

    The axes are logarithmic. table: one row per network, way and `what`, with median, low, high, and columns about the
    run; see benchmarks/throughput.py.
    """
    whats, names, ways = (list(table[column].unique()) for column in ("what", "network", "way"))
    figure, row = panel_row(len(whats), 5, 3.6)
    styles = model_styles(ways)
    for axes, what in zip(row, whats, strict=True):
        for place, way in enumerate(ways):
            rows = table[(table["what"] == what) & (table["way"] == way)].rename(columns={"median": "value"})
            down = [names.index(name) + 0.12 * (place - (len(ways) - 1) / 2) for name in rows["network"]]
            style = styles[way] | {"linestyle": "none"}
            axes.errorbar(rows["value"], down, xerr=error_bars(rows), label=way, capsize=2, **style)
        axes.set(xscale="log", title=what, xlabel="images per second: median and range")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    row[0].set_yticks(range(len(names)), names)
    row[0].invert_yaxis()
    row[-1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    figure.suptitle(_conditions(table.iloc[0]))
    return figure


def _conditions(first: pd.Series) -> str:
    size = f"{first['images']:,} images of {first['side']} px in batches of {first['batch']}, {first['rounds']} rounds"
    return f"{size}; {first['backend']} on {first['device']}"
