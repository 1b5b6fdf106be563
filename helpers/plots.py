"""Every picture of the report, one function each: they take plain tables and give back a matplotlib figure."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from scipy.ndimage import binary_erosion
from sklearn.isotonic import isotonic_regression

from helpers.study import with_interval

# Okabe and Ito's palette for the colour-blind; one colour a diagnosis, whatever the dataset calls it.
COLOURS = {
    "AKIEC": "#E69F00",
    "AK": "#E69F00",
    "BCC": "#56B4E9",
    "BKL": "#009E73",
    "DF": "#B8AC00",  # their yellow, darkened until it shows on white
    "MEL": "#D55E00",
    "NV": "#0072B2",
    "SCC": "#000000",
    "VASC": "#CC79A7",
    "BENIGN": "#0072B2",
    "MALIGNANT": "#D55E00",
}
PART_COLOURS = {"train": "#0072B2", "validation": "#D55E00", "test": "#009E73"}
# One look a model: seven colours of the same palette, and another mark and line where they come round again.
MODEL_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000", "#56B4E9")
MARKS, LINES = ("o", "s", "^", "D", "v", "P", "X"), ("-", "--", ":")
NEUTRAL = "#555555"

plt.rcParams.update(
    {
        "figure.dpi": 80,
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 11,
        "axes.titlelocation": "left",
        "legend.frameon": False,
        "figure.constrained_layout.use": True,
    }
)


def class_colours(codes: Sequence[str]) -> list[str]:
    """Colour of each class code. Raises KeyError for a code that is in none of the datasets."""
    return [COLOURS[code.upper()] for code in codes]


def model_looks(names: Sequence[str]) -> dict[str, dict]:
    """Colour, marker and linestyle of each model, by name; no two of 21 models share both colour and line."""
    turns = [divmod(place, len(MODEL_COLOURS)) for place in range(len(names))]
    return {
        name: {
            "color": MODEL_COLOURS[colour],
            "marker": MARKS[(colour + turn) % len(MARKS)],
            "linestyle": LINES[turn % len(LINES)],
        }
        for name, (turn, colour) in zip(names, turns, strict=True)
    }


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


def learning_curves(history: pd.DataFrame, best_epoch: int) -> Figure:
    """Loss and accuracies by epoch, for training and validation; lines mark the epoch kept and where a stage begins.

    history: columns epoch, stage, loss, val_loss, accuracy, val_accuracy and val_balanced_accuracy. The training loss
    is the one that was optimised, so it can be on another scale than that of validation, the cross-entropy in nats.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2))
    losses = (("train", "loss", "as optimised"), ("validation", "val_loss", "cross-entropy (nats)"))
    for part, column, kind in losses:
        left.plot(history["epoch"], history[column], color=PART_COLOURS[part], label=f"{part}, {kind}")
    curves = (
        ("accuracy", "train", "-"),
        ("val_accuracy", "validation", "-"),
        ("val_balanced_accuracy", "validation", "--"),
    )
    for column, part, style in curves:
        name = f"{part}, balanced" if "balanced" in column else part
        right.plot(history["epoch"], history[column], style, color=PART_COLOURS[part], label=name)
    left.set(xlabel="epoch", ylabel="loss", title="Loss")
    right.set(xlabel="epoch", ylabel="accuracy", ylim=(0, 1), title="Accuracy, plain and balanced")
    for axes in (left, right):
        axes.axvline(best_epoch, color=NEUTRAL, linewidth=1, linestyle=":", label=f"kept: epoch {best_epoch}")
        for first in history["epoch"][history["stage"].diff() > 0]:
            axes.axvline(first - 0.5, color=NEUTRAL, linewidth=0.8, label=f"stage {history['stage'][first - 1]} begins")
        axes.legend(fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))  # there is no half epoch
    return figure


def training_size(points: pd.DataFrame, chance: float, title: str = "Balanced accuracy by training size") -> Figure:
    """Balanced accuracy by number of training images on a logarithmic axis, a line with 95 % intervals for each way.

    points: columns images, way, value, low, high; chance: the balanced accuracy of an answer without looking.
    """
    figure, axes = plt.subplots(figsize=(6, 3.8))
    looks = model_looks(list(dict.fromkeys(points["way"])))
    for number, (way, own) in enumerate(points.groupby("way", sort=False)):
        own = own.sort_values("images")
        nudged = own["images"] * 1.03 ** (number - 1)  # so that intervals do not lie upon each other
        errors = [own["value"] - own["low"], own["high"] - own["value"]]
        axes.errorbar(nudged, own["value"], errors, capsize=3, label=way, **looks[way])
    axes.axhline(chance, color=NEUTRAL, linestyle=":", linewidth=1, label="chance")
    axes.set(xscale="log", xlabel="training images", ylabel="balanced accuracy on test, with 95 % interval")
    axes.set_title(title)
    axes.set_xticks(sorted(points["images"].unique()), [f"{count:,}" for count in sorted(points["images"].unique())])
    axes.minorticks_off()
    axes.legend(fontsize=8)
    return figure


def folds(points: pd.DataFrame, whole: pd.DataFrame, label: str, title: str) -> Figure:
    """A figure fold by fold as small points, and over all folds with its 95 % interval; a row for each model.

    points: columns kind, value, a row a fold; whole: index: the kinds; columns value, low, high.
    """
    figure, axes = plt.subplots(figsize=(7, 0.6 * len(whole) + 1.4))
    places = np.arange(len(whole))
    errors = np.stack([whole["value"] - whole["low"], whole["high"] - whole["value"]]).astype(float)
    axes.errorbar(
        whole["value"],
        places + 0.15,
        xerr=errors,
        fmt="o",
        color=MODEL_COLOURS[0],
        capsize=3,
        label="all folds together,\nwith 95 % interval",
    )
    for place, kind in enumerate(whole.index):
        own = points.loc[points["kind"] == kind, "value"]
        name = "one fold" if place == 0 else None
        axes.scatter(own, np.full(len(own), place - 0.15), marker="d", s=22, color=MODEL_COLOURS[1], label=name)
    axes.set(yticks=places, yticklabels=whole.index, xlabel=label, title=title, ylim=(len(whole) - 0.5, -0.5))
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


def search_history(trials: pd.DataFrame) -> Figure:
    """The score of each trial of a search, and the best so far. trials: columns trial, score, state, in order."""
    figure, axes = plt.subplots(figsize=(6.5, 3.6))
    looks = {"complete": ("o", MODEL_COLOURS[0], "trained to its end"), "pruned": ("x", NEUTRAL, "stopped early")}
    for state, (mark, colour, name) in looks.items():
        own = trials[trials["state"] == state]
        axes.scatter(own["trial"], own["score"], marker=mark, color=colour, s=28, label=f"{name} ({len(own)})")
    axes.step(trials["trial"], trials["score"].cummax(), where="post", color=MODEL_COLOURS[1], label="best so far")
    label = "trial (0 is the study file)"
    axes.set(xlabel=label, ylabel="balanced accuracy on validation", title=f"A search of {len(trials)} trials")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(fontsize=8)
    return figure


def bars(values: pd.Series, label: str, title: str) -> Figure:
    """One horizontal bar for each value, the first on top, with its number."""
    figure, axes = plt.subplots(figsize=(6, 0.34 * len(values) + 1.1))
    drawn = axes.barh(np.arange(len(values)), values, color=MODEL_COLOURS[0])
    axes.bar_label(drawn, fmt="%.2f", padding=3, fontsize=9)
    axes.set(yticks=np.arange(len(values)), yticklabels=values.index, xlabel=label, title=title)
    axes.invert_yaxis()
    return figure


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
        for (name, curve), look in zip(curves.items(), model_looks(list(curves)).values(), strict=True):
            axes.plot(curve[x], curve[y], color=look["color"], linestyle=look["linestyle"], label=name)
            axes.fill_between(curve[x], curve["low"], curve["high"], color=look["color"], alpha=0.15, linewidth=0)
        axes.set(xlabel=across, title=title, xlim=(0, 1))
        axes.legend(fontsize=8)
    lowest = min(curve["low"].min() for curves in panels.values() for curve in curves.values())
    row[0][0].set(ylabel=up, ylim=(min(0, lowest), None))
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
    by model, as `model_looks` gives them, where other figures show the same models.
    """
    looks = looks or model_looks(list(curves))
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
        own = looks or model_looks(list(models))
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


def cost(
    table: pd.DataFrame, costs: Mapping[str, str], label: str, title: str, looks: Mapping[str, dict] | None = None
) -> Figure:
    """A figure with its interval against what it costs, a panel a kind of cost, on logarithmic axes.

    table: a row a model, with columns value, low, high and one for each of `costs`; costs: axis label by column;
    looks: as of `malignancy_curves`. Names stand in a column of their own at the right, where they cannot collide,
    joined to their marks by lines.
    """
    figure, row = plt.subplots(1, len(costs), figsize=(3.4 * len(costs) + 2.6, 4), sharey=True, squeeze=False)
    looks = looks or model_looks(list(table.index))
    for axes, (column, unit) in zip(row[0], costs.items(), strict=True):
        for name, model in table.iterrows():
            bars = [[model["value"] - model["low"]], [model["high"] - model["value"]]]
            look = {"color": looks[name]["color"], "marker": looks[name]["marker"]}
            axes.errorbar(model[column], model["value"], yerr=bars, capsize=3, **look)
        ends = np.log10([0.8 * table[column].min(), 1.25 * table[column].max()])
        axes.set(xscale="log", xlabel=unit, xlim=(10 ** np.floor(ends[0]), 10 ** np.ceil(ends[1])))
        axes.xaxis.set_major_formatter("{x:,.9g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    row[0, 0].set(ylabel=label, title=title)
    figure.get_layout_engine().set(wspace=0.06)
    _name_at_the_right(row[0, -1], table[column], table["value"], looks)
    return figure


def _name_at_the_right(axes: Axes, across: pd.Series, up: pd.Series, looks: Mapping[str, dict]) -> None:
    """Write the index of `up` to the right of the axes, in order of height and at least a line apart."""
    up = up.sort_values()
    low, high = axes.get_ylim()
    gap = 0.065 * (high - low) * np.arange(len(up))
    for name, place in zip(up.index, isotonic_regression(up.to_numpy() - gap) + gap, strict=True):
        axes.annotate(
            name,
            (across[name], up[name]),
            (1.06, (place - low) / (high - low)),
            textcoords="axes fraction",
            va="center",
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": looks[name]["color"], "linewidth": 0.5, "shrinkB": 4},
        )


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


def training_gaps(histories: dict[str, pd.DataFrame]) -> Figure:
    """Accuracy by epoch, a panel a model, with the gap between training and validation shaded.

    histories: by model; columns epoch, accuracy and val_accuracy.
    """
    columns = min(4, len(histories))
    rows = -(-len(histories) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(2.9 * columns + 0.4, 2.6 * rows + 0.5), sharex=True, sharey=True, squeeze=False
    )
    for place, (name, history) in zip(axes.flat, histories.items(), strict=False):
        for part, column in (("train", "accuracy"), ("validation", "val_accuracy")):
            place.plot(history["epoch"], history[column], color=PART_COLOURS[part], label=part)
        place.fill_between(history["epoch"], history["accuracy"], history["val_accuracy"], color=NEUTRAL, alpha=0.15)
        place.set(title=name, xlabel="epoch", ylim=(0, 1))
        place.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for place in axes.flat[len(histories) :]:
        place.remove()
    for place in axes[:, 0]:
        place.set_ylabel("accuracy (share of images)")
    axes[0, 0].legend(fontsize=8)
    return figure


def robustness(table: pd.DataFrame, label: str, floor: tuple[float, str]) -> Figure:
    """A figure of several models on ever more corrupted images, a panel a corruption, with bands for the intervals.

    table: columns corruption (with its unit), strength, model, value, low, high; label: what the figure is; floor: a
    value to hold them against and what it is called.
    """
    names = list(dict.fromkeys(table["corruption"]))
    models = list(dict.fromkeys(table["model"]))
    colours = dict(zip(models, sns.color_palette("colorblind", len(models)), strict=True))
    figure, axes = plt.subplots(1, len(names), figsize=(3.2 * len(names) + 0.4, 3.4), sharey=True, squeeze=False)
    for place, name in zip(axes[0], names, strict=True):
        for model, rows in table[table["corruption"] == name].groupby("model", sort=False):
            place.plot(rows["strength"], rows["value"], "o-", markersize=4, color=colours[model], label=model)
            place.fill_between(rows["strength"], rows["low"], rows["high"], color=colours[model], alpha=0.15)
        place.axhline(floor[0], color=NEUTRAL, linewidth=1, linestyle=":", label=floor[1])
        place.set(title=name.split(" (")[0], xlabel=name, ylim=(0, 1))
        place.legend(fontsize=8)
    axes[0, 0].set_ylabel(label)
    return figure


def throughput(table: pd.DataFrame) -> Figure:
    """Images a second of each network by way, training and prediction side by side, on a logarithmic axis.

    table: one row a network, way and `what`, with median, low and high; see benchmarks/throughput.py.
    """
    whats, names, ways = (list(table[column].unique()) for column in ("what", "network", "way"))
    figure, panels = plt.subplots(1, len(whats), figsize=(5 * len(whats), 3.6), sharey=True, squeeze=False)
    looks = model_looks(ways)
    for axes, what in zip(panels[0], whats, strict=True):
        for place, way in enumerate(ways):
            rows = table[(table["what"] == what) & (table["way"] == way)]
            down = [names.index(name) + 0.12 * (place - (len(ways) - 1) / 2) for name in rows["network"]]
            spread = [rows["median"] - rows["low"], rows["high"] - rows["median"]]
            axes.errorbar(rows["median"], down, xerr=spread, label=way, capsize=2, **looks[way] | {"linestyle": ""})
        axes.set(xscale="log", title=what, xlabel="images a second: median and range")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    panels[0][0].set_yticks(range(len(names)), names)
    panels[0][0].invert_yaxis()
    panels[0][-1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    first = table.iloc[0]
    size = f"{first['images']:,} images of {first['side']} px in batches of {first['batch']}, {first['rounds']} rounds"
    figure.suptitle(f"{size}; {first['backend']} on {first['device']}")
    return figure
