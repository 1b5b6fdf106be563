"""A page about one image, to be printed or looked at: the image, a map and its worth, what the model says and is."""

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clinic import DISCLAIMER
from clinic.answering.answers import Answer
from clinic.answering.deployment import WAY, Deployment
from clinic.reading.pictures import Picture
from clinic.writing.sentences import percent, verdict
from helpers.plots.style import NEUTRAL, class_colours
from helpers.records import atomic_path

SIZE, DOTS = (8.27, 5.85), 150  # inches, half of an A4 page, and dots an inch
PREVIEW = 512  # pixels a side of the image on it
WRAP = 130  # letters of 8 points a line
WARNING, GOOD = "#D55E00", "#333333"


def draw_page(name: str, picture: Picture, own: Answer, deployment: Deployment, mapped: np.ndarray | None) -> Figure:
    """The page of a picture with a preview, without probabilities where the model is silent.

    name: what the table calls it; mapped: the map laid over it, as `preview`, or None.
    """
    figure = Figure(figsize=SIZE, layout="none")
    shown = [(picture.preview, "Image")] + ([(mapped, WAY)] if mapped is not None else [])
    for place, (pixels, title) in enumerate(shown):
        axes = figure.add_axes((0.04 + 0.225 * place, 0.54, 0.215, 0.31))
        axes.imshow(pixels)
        axes.set_title(title, fontsize=9, loc="left")
        axes.set_axis_off()
    if not own.silent:
        _bars(figure.add_axes((0.78, 0.54, 0.18, 0.31)), own, deployment)
    figure.text(0.04, 0.95, f"Image {name}", fontsize=12, weight="bold")
    figure.text(0.04, 0.915, f"{picture.width} x {picture.height} px", fontsize=8, color=NEUTRAL)
    worth = deployment.map_told() if mapped is not None else ""
    draw_lines(figure, own, deployment, worth)
    return figure


def write_page(
    path: Path, name: str, picture: Picture, own: Answer, deployment: Deployment, mapped: np.ndarray | None = None
) -> None:
    """Write the page as path's suffix says, png or pdf, atomically and without the time or the place of its making."""
    figure = draw_page(name, picture, own, deployment, mapped)
    nothing = {"pdf": {"CreationDate": None, "Producer": None, "Creator": None}, "png": {"Software": None}}
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DOTS, facecolor="white", metadata=nothing[path.suffix[1:]])


def _bars(axes: Axes, own: Answer, deployment: Deployment) -> None:
    """The calibrated probabilities."""
    places = np.arange(len(deployment.classes))
    drawn = axes.barh(places, own.calibrated, color=class_colours(deployment.codes))
    axes.bar_label(drawn, [percent(share) for share in own.calibrated], padding=2, fontsize=7)
    axes.set(xlim=(0, 1.15), xticks=(0, 0.5, 1), yticks=places, xlabel="calibrated probability")
    marks = [f"{one.name} ({one.code}){' *' if one.malignant else ''}" for one in deployment.classes]
    axes.set_yticklabels(marks, fontsize=7)
    axes.tick_params(axis="x", labelsize=7)
    axes.xaxis.label.set_size(7)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("* counts as malignant", fontsize=8, loc="left")


def draw_lines(figure: Figure, own: Answer, deployment: Deployment, worth: str) -> None:
    """The words below the pictures; worth: what is to be said of the map."""
    model = f"Model {deployment.name}, version {deployment.version}, SHA-256 {deployment.model_sha256}"
    texts = [(verdict(own, deployment), 9.5, WARNING if own.silent or own.suspicious else GOOD)]
    if own.warnings:
        texts.append((f"Warning: {'; '.join(own.warnings)}.", 8.5, WARNING))
    if worth:
        texts.append((worth, 7.5, GOOD))
    texts.append((f"{deployment.limit()} {deployment.counted()} {deployment.told()}", 6.5, NEUTRAL))
    height = 0.455
    for text, size, colour in texts:
        lines = textwrap.wrap(text, int(WRAP * 8 / size))
        figure.text(0.04, height, "\n".join(lines), fontsize=size, color=colour, va="top")
        height -= (len(lines) + 0.6) * size * 0.0029
    figure.text(0.04, 0.088, model, fontsize=6.5, color=NEUTRAL, va="bottom")
    figure.text(0.04, 0.02, textwrap.fill(DISCLAIMER, 105), fontsize=9, weight="bold", color=WARNING, va="bottom")
