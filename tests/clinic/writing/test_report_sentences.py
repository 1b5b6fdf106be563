"""Answers and deployments in words."""

import numpy as np
import pytest
from clinical import CODES, FIGURE, an_answer, deployment

from clinic.answering.deployment import ABSTENTION, DIFFERENCE, MALIGNANT
from clinic.writing.sentences import (
    describe_abstention,
    describe_answer,
    describe_malignant_classes,
    describe_operating_point,
)
from helpers.data.lesions import BENIGN_OR_MALIGNANT, HAM10000, ISIC2019

AHEAD, BEHIND = {"value": 0.2, "low": 0.1, "high": 0.3}, {"value": -0.2, "low": -0.3, "high": -0.1}
UNCLEAR = {"value": 0.1, "low": -0.1, "high": 0.3}


def test_an_answer_and_an_abstention():
    text = describe_answer(an_answer(), deployment())
    assert text.startswith("Answer: melanoma. Calibrated probabilities: melanoma 40 %, malignant 60 %. At or above")
    assert text.endswith("(uncalibrated score 0.800, operating point 0.300).")
    text = describe_answer(an_answer(True), deployment())
    assert "energy 1.00, below 2.00" in text and "melanoma" not in text


def test_an_answer_that_is_not_the_most_probable_diagnosis():
    """The answer is the highest before calibration; the words give both, and say why."""
    text = describe_answer(an_answer(calibrated=np.where(np.array(CODES) == "nv", 0.5, 0.5 / 6)), deployment())
    assert text.startswith("Answer: melanoma. It is read as if all diagnoses were equally frequent, so that rare ")
    assert "frequency in the study, melanocytic nevus is more probable. Calibrated probabilities: melanoma 8 %" in text


def test_the_operating_point():
    figures = dict(zip(MALIGNANT, (AHEAD, UNCLEAR, FIGURE), strict=True))
    text = describe_operating_point(deployment(malignant=figures))
    assert "its sensitivity for malignant lesions is 20.0 [10.0, 30.0] %" in text
    assert "and its specificity 10.0 [-10.0, 30.0] %. The model abstains on 80.0 [70.0, 90.0] % of" in text


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (AHEAD, "; difference 20.0 [10.0, 30.0] %, clearly more."),
        (UNCLEAR, "%, no clear difference."),
        (BEHIND, "%, clearly less."),
        (dict.fromkeys(("value", "low", "high")), "; difference –, not known."),
    ],
)
def test_abstention(difference, words):
    figures = dict.fromkeys(ABSTENTION, FIGURE) | {DIFFERENCE: difference}
    assert words in describe_abstention(deployment(abstention=figures))
    assert describe_abstention(deployment(missing_images=12723)).endswith(
        " 12,723 images of the publisher's list were missing."
    )


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (HAM10000, "; actinic keratosis and Bowen's disease are pre-malignant or in situ."),
        (ISIC2019, ", squamous cell carcinoma; actinic keratosis is pre-malignant."),
        (BENIGN_OR_MALIGNANT, "Counted as malignant: malignant."),
    ],
)
def test_malignant_classes_are_those_of_the_model(classes, words):
    assert describe_malignant_classes(deployment(classes=classes)).endswith(words)
