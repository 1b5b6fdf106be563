import pandas as pd
import pytest
from intervals import DOWN, OPEN, UP, figure

from helpers.conclusions import prediction as conclude


@pytest.mark.parametrize(
    ("difference", "words"),
    [(UP, "abstains where it would be wrong"), (DOWN, "right more"), (OPEN, "It is not clear that")],
)
def test_abstention_helps_hurts_or_does_neither(difference, words):
    measured = dict.fromkeys(("coverage", "error rate of answers", "error rate of abstentions"), UP)
    sentence = conclude.abstention(measured, difference)
    assert words in sentence and "175 test images" in sentence


def test_the_more_confident_half_by_each_score():
    curves = {"energy": [0.3, 0.2], "maximum probability": [0.1, 0.2]}
    curves = {name: pd.DataFrame({"coverage": [0.5, 1.0], "risk": risk}) for name, risk in curves.items()}
    assert conclude.confident_half(curves, 9).endswith(
        "of 9 images,\n30 % by energy and 10 % by maximum probability are wrong"
    )


def test_calibration_in_words():
    assert "alone the model overstates" in conclude.calibration(UP, OPEN, 9)
    assert "as well it does not clearly overstate or understate" in conclude.calibration(UP, OPEN, 9)
    assert "as well it understates" in conclude.calibration(OPEN, DOWN, 9)
    assert conclude.calibration_error(OPEN) == "no clear error" and conclude.calibration_error(DOWN).startswith("under")


def test_both_readings_with_what_each_costs():
    right = {"balanced": {"value": 0.26}, "by prevalence": {"value": 0.56}}
    sentence = conclude.readings(UP, right, {"accuracy": UP, "balanced_accuracy": DOWN})
    assert "right for 26 %, the most probable one for 56 %" in sentence
    assert "gains accuracy" in sentence and "loses balanced accuracy" in sentence
    unclear = {"accuracy": OPEN, "balanced_accuracy": UP}
    assert "does not clearly change accuracy" in conclude.readings(UP, right, unclear)


def test_the_printed_reading_has_its_price():
    recall = {"balanced": UP, "by prevalence": figure(0.1, 0.05, 0.15)}
    assert "On validation this costs balanced accuracy (-0.200" in conclude.choice(DOWN, recall)
    assert "this does not clearly change the balanced accuracy" in conclude.choice(OPEN, recall)
    assert "this gains balanced accuracy" in conclude.choice(UP, recall)
    words = "calls 0.100 [0.050, 0.150] malignant, the balanced reading 0.200 [0.100, 0.300]."
    assert words in conclude.choice(UP, recall)


def test_the_calibrated_scale_separates_better_worse_or_neither():
    names = ("malignant_auc", "malignant_sensitivity", "malignant_specificity")
    figures = {"calibrated": dict.fromkeys(names, UP), "difference": dict.fromkeys(names, OPEN)}
    sentence = conclude.scale(0.123, figures, UP, images=175)
    assert sentence.startswith(
        "A lesion is called suspicious if its calibrated probability is 12.3 % or more: sensitivity"
    )
    assert "benign clearly better than the uncalibrated one on validation" in sentence
    assert sentence.endswith("and not clearly better or worse on test (0.010 [-0.100, 0.100]).")
    worse = conclude.scale(0.1, figures | {"difference": dict.fromkeys(names, DOWN)}, OPEN, images=175)
    assert "not clearly better or worse than the uncalibrated" in worse and "and clearly worse on test" in worse


def test_the_score_that_is_deployed_is_judged_on_test_as_well():
    sentence = conclude.confidence("energy", "maximum probability", {"validation": DOWN, "test": OPEN})
    assert "uses the energy, which" in sentence and "risk is clearly lower than that of the maximum" in sentence
    assert "on validation (difference -0.200 [-0.300, -0.100]) and not clearly different from that of the" in sentence
    assert "and clearly higher than" in conclude.confidence("a", "b", {"validation": OPEN, "test": UP})


def test_strangers_and_the_answer():
    rules = pd.DataFrame({"distance": [0.02, 1.0, 0.9], "energy": [0.02, 0.1, 0.0]}, ["test images", "noise", "discs"])
    assert "Of 80 drawn pictures that show no lesion, the distance stops 76; the best" in conclude.non_lesions(
        rules, 40
    )
    assert "the energy, stops 4. The deployment's rule also stops 2 % of the test images" in conclude.non_lesions(
        rules, 40
    )
    assert "energy stops 4; the best other rule, the distance" in conclude.non_lesions(
        rules[["energy", "distance"]], 40
    )
    figures = {"coverage": UP, "error rate of answers": UP, "error rate without abstention": figure(0.3, 0.2, 0.4)}
    assert conclude.answer(figures, rules).endswith(
        "20 % of these answers are wrong, compared with 30 % if all were answered. Of drawn pictures that show no "
        "lesion, 95 % get no answer."
    )
    assert "0.200 [0.100, 0.300] of the 175 malignant images" in conclude.price_of_abstention(UP)
    assert conclude.price_of_abstention(figure(0.0, 0.0, 0.1)).startswith("None of the 175")


def test_what_passes_of_spoilt_images():

    def shares(stopped, warned, missed=0.0):
        found = {"no answer": stopped, "warning": warned, "missed": missed}
        return pd.DataFrame({name: figure(share, 0.0, 1.0) for name, share in found.items()}).T

    ways = {"as they are": shares(0.02, 0, 0.1), "grey": shares(0.9, 0), "warm": shares(0.1, 0, 0.3)}
    words = conclude.worst_fault(ways)
    assert "Of 2 ways to spoil an image, 1 are stopped" in words
    assert "way is *warm*: 0.300 [0.000, 1.000] of 175 malignant images are" in words
    assert words.endswith("compared with 0.100 [0.000, 1.000] unspoilt.")
    harmless = conclude.worst_fault(ways | {"warm": shares(0.1, 0, 0.1)})
    assert "In no way are more of the 175 malignant images called benign without a warning than unspoilt" in harmless
    assert conclude.fault_verdict(shares(0.95, 0.95)) == "stopped"
    assert conclude.fault_verdict(shares(0.1, 0.95)) == "stopped or warned of"
    assert conclude.fault_verdict(shares(0.1, 0.2)) == "72 % pass without a warning"
