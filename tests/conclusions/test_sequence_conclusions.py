import pytest

from helpers.conclusions import sequence as conclude


def figure(value, half=0.01):
    return {"value": value, "low": value - half, "high": value + half}


UP, DOWN, NOTHING = figure(0.2), figure(-0.2), figure(0.02, 0.1)


@pytest.mark.parametrize(("gap", "words"), [(UP, "helps"), (DOWN, "hurts"), (NOTHING, "makes no clear difference")])
def test_the_order_is_judged_by_its_interval(gap, words):
    sentence = conclude.natural_order(gap, "CNN-LSTM, which reads 9 steps", 2004)
    assert f"the natural order {words}: natural" in sentence and sentence.endswith("] on 2,004 test images.")


def test_controls_are_grouped_by_who_wins():
    def sentence(*gaps):
        return conclude.beside_controls(dict(zip(conclude.CONTROLS, gaps, strict=False)), "CNN-LSTM", 141)

    none = sentence(NOTHING, NOTHING, NOTHING)
    assert none.startswith("The CNN-LSTM cannot be separated from any of its three controls: a pooled head with")
    assert none.count("0.020 [-0.080, 0.120]") == 3
    assert sentence(UP, UP, UP).startswith("The CNN-LSTM beats all three of its controls: ")
    assert sentence(DOWN, DOWN, DOWN).startswith("The CNN-LSTM loses to all three of its controls: ")
    mixed = sentence(UP, DOWN, NOTHING)
    assert mixed.startswith("The CNN-LSTM beats a pooled head with as many weights (0.200 [0.190, 0.210]); loses to an")
    assert "once (-0.200 [-0.210, -0.190]); and cannot be separated from an LSTM" in mixed
    assert sentence(UP, NOTHING).count("control") == 0


@pytest.mark.parametrize(
    ("gap", "trained", "words"),
    [
        (UP, (3, 3), ("beats the plain CNN", "(3 trainings of each).")),
        (DOWN, (1, 1), ("loses to the plain CNN", "(one training of each).")),
        (NOTHING, (3, 1), ("cannot be separated from the plain CNN", "(3 and 1 trainings).")),
    ],
)
def test_the_plain_cnn_is_compared_by_all_trainings(gap, trained, words):
    sentence = conclude.beside_plain(gap, "CNN-LSTM", 2004, trained=trained)
    assert words[0] in sentence and sentence.endswith(words[1])
    assert ("was trained once, so" in conclude.repetitions("CNN-LSTM", trained)) == (trained == (1, 1))


@pytest.mark.parametrize(
    ("pooled", "fixed", "plain", "start"),
    [
        (UP, UP, UP, "Yes: the CNN-LSTM beats"),
        (UP, NOTHING, UP, "Yes: the CNN-LSTM beats"),
        (UP, UP, NOTHING, "Not clearly: the CNN-LSTM beats"),
        (NOTHING, UP, UP, "Not clearly: the CNN-LSTM cannot be separated from"),
        (UP, UP, DOWN, "No: the CNN-LSTM beats"),
        (NOTHING, DOWN, UP, "No: the CNN-LSTM cannot be separated from"),
        (DOWN, UP, UP, "No: the CNN-LSTM loses to"),
    ],
)
def test_the_answer_turns_round(pooled, fixed, plain, start):
    sentence = conclude.answer({"pooled": pooled, "fixed": fixed, "fresh": UP}, plain, "CNN-LSTM")
    assert sentence.startswith(f"{start} a pooled head with as many weights (")
    assert f"reads the feature map {conclude.order(fixed)} (" in sentence
    assert f"and it {conclude.rank(plain)} the plain CNN of 03 (" in sentence
