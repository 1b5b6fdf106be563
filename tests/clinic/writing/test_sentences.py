"""An answer in words."""

import numpy as np
import pytest
from clinical import CODES, an_answer, deployment

from clinic.writing.sentences import percent, verdict


def test_the_verdict_states_the_answer_or_that_there_is_none():
    assert verdict(an_answer(), deployment()) == (
        "Answer: melanoma. Calibrated probabilities: melanoma 40%, malignant 60%. At or above the operating point: "
        "suspicious (uncalibrated score 0.800, operating point 0.300)."
    )
    expected = "No answer: the energy of the logits is below its limit (energy 1.00, below 2.00)."
    assert verdict(an_answer(silent=True), deployment()).startswith(expected)


def test_the_verdict_names_the_most_probable_class_beside_another_answer():
    likely_nevus = np.where(np.array(CODES) == "nv", 0.5, 0.5 / 6)
    assert "melanoma 8%, melanocytic nevus 50%, malignant" in verdict(an_answer(calibrated=likely_nevus), deployment())


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0%"), (0.0006, "<1%"), (0.006, "1%"), (0.5, "50%"), (0.994, "99%"), (0.998, ">99%"), (1, "100%")],
)
def test_zero_and_one_hundred_percent_are_exact(share, text):
    assert percent(share) == percent(np.float32(share)) == text
