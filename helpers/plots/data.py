"""Figures of the data: counts, ages, colours, and image galleries."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from scipy.ndimage import binary_erosion

from helpers.plots.style import NEUTRAL, class_colours, rows_downwards


def class_counts(lesions: pd.DataFrame, codes: Sequence[str], title: str) -> Figure:
    """Number of images and lesions per class, as horizontal bars."""
    counts = lesions.groupby("label")["lesion_id"].agg(["size", "nunique"]).reindex(codes)
    figure, axes = plt.subplots(figsize=(7, 0.45 * len(codes) + 1))
    places = rows_downwards(axes, codes)
    for offset, column, alpha, name in ((-0.2, "size", 1.0, "images"), (0.2, "nunique", 0.5, "lesions")):
        bars = axes.barh(places + offset, counts[column], 0.38, color=class_colours(codes), alpha=alpha)
        axes.bar_label(bars, [f"{count:,} {name}" for count in counts[column]], padding=3, fontsize=8)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set(xlim=(0, 1.25 * counts["size"].max()), xlabel="number of images or lesions", title=title)
    return figure


def flow(chain: Mapping[str, str], parts: Sequence[str]) -> Figure:
    """Where the images of a study come from and go to: boxes one below the other, then a row of boxes for the parts.

    chain: a note beside the arrow that leads to each box, by the text of the box; parts: the texts of the last row.
    """
    figure, axes = plt.subplots(figsize=(9, 1.1 * (len(chain) + 1)))
    axes.set(xlim=(-0.5, len(parts) - 0.5), ylim=(len(chain) + 0.4, -0.4))
    axes.axis("off")
    look = {"ha": "center", "va": "center", "bbox": {"boxstyle": "round", "facecolor": "white", "edgecolor": NEUTRAL}}
    middle = (len(parts) - 1) / 2
    boxes = [axes.text(middle, row, text, **look) for row, text in enumerate(chain)]
    ends = [axes.text(place, len(chain), text, **look) for place, text in enumerate(parts)]
    for row, note in enumerate(chain.values()):
        options = {"textcoords": "offset points", "va": "center", "fontsize": 8, "color": NEUTRAL}
        axes.annotate(note, (middle, row - 0.5), (12, 0), **options)
    for above, below in [*pairwise(boxes), *((boxes[-1], end) for end in ends)]:
        line = {"arrowstyle": "->", "color": NEUTRAL}
        line |= {"patchA": above.get_bbox_patch(), "patchB": below.get_bbox_patch()}
        axes.annotate("", below.get_position(), above.get_position(), arrowprops=line)
    return figure


def ages(lesions: pd.DataFrame, codes: Sequence[str], title: str) -> Figure:
    """Box plot of age by class: boxes show the quartiles, whiskers the 5th and 95th percentiles."""
    figure, axes = plt.subplots(figsize=(7, 3))
    groups = [lesions.loc[lesions["label"] == code, "age"].dropna() for code in codes]
    boxes = axes.boxplot(groups, whis=(5, 95), showfliers=False, patch_artist=True, medianprops={"color": "white"})
    for box, colour in zip(boxes["boxes"], class_colours(codes), strict=True):
        box.set(facecolor=colour, edgecolor=colour)
    names = [f"{code}\nn = {len(group):,}" for code, group in zip(codes, groups, strict=True)]
    axes.set_xticks(range(1, len(codes) + 1), names)
    axes.set(ylabel="age (years)", title=title)
    return figure


def share_heatmap(table: pd.DataFrame, title: str) -> Figure:
    """A table of counts, one row per class, shown in percent of each row."""
    shares = 100 * table.div(table.sum(axis=1), axis=0)
    figure, axes = plt.subplots(figsize=(min(11, 2.5 + 0.65 * table.shape[1]), 1.3 + 0.36 * len(table)))
    colours = {"cmap": "Blues", "vmin": 0, "vmax": 100, "cbar_kws": {"label": "% of the class"}}
    sns.heatmap(shares, annot=True, fmt=".0f", ax=axes, **colours)
    axes.set(title=title, xlabel="", ylabel="")
    axes.set_yticklabels([f"{code} (n = {n:,})" for code, n in table.sum(axis=1).items()], rotation=0)
    plt.setp(axes.get_xticklabels(), rotation=30, ha="right", rotation_mode="anchor")
    return figure


def gallery(
    rows: Mapping[str, Sequence[np.ndarray]],
    title: str,
    credit: str,
    *,
    captions: Sequence[str] = (),
    size: float = 1.05,
) -> Figure:
    """Images uint8 [columns, side, side, 3] in named rows, with their source below.

    captions: text above each image of the first row; size: of an image, in inches.
    """
    columns = max(map(len, rows.values()))
    labels = 0.3 + 0.08 * max(map(len, rows))  # inches that the names of the rows take
    figure, axes = plt.subplots(figsize=(size * columns + labels, (size + 0.03) * len(rows) + 0.6))
    for down, pictures in enumerate(
        rows.values()
    ):  # all in one panel, because one panel per image takes seconds to draw
        for across, picture in enumerate(pictures):
            high, wide = 0.47 * np.array(picture.shape[:2]) / max(picture.shape[:2])
            axes.imshow(picture, extent=(across - wide, across + wide, down + high, down - high))
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(len(rows) - 0.5, -0.5))
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(range(len(captions)), captions)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    figure.suptitle(title, x=0.02, ha="left", fontsize=11)
    figure.supxlabel(credit, fontsize=7, color=NEUTRAL, x=0.02, ha="left")
    return figure


def overlay(images: np.ndarray, maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Maps laid over their images, uint8 [n, side, side, 3]: dark blue is zero, yellow the maximum of each map.

    maps: float [n, side, side], negative values count as 0; masks: see `outline`.
    """
    heights = np.maximum(maps, 0)
    heights = heights / np.maximum(heights.max(axis=(1, 2), keepdims=True), 1e-12)
    colours = 255 * plt.get_cmap("viridis")(heights)[..., :3]
    return outline(np.rint((images + colours) / 2).astype(np.uint8), masks)


def outline(images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The images uint8 [n, side, side, 3] with a white line around each mask, bool [n, side, side]."""
    border = masks & ~binary_erosion(masks, np.ones((1, 3, 3)), border_value=1)
    return np.where(border[..., None], np.uint8(255), images)
