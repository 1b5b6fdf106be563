"""Colours, markers and fonts of every figure, and the elements that several figures share."""

from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's colour-blind-safe palette. A diagnosis has the same colour in every dataset.
COLOURS = {
    "AKIEC": "#E69F00",
    "AK": "#E69F00",
    "BCC": "#56B4E9",
    "BKL": "#009E73",
    "DF": "#B8AC00",  # their yellow, darkened to be visible on white
    "MEL": "#D55E00",
    "NV": "#0072B2",
    "SCC": "#000000",
    "VASC": "#CC79A7",
    "BENIGN": "#0072B2",
    "MALIGNANT": "#D55E00",
}
# One style per model: seven colours of the palette, then the same colours with other markers and lines.
MODEL_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000", "#56B4E9")
MARKERS, LINES = ("o", "s", "^", "D", "v", "P", "X"), ("-", "--", ":")
NEUTRAL = "#555555"  # for everything that is not data
PART_COLOURS = {"train": "#0072B2", "validation": "#D55E00", "test": "#009E73"}

plt.rcParams.update(
    {
        "figure.dpi": 80,
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 11,
        "axes.titlelocation": "left",
        "legend.frameon": False,
        "legend.fontsize": 8,
        "figure.constrained_layout.use": True,
    }
)


def class_colours(codes: Sequence[str]) -> list[str]:
    """Colour of each class code. Raises KeyError for an unknown code."""
    return [COLOURS[code.upper()] for code in codes]


def model_styles(names: Sequence[str]) -> dict[str, dict]:
    """Colour, marker and linestyle by model name. Up to 21 models differ in colour or linestyle."""
    turns = [divmod(place, len(MODEL_COLOURS)) for place in range(len(names))]
    return {
        name: {
            "color": MODEL_COLOURS[colour],
            "marker": MARKERS[(colour + turn) % len(MARKERS)],
            "linestyle": LINES[turn % len(LINES)],
        }
        for name, (turn, colour) in zip(names, turns, strict=True)
    }


def panel_row(count: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    """A row of `count` panels with a shared vertical axis. width, height: of one panel, in inches."""
    figure, axes = plt.subplots(1, count, figsize=(width * count, height), sharey=True, squeeze=False)
    return figure, axes[0]


def error_bars(table: pd.DataFrame) -> np.ndarray:
    """Lengths of error bars, float [2, rows], at least 0, from the columns value, low and high."""
    lengths = np.stack([table["value"] - table["low"], table["high"] - table["value"]]).astype(float)
    return np.maximum(lengths, 0)  # a bound equal to the value can differ from it by a rounding error


def rows_downwards(axes: Axes, names: Sequence[str]) -> np.ndarray:
    """Label the rows of a horizontal plot, the first on top. Returns their vertical positions, int [rows]."""
    places = np.arange(len(names))
    axes.set(yticks=places, yticklabels=names, ylim=(len(names) - 0.5, -0.5))
    return places


def legend_below(figure: Figure, panels: Iterable[Axes]) -> None:
    """One legend for all panels, below them, where it covers no line."""
    named = [zip(*axes.get_legend_handles_labels(), strict=True) for axes in panels]
    handles = {label: handle for pairs in named for handle, label in pairs}
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=min(4, len(handles)))


def draw_band(axes: Axes, across: pd.Series, table: pd.DataFrame, *, style: Mapping, **options) -> None:
    """Draw the column `value` as a line over `across`, with a band from `low` to `high`.

    style: provides color and linestyle; options: further options of the line, such as its label.
    """
    axes.plot(across, table["value"], color=style["color"], linestyle=style["linestyle"], **options)
    axes.fill_between(across, table["low"], table["high"], color=style["color"], alpha=0.15, linewidth=0)
