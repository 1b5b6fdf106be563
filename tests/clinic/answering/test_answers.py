"""Answers in closed form: probabilities, calibration, the operating point, abstention."""

from dataclasses import replace

import numpy as np
import pytest
from clinical import BIASES, CODES, SIDE, deployment, features, usual_appearance
from conftest import picture
from scipy.special import softmax

from clinic.answering.answers import BURNED_IN, COLOURS, SMALL, UNLIKE, UNSURE, answer_pictures
from clinic.answering.network import Prediction
from clinic.reading.pictures import from_array
from helpers.study import StudyError

DEPLOYED = deployment()
MALIGNANT = [0, 1, CODES.index("mel")]
LOGITS = np.arange(7.0)


def answers(*logits, deployed=DEPLOYED):
    shown = from_array(np.asarray(picture(61, 48)), deployed.image_format())
    return answer_pictures([shown] * len(logits), prediction([shown] * len(logits), logits), deployed)


def prediction(pictures, logits) -> Prediction:
    return Prediction(np.array(logits, float), features(np.stack([one.square for one in pictures])))


def test_probabilities_are_softmax_and_calibrated_by_temperature_and_biases():
    (answer,) = answers(LOGITS)
    assert np.allclose(answer.probabilities, softmax(LOGITS / 2 + BIASES))
    assert answer.malignancy == pytest.approx(softmax(LOGITS / 2 + BIASES)[MALIGNANT].sum())
    assert answer.confidence == pytest.approx(np.log(np.exp(LOGITS).sum()))


def test_the_calibrated_probability_counts_at_the_operating_point_and_above():
    (answer,) = answers(LOGITS)
    assert 0 < answer.malignancy < 0.5
    for threshold, suspicious in ((answer.malignancy, True), (np.nextafter(answer.malignancy, 1), False)):
        (again,) = answers(LOGITS, deployed=deployment(suspicious_from=float(threshold)))
        assert again.suspicious is suspicious


def test_the_model_abstains_below_its_energy():
    """Seven equal logits of x have an energy of x + ln 7."""
    edge = DEPLOYED.abstention_threshold - np.log(7)
    low, high = answers(np.full(7, edge - 1e-9), np.full(7, edge + 1e-9))
    assert (low.reason, low.suspicious) == (UNSURE, None)
    assert (high.reason, high.suspicious) == ("", True)


def test_the_model_abstains_below_its_maximum_probability():
    """Two equal logits share the probability, however large they are, unless the biases prefer one of them."""
    equal = deployment(confidence="maximum probability", abstention_threshold=0.6, biases=(0.0,) * 7)
    nothing = np.full(7, -50.0)
    halves, clear = (np.where(np.isin(np.arange(7), found), 20.0, nothing) for found in ([1, 2], [1]))
    low, high = answers(halves, clear, deployed=equal)
    assert (low.reason, low.confidence) == (UNSURE, pytest.approx(0.5))
    assert (high.reason, high.confidence) == ("", pytest.approx(1.0))
    (preferred,) = answers(halves, deployed=replace(equal, biases=(0.0, 2.0, *(0.0,) * 5)))
    assert (preferred.reason, preferred.confidence) == ("", pytest.approx(1 / (1 + np.exp(-2))))


def test_the_balanced_answer_is_that_before_calibration():
    biases = tuple(np.where(np.array(CODES) == "mel", 20.0, 0.0))
    (answer,) = answers(np.where(np.array(CODES) == "nv", 10.0, 0.0), deployed=deployment(biases=biases))
    assert (CODES[answer.probabilities.argmax()], CODES[answer.balanced]) == ("mel", "nv") and answer.suspicious


def test_what_is_unlike_the_training_images_gets_no_answer():
    """It is the first reason, whatever the energy; strange colours alone are a warning."""
    deployed = deployment(appearance=usual_appearance())
    white = from_array(np.full((20, 20, 3), 255, np.uint8), deployed.image_format())
    for level in (-9.0, 9.0):
        (answer,) = answer_pictures([white], prediction([white], [np.full(7, level)]), deployed)
        assert (answer.reason, answer.suspicious, answer.cause) == (UNLIKE, None, "is white") and answer.distance > 1
        assert answer.warnings == (SMALL.format(20, 20, SIDE),)
    however_far = deployment(appearance=replace(usual_appearance(), farthest=1e9))
    (answer,) = answer_pictures([white], prediction([white], [np.full(7, 9.0)]), however_far)
    assert answer.reason == "" and answer.warnings == (SMALL.format(20, 20, SIDE), COLOURS)


def test_logits_that_are_not_finite_are_refused():
    with pytest.raises(StudyError, match="not finite. Restore its model file"):
        answers(np.full(7, np.nan))


def test_answers_of_a_batch_are_those_of_each_image_alone():
    logits = np.random.default_rng(0).normal(0, 3, (40, len(CODES)))
    pictures = [
        from_array(np.asarray(picture(seed, 24 + seed % 2 * 24)), DEPLOYED.image_format()) for seed in range(40)
    ]
    pictures = [replace(one, burned_in_text=seed % 3 == 0) for seed, one in enumerate(pictures)]
    together = answer_pictures(pictures, prediction(pictures, logits), DEPLOYED)
    for answer, row, one in zip(together, logits, pictures, strict=True):
        (alone,) = answer_pictures([one], prediction([one], row[None]), DEPLOYED)
        assert answer.distance == pytest.approx(alone.distance)
        one_by_one, at_once = (str(vars(replace(found, distance=0.0))) for found in (alone, answer))
        assert one_by_one == at_once and (BURNED_IN in answer.warnings) == one.burned_in_text
    assert {answer.suspicious for answer in together} == {None, True, False}
    assert len({answer.warnings for answer in together}) > 1
