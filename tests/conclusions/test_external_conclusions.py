from intervals import DOWN, OPEN, UP, figure

from helpers.conclusions import external


def test_calibration_elsewhere():
    sentence = external.calibration({"A": UP, "B": DOWN, "C": OPEN}, {"A": 1000, "B": 2, "C": 3})
    assert "is on average too high on A (0.200 [0.100, 0.300], n = 1,000); too low on B (" in sentence
    assert "and not clearly too high or too low on C (0.010" in sentence


def test_abstention_elsewhere_is_judged_beside_that_inside():
    sentence = external.abstention({"internal test": figure(0.05, 0.04, 0.06), "A": UP, "B": figure(0.05, 0.02, 0.09)})
    assert sentence.startswith("The model abstains on 0.050 [0.040, 0.060] of the images of the internal test, more ")
    assert sentence.endswith(
        "often on A (0.200 [0.100, 0.300]) and not clearly more or less often on B (0.050 [0.020, 0.090])."
    )


def test_the_answer_says_what_is_lower_where_and_what_the_mix_of_diagnoses_explains():
    auc, recall = {"A": DOWN, "B": DOWN, "C": OPEN}, {"A": OPEN, "B": OPEN, "C": DOWN}
    text = external.answer("CNN", {"AUC": auc, "sensitivity": recall}, {"A": OPEN, "B": DOWN, "C": DOWN})
    assert text.startswith("No. For CNN, these scores are clearly lower: AUC on A and B and sensitivity on C. With")
    assert text.endswith("With the study's mix of diagnoses, AUC stays clearly lower on B.")
    explained = external.answer("CNN", {"AUC": {"A": DOWN}}, {"A": OPEN})
    assert explained.endswith("AUC on A. With the study's mix of diagnoses, AUC is no longer clearly lower there.")
    other = external.answer("CNN", {"AUC": {"A": OPEN}, "sensitivity": {"A": DOWN}}, {"A": DOWN})
    assert other.endswith("sensitivity on A. AUC is clearly lower on none.")
    assert external.answer("CNN", {"AUC": {"A": DOWN, "B": OPEN}}, {"A": OPEN}).startswith("Not everywhere. For CNN")
    holds = external.answer("CNN", {"AUC": {"A": OPEN, "B": UP}, "sensitivity": {"A": UP, "B": OPEN}}, {})
    assert holds.endswith("no figure of CNN is clearly lower on any of them (AUC and sensitivity).")
