import pandas as pd
import pytest
from intervals import DOWN, OPEN, UP, figure

from helpers.conclusions import prediction as conclude


@pytest.mark.parametrize(
    ("difference", "words"), [(UP, "abstains where it would be wrong"), (DOWN, "right more"), (OPEN, "not clearly")]
)
def test_abstention_helps_hurts_or_does_neither(difference, words):
    measured = dict.fromkeys(("coverage", "error rate of answers", "error rate of abstentions"), UP)
    sentence = conclude.abstention(measured, difference)
    assert words in sentence and "175 test images" in sentence


def test_the_more_confident_half_by_each_score():
    curves = {"energy": [0.3, 0.2], "maximum probability": [0.1, 0.2]}
    curves = {name: pd.DataFrame({"coverage": [0.5, 1.0], "risk": risk}) for name, risk in curves.items()}
    assert conclude.half(curves, 9).endswith("of 9 images:\n30 % by energy and 10 % by maximum probability")


def test_calibration_in_words():
    assert "alone the model overstates" in conclude.calibration(UP, OPEN, 9)
    assert "it states the share of malignant images about right" in conclude.calibration(UP, OPEN, 9)
    assert "as well it understates" in conclude.calibration(OPEN, DOWN, 9)
    assert conclude.stated(OPEN) == "no clear error" and conclude.stated(DOWN).startswith("under")


def test_both_readings_with_what_each_costs():
    right = {"balanced": {"value": 0.26}, "by prevalence": {"value": 0.56}}
    sentence = conclude.readings(UP, right, {"accuracy": UP, "balanced_accuracy": DOWN})
    assert "right for 26 %, the most probable one for 56 %" in sentence
    assert "gains accuracy" in sentence and "loses balanced accuracy" in sentence
    unclear = {"accuracy": OPEN, "balanced_accuracy": UP}
    assert "does not clearly change accuracy" in conclude.readings(UP, right, unclear)


def test_the_choice_has_a_reason():
    assert "takes the balanced answer" in conclude.choice({"balanced_accuracy": DOWN})
    assert "nothing is gained by the balanced" in conclude.choice({"balanced_accuracy": UP})


def test_strangers_and_the_answer():
    rules = pd.DataFrame({"distance": [0.02, 1.0, 0.9], "energy": [0.02, 0.1, 0.0]}, ["test images", "noise", "discs"])
    assert "distance stops 95 %, more than the best other rule, the energy (5 %)" in conclude.strangers(rules)
    assert "It also stops 2 % of the test images" in conclude.strangers(rules)
    assert "energy stops 5 %, fewer than the best other" in conclude.strangers(rules[["energy", "distance"]])
    assert "as many as the best other rule" in conclude.strangers(
        rules[["energy", "energy"]].set_axis(["a", "b"], axis=1)
    )
    assert conclude.answer(UP, UP, rules).endswith(
        "20 % of these answers are wrong. Of pictures that are no lesion, 95 % get no answer."
    )
    assert "0.200 [0.100, 0.300] of the 175 malignant images" in conclude.missed(UP)
    assert conclude.missed(figure(0.0, 0.0, 0.1)).startswith("None of the 175")


def test_what_passes_of_spoilt_images():
    table = pd.DataFrame({"no answer": [0.02, 0.9, 0.1], "missed": [0.1, 0.0, 0.3]}, ["as they are", "grey", "warm"])
    words = conclude.spoilt(table)
    assert "Of 2 ways to spoil an image, 1 are stopped" in words
    assert "way is *warm*: 30 % of the malignant images" in words and "compared with 10 % of the unspoilt" in words
    warned = [conclude.passing({"no answer": share, "warning": 0.95}) for share in (0.95, 0.1)]
    assert warned == ["stopped", "answered with a warning"]
    assert conclude.passing({"no answer": 0.1, "warning": 0.2}) == "answered, mostly without a warning"
