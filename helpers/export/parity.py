"""How closely the exported files agree with the network they were made from, on the test part."""

import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.special import softmax

from helpers.evaluation.bootstrap import STANDARD, Bootstrap
from helpers.evaluation.comparison import paired_difference
from helpers.evaluation.predictions import Predictions
from helpers.evaluation.scores import measure
from helpers.export.runtimes import Logits

TIMED = 200  # images, one after the other
SCORE = "balanced_accuracy"


def compare(
    runtimes: Mapping[str, Logits], images: np.ndarray, test: Predictions, *, bootstrap: Bootstrap = STANDARD
) -> pd.DataFrame:
    """One row per runtime, each compared with the first one on images uint8 [n, side, side, 3].

    test: labels and lesions of the images, in their order; its probabilities are not used. Columns: runtime; agreement,
    the share of images with the same answer; largest_difference of a probability; balanced_accuracy with _low and
    _high; difference, balanced accuracy minus that of the first runtime, with _low and _high; milliseconds of
    processor time, the median per image, one image at a time.
    """
    rows, first = [], None
    for name, logits in runtimes.items():
        given = replace(test, probabilities=softmax(np.float64(logits(images)), axis=1))
        first = first or given
        figures = {
            SCORE: measure(given, SCORE, bootstrap=bootstrap),
            "difference": paired_difference(given, first, SCORE, bootstrap=bootstrap),
        }
        row = {
            "runtime": name,
            "agreement": float(np.mean(given.predicted == first.predicted)),
            "largest_difference": float(np.abs(given.probabilities - first.probabilities).max()),
        }
        for figure, found in figures.items():
            row |= {figure: found["value"], f"{figure}_low": found["low"], f"{figure}_high": found["high"]}
        rows.append(row | {"milliseconds": _milliseconds(logits, images[:TIMED])})
    return pd.DataFrame(rows)


def _milliseconds(logits: Logits, images: np.ndarray) -> float:
    """The median processor time per image, one image at a time. Other programs on the machine hardly change it."""
    seconds = []
    for row in range(len(images)):
        started = time.process_time()
        logits(images[row : row + 1])
        seconds.append(time.process_time() - started)
    return 1000 * float(np.median(seconds))
