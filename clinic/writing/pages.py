"""A page about one image, for print or screen: the image, the answer, and facts about the model."""

import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clinic import DISCLAIMER
from clinic.answering.answers import Answer
from clinic.answering.deployment import Deployment
from clinic.reading.pictures import Picture
from clinic.writing import sentences
from helpers.plots.style import NEUTRAL, class_colours
from helpers.records import atomic_path

PREVIEW = 512  # pixels per side of an image that is shown to people
SIZE, DOTS = (8.27, 5.85), 150  # half an A4 page in inches, and dots per inch
WRAP = 127  # characters of 8 points per line
WARNING, GOOD = "#D55E00", "#333333"
UNDATED = {"pdf": {"CreationDate": None, "Producer": None, "Creator": None}, "png": {"Software": None}}


@dataclass(frozen=True)
class Page:
    """A page about a picture that has a preview. It shows no probabilities if the model abstains.

    name: of the picture in the tables.
    """

    name: str
    picture: Picture
    answer: Answer
    deployment: Deployment

    def write(self, path: Path) -> None:
        """Write the page as png or pdf, by the suffix of path; atomically, and without date and software metadata."""
        with atomic_path(path) as temporary:
            self.draw().savefig(temporary, dpi=DOTS, facecolor="white", metadata=UNDATED[path.suffix[1:]])

    def draw(self) -> Figure:
        """The page as a figure."""
        figure = Figure(figsize=SIZE, layout="none")
        axes = figure.add_axes((0.04, 0.54, 0.215, 0.31))
        axes.imshow(self.picture.preview)
        axes.set_axis_off()
        if not self.answer.abstained:
            self._draw_bars(figure.add_axes((0.78, 0.54, 0.18, 0.31)))
        self._write_text(figure)
        return figure

    def _draw_bars(self, axes: Axes) -> None:
        """The calibrated probabilities."""
        classes, shares = self.deployment.classes, self.answer.calibrated
        bars = axes.barh(np.arange(len(classes)), shares, color=class_colours(self.deployment.codes))
        axes.bar_label(bars, [sentences.percent(share) for share in shares], padding=2, fontsize=7)
        names = [f"{one.name} ({one.code}){' *' if one.malignant else ''}" for one in classes]
        axes.set_yticks(np.arange(len(classes)), names, fontsize=7)
        axes.set(xlim=(0, 1.15), xticks=(0, 0.5, 1))
        axes.set_xlabel("calibrated probability", fontsize=7)
        axes.tick_params(axis="x", labelsize=7)
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title("* counts as malignant", fontsize=8, loc="left")

    def _write_text(self, figure: Figure) -> None:
        """The heading, the paragraphs below the images, the model and the disclaimer."""
        figure.text(0.04, 0.95, f"Image {self.name}", fontsize=12, weight="bold")
        pixels = f"{self.picture.width} x {self.picture.height} px"
        figure.text(0.04, 0.915, pixels, fontsize=8, color=NEUTRAL)
        height = 0.455
        for text, size, colour in self._paragraphs():
            lines = textwrap.wrap(text, int(WRAP * 8 / size))
            figure.text(0.04, height, "\n".join(lines), fontsize=size, color=colour, va="top")
            height -= (len(lines) + 0.6) * size * 0.0029
        model = f"Model {self.deployment.name}, version {self.deployment.version}, "
        model += f"SHA-256 {self.deployment.model_sha256}"
        figure.text(0.04, 0.088, model, fontsize=6.5, color=NEUTRAL, va="bottom")
        disclaimer = textwrap.fill(DISCLAIMER, 105)
        figure.text(0.04, 0.02, disclaimer, fontsize=9, weight="bold", color=WARNING, va="bottom")

    def _paragraphs(self) -> list[tuple[str, float, str]]:
        """The text, the size in points and the colour of each paragraph."""
        answer, deployment = self.answer, self.deployment
        colour = WARNING if answer.abstained or answer.suspicious else GOOD
        paragraphs = [(sentences.describe_answer(answer, deployment), 9.5, colour)]
        if answer.warnings:
            paragraphs.append((f"Warning: {'; '.join(answer.warnings)}.", 8.5, WARNING))
        small = (
            sentences.describe_operating_point,
            sentences.describe_malignant_classes,
            sentences.describe_abstention,
        )
        return [*paragraphs, (" ".join(describe(deployment) for describe in small), 6.5, NEUTRAL)]
