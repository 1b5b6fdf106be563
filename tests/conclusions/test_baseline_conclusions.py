import pandas as pd
import pytest

from helpers.conclusions import baseline as conclude


def figure(value, half=0.01):
    return {"value": value, "low": value - half, "high": value + half}


@pytest.mark.parametrize(
    ("lead", "verb", "more"),
    [
        (figure(0.2), "beats", "clearly more than"),
        (figure(-0.2), "loses to", "clearly less than"),
        (figure(0.02, 0.1), "cannot be separated from", "not clearly more than"),
    ],
)
def test_the_cnn_is_judged_beside_the_colours(lead, verb, more):
    sentence = conclude.beside_colour(lead, figure(0.4), 2004, trainings=3)
    assert sentence.startswith(f"The CNN {verb} a logistic") and "(mean of 3 trainings, 2,004 test images)" in sentence
    answer = conclude.answer(figure(0.6), lead, figure(0.4), trainings=1, images=141)
    assert "of 0.600 [0.590, 0.610] on 141 images of unseen lesions (one training), " in answer
    assert answer.endswith(f", {more} a logistic regression on colour (0.400).")


def test_all_classes_that_share_the_lowest_area_are_named():
    areas = {"nv": {"auc": 0.951}, "mel": {"auc": 0.881}, "bkl": {"auc": 0.884}, "malignant": {"auc": 0.1}}
    assert conclude.lowest(areas, ["nv", "mel", "bkl"]) == "mel and bkl"
    assert conclude.lowest(areas | {"bkl": {"auc": 0.886}}, ["nv", "mel", "bkl"]) == "mel"


def test_the_hardest_diagnosis_is_the_one_with_the_lowest_recall():
    counts = pd.DataFrame([[5, 3, 1], [0, 1, 0], [2, 1, 7]], ["nv", "df", "mel"], ["nv", "df", "mel"])
    recalls = {"nv": figure(0.56), "df": figure(1.0), "mel": figure(0.7)}
    assert (
        "(seed 0) is nv, with a recall of 0.56 [0.55, 0.57] on 9 test images; it is most often taken for df (3 of 9)."
        in conclude.hardest(recalls, counts, "CNN (seed 0)")
    )
    turned = conclude.hardest(recalls | {"mel": figure(0.5)}, counts, "CNN (seed 0)")
    assert "is mel, with" in turned and "taken for nv (2 of 10)." in turned
    assert conclude.hardest({"df": figure(1.0)}, counts, "CNN").endswith("on 1 test image; it is never missed.")


def test_all_classes_that_a_diagnosis_is_equally_often_taken_for_are_named():
    counts = pd.DataFrame([[9, 5, 5, 4]], ["df"], ["df", "akiec", "bcc", "nv"])
    assert conclude.taken_for(counts, "df") == "most often taken for akiec and bcc"
    sentence = conclude.hardest({"df": figure(0.39)}, counts, "CNN")
    assert sentence.endswith("on 23 test images; it is most often taken for akiec and bcc (5 of 23 each).")


@pytest.mark.parametrize(
    ("excess", "words"),
    [
        (figure(0.1), "overconfident on average"),
        (figure(-0.1), "underconfident on average"),
        (figure(0.0), "about as confident as it is right on average"),
    ],
)
def test_confidence_is_held_beside_accuracy(excess, words):
    sentence = conclude.confidence(excess, 0.6, "CNN", images=141)
    assert (
        f"mean probability of {60 + 100 * excess['value']:.0f} %, and 60 % of them are right, so it is {words}:"
        in sentence
    )


def test_the_threshold_is_judged_on_test():
    test = {"macro_auc": figure(0.9), "malignant_auc": figure(0.8)}
    test |= {"malignant_sensitivity": figure(0.7), "malignant_specificity": figure(0.6)}
    sentence = conclude.malignancy(test, "CNN (seed 0)", 141, sensitivity=0.9)
    assert sentence.startswith("The CNN (seed 0) has a macro AUC of 0.900") and "for a sensitivity of 90 %" in sentence
    assert "on test is 0.70 [0.69, 0.71] and its specificity 0.60 [0.59, 0.61] (141 test images)." in sentence
