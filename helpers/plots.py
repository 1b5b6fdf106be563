"""Every picture of the report, one function each: they take plain tables and give back a matplotlib figure."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

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
}
PART_COLOURS = {"train": "#0072B2", "validation": "#D55E00", "test": "#009E73"}
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
    axes.set_xticks(range(1, len(codes) + 1), [f"{code}\nn = {len(g)}" for code, g in zip(codes, groups, strict=True)])
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
    """Loss and accuracies by epoch, for training and validation; a line marks the epoch whose weights were kept."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2))
    for part, column in (("train", "loss"), ("validation", "val_loss")):
        left.plot(history["epoch"], history[column], color=PART_COLOURS[part], label=part)
    curves = (
        ("accuracy", "train", "-"),
        ("val_accuracy", "validation", "-"),
        ("val_balanced_accuracy", "validation", "--"),
    )
    for column, part, style in curves:
        name = f"{part}, balanced" if "balanced" in column else part
        right.plot(history["epoch"], history[column], style, color=PART_COLOURS[part], label=name)
    left.set(xlabel="epoch", ylabel="loss", title="Loss (training: as weighted, validation: cross-entropy in nats)")
    right.set(xlabel="epoch", ylabel="share of images", ylim=(0, 1), title="Accuracy and balanced accuracy")
    for axes in (left, right):
        axes.axvline(best_epoch, color=NEUTRAL, linewidth=1, linestyle=":", label=f"kept: epoch {best_epoch}")
        axes.legend(fontsize=8)
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

    floor: a value to hold them against, drawn as a dotted line, and what it is called.
    """
    figure, axes = plt.subplots(figsize=(7, 0.38 * len(table) + 1.2))
    places = np.arange(len(table))
    errors = np.stack([table["value"] - table["low"], table["high"] - table["value"]])
    axes.errorbar(table["value"], places, xerr=errors, fmt="o", color="#0072B2", capsize=3)
    for place, (value, low, high) in enumerate(table[["value", "low", "high"]].to_numpy(float)):
        if np.isfinite(value):
            axes.annotate(
                f"{value:.3f} [{low:.3f}, {high:.3f}]", (1.02, place), xycoords=("axes fraction", "data"), va="center"
            )
    if floor is not None:
        axes.axvline(floor[0], color=NEUTRAL, linewidth=1, linestyle=":")
        place = {"xycoords": ("data", "axes fraction"), "xytext": (3, 3), "textcoords": "offset points"}
        axes.annotate(floor[1], (floor[0], 0), fontsize=8, color=NEUTRAL, **place)
    axes.set(yticks=places, yticklabels=table.index, xlabel=label, title=title, ylim=(len(table) - 0.5, -0.5))
    return figure


def roc_and_precision_recall(curves: dict[str, dict], images: int) -> Figure:
    """One-against-rest ROC and precision-recall curves, as `metrics.curves` gives them, with areas in the legend."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4.6))
    for name, curve in curves.items():
        malignant = {"color": "black", "linestyle": "--"}
        style = malignant if name == "malignant" else {"color": COLOURS[name.upper()]}
        roc, precision = (f"{name}: {_area(curve, key)}" for key in ("auc", "average_precision"))
        left.plot(curve["false_positive_rate"], curve["true_positive_rate"], label=roc, **style)
        # Between two thresholds there is no precision in between: the curve is a staircase (Davis and Goadrich 2006).
        right.plot(curve["recall"], curve["precision"], label=precision, drawstyle="steps-post", **style)
    left.plot([0, 1], [0, 1], color=NEUTRAL, linewidth=1, linestyle=":")
    left.set(xlabel="1 - specificity", ylabel="sensitivity", title=f"ROC on {images:,} test images")
    right.set(
        xlabel="recall (sensitivity)", ylabel="precision", title="Precision and recall on the same", ylim=(0, 1.02)
    )
    left.legend(title="AUC [95 % interval]", fontsize=8)
    right.legend(title="average precision [95 % interval]", fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))
    return figure


def malignancy_roc(curves: dict[str, dict]) -> Figure:
    """ROC curves of several models for malignant against benign; `curves` by model, as `metrics.curves` gives them."""
    figure, axes = plt.subplots(figsize=(5.6, 4.8))
    for (name, curve), colour in zip(curves.items(), sns.color_palette("colorblind"), strict=False):
        label = f"{name}: {_area(curve, 'auc')}"
        axes.plot(curve["false_positive_rate"], curve["true_positive_rate"], color=colour, label=label)
    axes.plot([0, 1], [0, 1], color=NEUTRAL, linewidth=1, linestyle=":")
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", title="Malignant against benign, on test")
    axes.legend(title="AUC [95 % interval]", fontsize=8, loc="lower right")
    return figure


def recall_heatmap(recalls: pd.DataFrame) -> Figure:
    """Recall of each class (column) by each model (row), in percent."""
    figure, axes = plt.subplots(figsize=(2.5 + 0.9 * recalls.shape[1], 1.4 + 0.4 * len(recalls)))
    sns.heatmap(
        100 * recalls, annot=True, fmt=".0f", cmap="Blues", vmin=0, vmax=100, ax=axes, cbar_kws={"label": "recall (%)"}
    )
    axes.set(title="Recall on test by diagnosis", xlabel="", ylabel="")
    axes.tick_params(axis="y", rotation=0)
    return figure


def reliability(table: pd.DataFrame, ece: dict) -> Figure:
    """Accuracy against stated probability, bin by bin with 95 % intervals, and below it how many images a bin has.

    table: what `metrics.reliability` gives; ece: expected calibration error with its interval.
    """
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(4.6, 5), sharex=True, gridspec_kw={"height_ratios": [3, 1]})
    filled = table[table["images"] > 0]
    errors = np.abs(filled[["low", "high"]].to_numpy().T - filled["accuracy"].to_numpy())
    top.plot([0, 1], [0, 1], color=NEUTRAL, linewidth=1, linestyle=":", label="perfect")
    top.errorbar(
        filled["confidence"], filled["accuracy"], yerr=errors, fmt="o", color="#0072B2", capsize=3, label="model"
    )
    top.set(
        ylabel="share that was right",
        ylim=(0, 1.02),
        title=f"Reliability on test\nECE {with_interval(ece)}",
    )
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
