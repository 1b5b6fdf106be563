import pytest
from intervals import DOWN, NOTHING, OPEN, UP, table

from helpers.conclusions import maps


def test_a_coarse_map_shows_no_structure():
    assert "which part of the image" in maps.resolution(4, 112) and "16 px" in maps.resolution(7, 112)


def test_a_map_is_judged_against_the_blob():
    assert [maps.against_blob(lead).split()[0] for lead in (UP, DOWN, OPEN)] == ["better", "worse", "not"]
    title = maps.blob_title({"mass": table(a=UP, b=DOWN), "pointing game": table(a=OPEN, b=OPEN)})
    assert title.endswith("1 of 2 by mass and none of 2 by pointing game")


def test_the_sanity_checks_pass_or_fail():
    assert maps.after_randomisation(OPEN).startswith("passed") and maps.after_randomisation(DOWN).startswith("passed")
    assert maps.after_randomisation(UP).startswith("failed") and maps.after_randomisation(NOTHING).startswith("there")
    assert maps.under_turns(UP).startswith("failed") and maps.under_turns({**UP, "low": 0.8}).startswith("passed")


def test_agreement_is_not_claimed_at_a_quarter():
    assert "disagree: the closest pair has a rank correlation of 0.26" in maps.agreement(
        table(a={"value": 0.256, "low": 0.216, "high": 0.297}, b={"value": 0.08, "low": 0.06, "high": 0.1})
    )
    assert "show much the same" in maps.agreement(table(a={"value": 0.9, "low": 0.85, "high": 0.95}))


@pytest.mark.parametrize(
    ("leads", "words"),
    [
        ((UP, UP), "on 2 of 2 measures and worse on 0: "),
        ((UP, OPEN), "on 1 of 2 measures and worse on 0: "),
        ((DOWN, OPEN), "on 0 of 2 measures and worse on 1: "),
    ],
)
def test_the_verdict_turns_round(leads, words):
    sentence = maps.verdict(dict(zip(("mass", "game"), leads, strict=True)), "Grad-CAM", "CNN")
    assert words in sentence and "175 test images" in sentence


def test_turning():
    assert "does not turn with" in maps.turning(UP, "Grad-CAM", "CNN") and "does not turn" in maps.turning(
        NOTHING, "Grad-CAM", "CNN"
    )
    assert "CNN turns with" in maps.turning({**UP, "low": 0.9}, "Grad-CAM", "CNN")


def test_the_answer():
    assert maps.answer({"mass": UP, "game": OPEN}, "CNN").startswith("Not reliably: Grad-CAM of the CNN beats a blob")
    assert "on none of 2" in maps.answer({"mass": DOWN, "game": OPEN}, "CNN")
    assert maps.answer({"mass": UP, "game": UP}, "CNN").startswith("As far as these tests go")
