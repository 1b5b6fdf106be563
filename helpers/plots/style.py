"""Colours, markers and fonts of every figure."""

from collections.abc import Sequence

import matplotlib.pyplot as plt

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
# One look a model: seven colours of the same palette, and another mark and line where they come round again.
MODEL_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000", "#56B4E9")
MARKS, LINES = ("o", "s", "^", "D", "v", "P", "X"), ("-", "--", ":")

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


def model_styles(names: Sequence[str]) -> dict[str, dict]:
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
