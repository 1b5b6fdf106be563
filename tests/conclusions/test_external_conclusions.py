from intervals import DOWN, OPEN, UP

from helpers.conclusions import external


def test_calibration_elsewhere():
    sentence = external.calibration({"A": UP, "B": DOWN, "C": OPEN}, {"A": 1000, "B": 2, "C": 3})
    assert "is on average too high on A (0.200 [0.100, 0.300], n = 1,000); too low on B (" in sentence
    assert "and not clearly too high or too low on C (0.010" in sentence


def test_the_answer_says_what_the_mix_of_diagnoses_explains():
    text = external.answer("CNN", {"A": DOWN, "B": DOWN, "C": OPEN}, {"A": OPEN, "B": DOWN, "C": DOWN})
    assert "clearly lower on A and B and not clearly lower on C. With" in text
    assert text.endswith("With the study's mix of diagnoses it stays clearly lower on B.")
    explained = external.answer("CNN", {"A": DOWN}, {"A": OPEN})
    assert explained.endswith(
        "clearly lower on A. With the study's mix of diagnoses it is no longer clearly lower there."
    )
    assert external.answer("CNN", {"A": OPEN, "B": UP}, {"A": DOWN, "B": DOWN}).startswith(
        "As far as these sets show, yes"
    )
