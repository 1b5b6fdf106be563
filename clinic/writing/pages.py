"""A page about one image for someone with a minute: what the program says, the image, and what that is worth."""

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
from clinic.reading.place import Place
from clinic.writing import sentences
from clinic.writing.images import show_image
from helpers.records import atomic_path

SIZE, DOTS = (8.27, 5.83), 150  # A5 in inches, and dots per inch
LEFT = 0.05  # of the figure's width
ALARM, CALM, DARK, NEUTRAL = "#B5470B", "#1F5F99", "#222222", "#555555"
UNDATED = {"pdf": {"CreationDate": None, "Producer": None, "Creator": None}, "png": {"Software": None}}


@dataclass(frozen=True)
class Page:
    """A page about a picture that has a preview. It shows no probabilities if the model abstains.

    name: of the picture in the tables. place: of an image from DICOM whose patient and study may be named, or None.
    """

    name: str
    picture: Picture
    answer: Answer
    deployment: Deployment
    place: Place | None = None

    def write(self, path: Path) -> None:
        """Write the page as png or pdf, by the suffix of path; atomically, and without date and software metadata."""
        with atomic_path(path) as temporary:
            self.draw().savefig(temporary, dpi=DOTS, facecolor="white", metadata=UNDATED[path.suffix[1:]])

    def draw(self) -> Figure:
        """The page as a figure."""
        figure = Figure(figsize=SIZE, layout="none")
        figure.text(LEFT, 0.955, self._about(), fontsize=8, color=NEUTRAL, va="top")
        colour = NEUTRAL if self.answer.abstained else ALARM if self.answer.suspicious else CALM
        line = textwrap.fill(f"{sentences.describe_answer(self.answer)}.", 64)
        figure.text(LEFT, 0.91, line, fontsize=14, weight="bold", color=colour, va="top")
        image, caption = show_image(self.picture, self.place.spacing if self.place else 0.0)
        axes = figure.add_axes((LEFT, 0.385, 0.4, 0.435), anchor="SW")
        axes.imshow(image)
        axes.set_axis_off()
        figure.text(LEFT, 0.375, textwrap.fill(caption, 80), fontsize=7.5, color=NEUTRAL, va="top")
        if not self.answer.abstained:
            self._draw_bars(figure.add_axes((0.71, 0.385, 0.24, 0.395)))
        self._write_text(figure)
        return figure

    def _about(self) -> str:
        """The image, and whose it is, where that may be said."""
        if self.place is None:
            return f"Image {self.name}"
        found = {
            "": self.place.patient_name.replace("^", " ").strip(),
            "patient ": self.place.patient_id,
            "born ": _day(self.place.birth_date),
            "image of ": _day(self.place.acquired),
            "accession ": self.place.accession_number,
        }
        return " · ".join([*(f"{word}{value}" for word, value in found.items() if value), f"image {self.name}"])

    def _draw_bars(self, axes: Axes) -> None:
        """The calibrated probabilities, the highest first."""
        order = np.argsort(-self.answer.probabilities, kind="stable")
        classes, shares = [self.deployment.classes[k] for k in order], self.answer.probabilities[order]
        bars = axes.barh(np.arange(len(order)), shares, color=[ALARM if one.malignant else CALM for one in classes])
        axes.bar_label(bars, [sentences.percent(share) for share in shares], padding=3, fontsize=8)
        axes.set_yticks(np.arange(len(order)), [textwrap.fill(one.name, 28) for one in classes], fontsize=7.5)
        axes.set(xlim=(0, 1.15), xticks=())
        axes.invert_yaxis()
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        title = axes.set_title(sentences.describe_total(self.answer, self.deployment), fontsize=8.5, loc="left")
        title.set_x(-0.85)  # where the names of the classes begin

    def _write_text(self, figure: Figure) -> None:
        """The warnings, what the answer is worth, the model and the disclaimer."""
        warnings = "".join(f"Warning: {text}. " for text in self.answer.warnings)
        worth = " ".join(sentences.describe_worth(self.answer, self.deployment))
        classes = "" if self.answer.abstained else f"{sentences.describe_malignant_classes(self.deployment)} "
        small = classes + sentences.describe_model(self.deployment)
        height = 0.315
        for text, size, colour in ((warnings, 8.5, ALARM), (worth, 9.5, DARK), (small, 6.5, NEUTRAL)):
            lines = textwrap.wrap(text, int(1000 / size))
            figure.text(LEFT, height, "\n".join(lines), fontsize=size, color=colour, va="top")
            height -= len(lines) * size * 0.0034 + (0.012 if lines else 0)
        figure.text(LEFT, 0.025, textwrap.fill(DISCLAIMER, 120), fontsize=7, weight="bold", color=DARK, va="bottom")


def _day(text: str) -> str:
    """A day as DICOM writes it, with hyphens between year, month and day."""
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 else text
