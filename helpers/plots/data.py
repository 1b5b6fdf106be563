"""Pictures of the data: counts, ages, galleries."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from scipy.ndimage import binary_erosion

from helpers.plots.style import class_colours

NEUTRAL = "#555555"


def class_counts(lesions: pd.DataFrame, codes: Sequence[str]) -> Figure:
    """Images and lesions of each class as horizontal bars on a logarithmic axis, with their numbers."""
    counts = lesions.groupby("label")["lesion_id"].agg(["size", "nunique"]).reindex(codes)
    figure, axes = plt.subplots(figsize=(7, 0.45 * len(codes) + 1))
    places = np.arange(len(codes))
    for offset, column, alpha, name in ((-0.2, "size", 1.0, "images"), (0.2, "nunique", 0.5, "lesions")):
        bars = axes.barh(places + offset, counts[column], 0.38, color=class_colours(codes), alpha=alpha)
        axes.bar_label(bars, [f"{count:,} {name}" for count in counts[column]], padding=3, fontsize=8)
    axes.set(xscale="log", xlim=(1, 4 * counts["size"].max()), xlabel="count (logarithmic)", yticks=places)
    axes.set_yticklabels(codes)
    axes.invert_yaxis()
    axes.set_title(f"{len(lesions):,} images of {lesions['lesion_id'].nunique():,} lesions")
    return figure


def ages(lesions: pd.DataFrame, codes: Sequence[str]) -> Figure:
    """Age by class: a box from the first to the third quartile, whiskers to the 5th and 95th percentile."""
    figure, axes = plt.subplots(figsize=(7, 3))
    groups = [lesions.loc[lesions["label"] == code, "age"].dropna() for code in codes]
    boxes = axes.boxplot(groups, whis=(5, 95), showfliers=False, patch_artist=True, medianprops={"color": "white"})
    for box, colour in zip(boxes["boxes"], class_colours(codes), strict=True):
        box.set(facecolor=colour, edgecolor=colour)
    names = [f"{code}\nn = {len(group):,}" for code, group in zip(codes, groups, strict=True)]
    axes.set_xticks(range(1, len(codes) + 1), names)
    axes.set(ylabel="age (years)", title="Age by diagnosis, images of known age")
    return figure


def share_heatmap(table: pd.DataFrame, title: str) -> Figure:
    """A table of counts, one row a class, shown as shares of its row in percent."""
    shares = 100 * table.div(table.sum(axis=1), axis=0)
    figure, axes = plt.subplots(figsize=(min(11, 2.5 + 0.65 * table.shape[1]), 1.3 + 0.36 * len(table)))
    sns.heatmap(
        shares, annot=True, fmt=".0f", cmap="Blues", vmin=0, vmax=100, ax=axes, cbar_kws={"label": "% of the class"}
    )
    axes.set(title=title, xlabel="", ylabel="")
    axes.set_yticklabels([f"{code} (n = {n:,})" for code, n in table.sum(axis=1).items()], rotation=0)
    plt.setp(axes.get_xticklabels(), rotation=30, ha="right", rotation_mode="anchor")
    return figure


def gallery(
    rows: Sequence[np.ndarray], names: Sequence[str], title: str, credit: str, captions: Sequence[str] = ()
) -> Figure:
    """Pictures uint8 [columns, side, side, 3] in named rows, and below all of them whose pictures they are.

    captions: a word above each picture of the first row.
    """
    columns = max(len(row) for row in rows)
    figure, axes = plt.subplots(
        len(rows), columns, figsize=(1.05 * columns + 0.8, 1.08 * len(rows) + 0.6), squeeze=False
    )
    for line, row, name in zip(axes, rows, names, strict=True):
        for place, picture in zip(line, row, strict=False):
            place.imshow(picture)
        for place in line:
            place.set(xticks=[], yticks=[])
            place.spines[:].set_visible(False)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for place, caption in zip(axes[0], captions, strict=False):
        place.set_title(caption, loc="center", fontsize=10)
    figure.suptitle(title, x=0.02, ha="left", fontsize=11)
    figure.supxlabel(credit, fontsize=7, color=NEUTRAL, x=0.02, ha="left")
    return figure


def overlaid(images: np.ndarray, maps: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
    """Maps laid over their images, uint8 [n, side, side, 3]: from dark blue, nothing, to yellow, each map's highest.

    maps: float [n, side, side], of which what is below 0 counts as nothing; masks: see `outlined`.
    """
    heights = np.maximum(maps, 0)
    heights = heights / np.maximum(heights.max(axis=(1, 2), keepdims=True), 1e-12)
    colours = 255 * plt.get_cmap("viridis")(heights)[..., :3]
    return outlined(np.rint((images + colours) / 2).astype(np.uint8), masks)


def outlined(images: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
    """The images uint8 [n, side, side, 3] with a white line around each mask, bool [n, side, side]; none without."""
    if masks is None:
        return images
    border = masks & ~binary_erosion(masks, np.ones((1, 3, 3)), border_value=1)
    return np.where(border[..., None], np.uint8(255), images)


def colour_distributions(means: np.ndarray, labels: np.ndarray, codes: Sequence[str]) -> Figure:
    """Distribution of the mean red, green and blue of images, float [n, 3] in 0 to 255, a line a class."""
    figure, axes = plt.subplots(1, 3, figsize=(10, 2.8), sharey=True, sharex=True)
    for channel, (place, name) in enumerate(zip(axes, ("red", "green", "blue"), strict=True)):
        for code, colour in zip(codes, class_colours(codes), strict=True):
            sns.kdeplot(means[labels == code, channel], ax=place, color=colour, label=code)
        place.set(title=f"mean {name}", xlabel="intensity (0 to 255)", ylabel="density", xlim=(0, 255))
    axes[-1].legend(loc="upper left", fontsize=8)
    return figure
