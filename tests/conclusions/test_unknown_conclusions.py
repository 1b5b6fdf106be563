import pandas as pd
import pytest
from intervals import DOWN, OPEN, UP, figure

from helpers.conclusions import unknown as conclude

GOOD, WEAK, NONE = figure(0.9, 0.85, 0.95), figure(0.66, 0.62, 0.69), figure(0.52, 0.48, 0.57)


@pytest.mark.parametrize(
    ("auc", "verb", "words"),
    [(GOOD, " separates", "well"), (WEAK, "hardly separates", "weakly"), (NONE, "does not", "chance")],
)
def test_detection_is_as_good_as_its_lower_end(auc, verb, words):
    aucs = pd.DataFrame({"energy": auc, "maximum probability": figure(0.5, 0.4, 0.6)}).T
    sentence = conclude.detection(aucs, ["vasc", "df"], (1952, 257))
    assert f"Confidence{verb}" in sentence.replace("Confidence ", "Confidence", 1) or verb in sentence
    assert "vasc and df" in sentence and "the energy" in sentence and words in conclude.strength(auc)


def test_confidence_can_point_the_wrong_way():
    assert conclude.strength(figure(0.4, 0.35, 0.45)) == "more confident about the unknown"


def test_a_threshold_helps_by_all_scores_by_one_or_by_none():
    assert "does not clearly abstain more often on" in conclude.threshold({"energy": OPEN, "probability": OPEN}, 0.95)
    assert "abstains less often with the energy on" in conclude.threshold({"energy": DOWN, "probability": OPEN}, 0.95)
    assert "abstains more often with the energy on" in conclude.threshold({"energy": UP, "probability": OPEN}, 0.95)
    both = conclude.threshold({"energy": UP, "probability": UP}, 0.95)
    assert "answers 95 % of" in both and "abstains more often on unknown than on known diagnoses: share" in both
    assert (
        conclude.abstention_gap(DOWN) == "abstains more on the known"
        and conclude.abstention_gap(OPEN) == "no clear difference"
    )


def test_the_score_that_avoids_more_errors():
    means = {"maximum probability": figure(0.1, 0.09, 0.11), "energy": figure(0.12, 0.1, 0.13)}
    assert "the maximum probability avoids more" in conclude.risks(means, DOWN)
    assert "the energy avoids more" in conclude.risks(means, UP) and "neither score clearly" in conclude.risks(
        means, OPEN
    )


def test_another_source():
    assert "worse on MSK" in conclude.other_source({"MSK": DOWN, "HAM": OPEN})
    assert "not clearly worse" in conclude.other_source({"MSK": OPEN, "HAM": UP})


def test_the_title_and_the_answer():
    assert conclude.title(pd.DataFrame([GOOD, WEAK])) == "1 of 2 tell known from unknown well"
    assert conclude.title(pd.DataFrame([NONE, WEAK])).startswith("1 of 2 are better than chance, none")
    assert conclude.answer(WEAK, {"energy": OPEN}).endswith(
        "it does not clearly abstain more often on unknown than on known diagnoses."
    )
    assert "with not clearly less confidence. With a threshold on confidence, it abstains more" in conclude.answer(
        NONE, {"energy": UP}
    )
    both = conclude.answer(WEAK, {"maximum probability": UP, "energy": OPEN})
    assert both.endswith("on unknown than on known diagnoses; with one on the energy, this is not clear.")
