import pandas as pd
import pytest

from helpers.conclusions import leakage as conclude


def figure(value, low=None, high=None):
    return {"value": value, "low": value - 0.01 if low is None else low, "high": value + 0.01 if high is None else high}


def inflations(by_image, oversampled):
    """Inflations of three protocols; the arguments are those of two of them beyond the split by lesion."""
    rows = {}
    for name, beyond in {"by lesion": figure(0, 0, 0), "by image": by_image, "oversampled": oversampled}.items():
        rows |= {(name, "claimed"): figure(0.8), (name, "true"): figure(0.7)}
        rows |= {(name, "inflation"): figure(0.1), (name, "beyond"): beyond}
    return pd.DataFrame(rows).T.rename_axis(["protocol", "what"]).astype(float)


@pytest.mark.parametrize(
    ("beyond", "words"),
    [
        (figure(0.0, -0.064, 0.062), "does not clearly inflate the score"),
        (figure(0.1), "alone inflates the score"),
        (figure(-0.1), "lowers the score"),
    ],
)
def test_the_split_by_image_is_judged_by_its_interval(beyond, words):
    sentence = conclude.split_by_image(inflations(beyond, figure(0.2)))
    assert words in sentence and f"[{beyond['low']:.3f}, {beyond['high']:.3f}]" in sentence


def test_the_worst_protocol_is_only_named_so_if_it_flatters():
    assert "*oversampled* inflates the score most" in conclude.worst_protocol(inflations(figure(0.05), figure(0.2)))
    assert "*by image* inflates the score most" in conclude.worst_protocol(inflations(figure(0.3), figure(0.2)))
    assert "No protocol clearly" in conclude.worst_protocol(inflations(figure(0.0, -0.1, 0.1), figure(0.2, -0.1, 0.5)))


def test_a_small_study_says_what_it_cannot_show():
    coarse, fine = figure(0.1, -0.1, 0.3), figure(0.0, -0.05, 0.05)
    text = conclude.resolution(inflations(coarse, coarse), 141)
    assert text.startswith("On 141 unseen images, an inflation has to exceed about 0.20") and "Smaller ones" in text
    assert conclude.resolution(inflations(fine, fine), 2004).endswith("has to exceed about 0.05 to be clear.")


def test_the_goal_is_reached_or_not():
    assert "CNN-LSTM reaches the published 94 %" in conclude.goal_reached(figure(0.95), figure(0.7), "CNN-LSTM")
    for below in (figure(0.88), figure(0.935)):  # the interval of the second includes 0.94
        assert "does not reach" in conclude.goal_reached(below, figure(0.7), "CNN-LSTM")


def test_the_answer_turns_round():
    goals = {"CNN-LSTM": (figure(0.95), figure(0.72)), "MobileNet": (figure(0.93), figure(0.75))}
    unclear = figure(0.0, -0.1, 0.1)
    assert "are enough together to claim an accuracy of 0.950 (CNN-LSTM); on unseen lesions 0.720" in conclude.answer(
        goals, unclear
    )
    assert "alone does not clearly inflate the score." in conclude.answer(goals, unclear)
    assert "alone also inflates the score." in conclude.answer(goals, figure(0.1))
    assert "do not reach 94 % here" in conclude.answer({"CNN": (figure(0.935), figure(0.5))}, unclear)


@pytest.mark.parametrize(("share", "words"), [(0, "clean"), (0.34, "part"), (0.77, "most")])
def test_sharing_in_words(share, words):
    assert conclude.sharing(share).startswith(words)


def test_a_protocol_in_words():
    assert conclude.reading(figure(0.1)) == "flatters" and conclude.reading(figure(-0.1)) == "flatters less"
    assert conclude.reading(figure(0.1, -0.1, 0.3)) == "no clear effect"


def test_the_title_counts_the_protocols_that_flatter():
    nothing = figure(0.0, -0.1, 0.1)
    assert conclude.title(inflations(nothing, figure(0.2))) == "1 of 2 protocols clearly inflates the score"
    assert conclude.title(inflations(figure(0.1), figure(0.2))) == "2 of 2 protocols clearly inflate the score"
    assert conclude.title(inflations(nothing, nothing)) == "None of 2 protocols clearly inflates the score"


def test_where_the_inflation_sits():
    nothing = figure(0.0, -0.1, 0.1)

    def found(one, other):
        return pd.DataFrame({("a", "difference"): one, ("b", "difference"): other, ("b", "not seen"): nothing}).T

    assert conclude.where_it_sits(found(figure(0.2), nothing)).startswith("For *a*, claimed images")
    assert conclude.matched_title(found(figure(0.2), nothing)).endswith("better in 1 of 2 protocols")
    assert conclude.where_it_sits(found(figure(0.2), figure(0.3))).startswith("For *a* and *b*, claimed images")
    assert conclude.where_it_sits(found(nothing, nothing)).startswith("For no protocol are claimed images")
    assert "enough comparable images" in conclude.where_it_sits(found(nothing, nothing).iloc[2:])


def test_the_title_by_epoch_names_what_is_loudest():
    def history(claimed, test):
        return pd.DataFrame({"claimed_accuracy": claimed, "test_accuracy": test, "val_balanced_accuracy": claimed})

    quiet, loud = history([0.5, 0.6], [0.5, 0.6]), history([0.5, 0.95, 0.9], [0.5, 0.7, 0.6])
    title = conclude.epochs_title({"quiet": quiet, "loud": loud})
    assert title == "loud: the epoch that is kept claims 0.95; on unseen lesions it has 0.70"
