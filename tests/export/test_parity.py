"""The comparison of runtimes, on made-up logits."""

import numpy as np
import pytest

from helpers.evaluation.bootstrap import Bootstrap
from helpers.evaluation.predictions import Predictions
from helpers.export.parity import compare

LABELS = np.array([0, 0, 1, 1])
IMAGES = np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1) * np.ones((4, 2, 2, 3), np.uint8)


def logits(rows):
    """Logits that are looked up by the number in each image's pixels."""
    return lambda images: np.array(rows)[images[:, 0, 0, 0]]


def test_each_runtime_is_compared_with_the_first():
    right = [[2, 0], [2, 0], [0, 2], [0, 2]]
    shifted = [[5, 3], [2, 0], [0, 2], [9, 11]]  # the same probabilities
    wrong = [[2, 0], [2, 0], [0, 2], [2, 0]]  # the last answer turned round
    truth = Predictions(LABELS, np.full((4, 2), 0.5), list("abcd"), ("nv", "mel"), (False, True))
    runtimes = {"first": logits(right), "shifted": logits(shifted), "wrong": logits(wrong)}
    table = compare(runtimes, IMAGES, truth, bootstrap=Bootstrap(50)).set_index("runtime")
    assert table["agreement"].tolist() == [1, 1, 0.75]
    assert table["balanced_accuracy"].tolist() == [1, 1, 0.75]
    assert table["difference"].tolist() == [0, 0, -0.25]
    assert table.loc["wrong", "difference_low"] < -0.25 < table.loc["wrong", "difference_high"]
    certain = 1 / (1 + np.exp(-2))
    assert table["largest_difference"].tolist() == pytest.approx([0, 0, 2 * certain - 1], abs=1e-9)
    assert (table["milliseconds"] > 0).all()
