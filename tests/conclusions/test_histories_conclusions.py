import pytest
from intervals import DOWN, OPEN, UP

from helpers.conclusions import histories as conclude


def test_a_gain_is_put_down_to_photographs_only_beyond_the_control():
    assert conclude.reading(OPEN, UP) == "no clear gain" and conclude.reading(DOWN) == "worse than one image"
    assert conclude.reading(UP, UP) == "better, thanks to the photographs"
    assert conclude.reading(UP, OPEN) == "better, but not clearly due to the photographs"
    assert conclude.reading(UP) == "better than one image"


@pytest.mark.parametrize(("gain", "verb"), [(UP, "LSTM is better"), (DOWN, "is worse"), (OPEN, "is not clearly")])
def test_photographs_in_a_sentence(gain, verb):
    sentence = conclude.photographs(gain, OPEN, 1496)
    assert verb in sentence and "1,496 test lesions" in sentence and "is not clearly larger" in sentence
    assert "is larger on" in conclude.photographs(gain, UP, 1) and ";" not in conclude.photographs(gain, None, 1)


@pytest.mark.parametrize(("gain", "verb"), [(UP, "one image helps"), (DOWN, "hurts"), (OPEN, "no clear difference")])
def test_patients_in_a_sentence(gain, verb):
    assert verb in conclude.patients(gain, UP)


def test_the_order_helps_hurts_or_cannot_be_judged():
    assert "visits helps" in conclude.order(UP, True) and "not dated, hurts" in conclude.order(DOWN, False)
    assert "no clear difference" in conclude.order(OPEN, True) and "cannot be judged" in conclude.order(None, True)


def test_the_answer_turns_round():
    assert conclude.answer(UP, UP, UP).startswith("Several photographs are better than one. Adding")
    assert "but not clearly because of" in conclude.answer(UP, OPEN, OPEN)
    assert "are not clearly better than one" in conclude.answer(OPEN, UP, UP)
    assert conclude.answer(DOWN, OPEN, OPEN).endswith("site makes no clear difference.")


def test_the_title_counts():
    assert conclude.title({"a": OPEN, "b": DOWN}) == "None of 2 variants is clearly better on all lesions"
    assert conclude.title({"a": UP, "b": UP}) == "2 of 2 variants are clearly better on all lesions"


def test_what_the_reference_gives_away():
    assert "37 % of the images" in conclude.histology({True: 0.37, False: 0.0})
    assert "does not say" in conclude.histology({True: 0.3})


def test_a_network_without_the_patient():
    assert conclude.without_patient(DOWN).startswith(
        "falls below"
    ) and "no clear difference" in conclude.without_patient(OPEN)
    assert conclude.without_patient(UP).startswith("still better")
