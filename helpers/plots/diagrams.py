"""Diagrams of what goes where, drawn from a small example."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from helpers.plots.style import MODEL_COLOURS, NEUTRAL, legend_below, rows_downwards
from helpers.sentences import join

PARTS = {"train": "training", "validation": "validation", "claimed": "claimed", "test": "locked away"}
TURNS = {"photograph": 45, "copy": 45, "altered copy": 70}  # of a square standing on its corner, degrees
CENTRED = {"ha": "center", "va": "center"}


def protocol_diagram(tables: Mapping[str, pd.DataFrame], title: str, *, altered: str) -> Figure:
    """Where the photographs of a few lesions go: one row per protocol, one square per photograph.

    tables: by protocol; columns image_id, lesion_id (a number), label (frequent or rare), part (a key of PARTS) and,
    where there are copies, copy (0 for the image itself). altered: the protocol that alters its copies. A frame
    surrounds the part that chooses the epoch: `claimed`, if the validation part only repeats its images.
    """
    drawn = {name: _with_kinds(table, "altered copy" if name == altered else "copy") for name, table in tables.items()}
    widths = pd.DataFrame({name: table["part"].value_counts() for name, table in drawn.items()}).max(axis=1)
    starts = dict(zip(PARTS, np.cumsum([0, *(widths[part] + 0.8 for part in PARTS)]), strict=False))
    figure, axes = plt.subplots(figsize=(10.5, 0.6 * len(tables) + 1.5))
    rows = rows_downwards(axes, [f"{name}:\n{_overlap(table)}" for name, table in drawn.items()])
    for part, name in PARTS.items():
        axes.text(starts[part] - 0.4, -0.55, name, weight="bold", fontsize=9)
    for row, table in zip(rows, drawn.values(), strict=True):
        chooser = "validation" if "validation" in set(table["part"]) else "claimed"
        corner, width = (starts[chooser] - 0.5, row - 0.4), (table["part"] == chooser).sum()
        look = {"facecolor": "none", "edgecolor": "black", "linestyle": ":", "linewidth": 1.5}
        axes.add_patch(Rectangle(corner, width, 0.8, label="part that chooses the epoch", **look))
        _photographs(axes, row, _with_places(table, starts))
    axes.set(xlim=(-0.7, starts["test"] + widths["test"]), xticks=[])
    axes.set_title(title, pad=18)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    legend_below(figure, [axes])
    return figure


def _with_kinds(table: pd.DataFrame, copies: str) -> pd.DataFrame:
    """The table with the column kind, and without its validation part if that only repeats the claimed images."""
    images = {part: sorted(table.loc[table["part"] == part, "image_id"]) for part in ("validation", "claimed")}
    again = table["copy"] > 0 if "copy" in table else np.zeros(len(table), bool)
    table = table.assign(kind=np.where(again, copies, "photograph"))
    return table[table["part"] != "validation"] if images["validation"] == images["claimed"] else table


def _overlap(table: pd.DataFrame) -> str:
    """Which lesions are on both sides, in words."""
    trained, claimed = (set(table.loc[table["part"] == part, "lesion_id"]) for part in ("train", "claimed"))
    both = sorted(trained & claimed)
    names = f"lesion{'s' if len(both) > 1 else ''} {join(both)}" if both else "no lesion"
    return f"{names} in training and claimed"


def _with_places(table: pd.DataFrame, starts: Mapping[str, float]) -> pd.DataFrame:
    """The table with the place of each photograph in its part: those of a lesion side by side."""
    table = table.sort_values(["part", "lesion_id", "image_id"], kind="stable")
    return table.assign(place=table["part"].map(starts) + table.groupby("part").cumcount())


def _photographs(axes: Axes, row: float, table: pd.DataFrame) -> None:
    """A row of squares with the number of the lesion in each; copies are hollow, altered ones turned."""
    colours = dict(zip(("frequent", "rare"), MODEL_COLOURS, strict=False))
    for (label, kind), images in table.groupby(["label", "kind"]):
        edge, fill = colours[label], colours[label] if kind == "photograph" else "white"
        look = {"linestyle": "none", "marker": (4, 0, TURNS[kind]), "markersize": 19, "markeredgewidth": 1.5}
        look |= {"markerfacecolor": fill, "markeredgecolor": edge, "label": f"{kind}, {label} diagnosis"}
        axes.plot(images["place"], [row] * len(images), **look)
        for place, lesion in zip(images["place"], images["lesion_id"], strict=True):
            axes.text(place, row, str(lesion), color="white" if fill == edge else edge, fontsize=8, **CENTRED)


def reading_diagram(steps: Sequence[Sequence[int]], columns: int, title: str) -> Figure:
    """From a feature map over the sequence of its cells and an LSTM to the probabilities.

    steps: the numbers of the cells in each step; a map has the cells 0, 1, 2, … row by row, `columns` in each.
    """
    shades = plt.get_cmap("Blues")(np.linspace(0.1, 0.6, len(steps)))
    places = columns + 1.5 + np.linspace(0, 7, len(steps))
    figure, axes = plt.subplots(figsize=(10.5, 2.7))
    axes.set(xlim=(-0.6, columns + 12.5), ylim=(2.7, -1.3), title=title)
    axes.axis("off")
    read, lstm = [], []
    for step, shade, place in zip(steps, shades, places, strict=True):
        for across, down in ((cell % columns, cell // columns) for cell in step):
            axes.add_patch(Rectangle((across - 0.5, down - 0.5), 1, 1, facecolor=shade, edgecolor="white"))
            axes.text(across, down, str(down * columns + across), fontsize=8, **CENTRED)
        read.append(_box(axes, (place, 0), "-".join(map(str, step)), colour=shade))
        lstm.append(_box(axes, (place, 2), "LSTM"))
    last = [
        _box(axes, (columns + 10.1, 2), "dense\nlayers"),
        _box(axes, (columns + 11.7, 2), "softmax"),
    ]
    for one, other in (*zip(read, lstm, strict=True), *pairwise([*lstm, *last])):
        _arrow(axes, one, other)
    axes.annotate("", (places[0] - 0.6, 0), (columns - 0.4, 0), arrowprops={"arrowstyle": "->", "color": NEUTRAL})
    notes = {"feature map": (columns / 2 - 0.5, -0.9), "sequence, one step after the other": (places.mean(), -0.9)}
    notes |= {"memory and output": (places.mean(), 2.55), "probabilities": (columns + 11.7, 2.55)}
    for note, place in notes.items():
        axes.text(*place, note, fontsize=9, color=NEUTRAL, **CENTRED)
    return figure


def _box(axes: Axes, place: tuple[float, float], text: str, *, colour="white") -> Text:
    look = {"boxstyle": "round", "facecolor": colour, "edgecolor": NEUTRAL}
    return axes.text(*place, text, bbox=look, fontsize=8, **CENTRED)


def _arrow(axes: Axes, start: Text, end: Text) -> None:
    line = {"arrowstyle": "->", "color": NEUTRAL, "patchA": start.get_bbox_patch(), "patchB": end.get_bbox_patch()}
    axes.annotate("", end.get_position(), start.get_position(), arrowprops=line)
