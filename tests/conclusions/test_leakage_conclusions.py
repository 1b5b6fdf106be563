import pandas as pd
import pytest

from helpers.conclusions import leakage as conclude


def figure(value, low=None, high=None):
    return {"value": value, "low": value - 0.01 if low is None else low, "high": value + 0.01 if high is None else high}


NOTHING = figure(0.0, -0.1, 0.1)
UP, DOWN = figure(0.2), figure(-0.2)


def changes(beyond, claimed=NOTHING, true=NOTHING):
    """What one protocol changes, compared with the split by lesion."""
    return {"claimed_change": claimed, "true_change": true, "beyond": beyond}


FLATTERS = changes(UP, UP)
NONE, TRUTH, EITHER, LESS = changes(NOTHING), changes(UP, true=DOWN), changes(UP), changes(DOWN, DOWN)


def inflations(by_image, oversampled):
    """Inflations of three protocols; the arguments are the changes of two of them."""
    rows = {}
    for name, protocol in {"by lesion": NONE, "by image": by_image, "oversampled": oversampled}.items():
        rows |= {(name, "claimed"): figure(0.8), (name, "true"): figure(0.7), (name, "inflation"): figure(0.1)}
        rows |= {(name, what): one for what, one in protocol.items()}
    return pd.DataFrame(rows).T.rename_axis(["protocol", "what"]).astype(float)


@pytest.mark.parametrize(
    ("protocol", "kind", "words"),
    [
        (NONE, "unclear", "does not clearly inflate the claim: "),
        (FLATTERS, "claim", "inflates the claim: "),
        (changes(UP, UP, DOWN), "both", "inflates the claim and lowers the true score: "),
        (TRUTH, "truth", "lowers the true score without clearly raising the claim: "),
        (changes(UP, DOWN, DOWN), "truth", "lowers the true score without clearly raising the claim: "),
        (EITHER, "either", "moves claim and true score apart: "),
        (LESS, "less", "brings claim and true score closer together: "),
        (changes(NOTHING, UP, UP), "unclear", "does not clearly inflate the claim: "),
    ],
)
def test_a_verdict_says_which_of_the_two_scores_changes(protocol, kind, words):
    table = inflations(protocol, NONE)
    assert conclude.effects(table) == {"by image": kind, "oversampled": "unclear"}
    sentence = conclude.split_by_image(table)
    assert sentence.startswith(f"Splitting by image alone {words}")
    figures = [f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]" for one in protocol.values()]
    assert all(text in sentence for text in figures) and conclude.READINGS.keys() == conclude.VERBS.keys()


def test_an_interval_that_ends_at_zero_is_not_clear_and_one_that_hardly_leaves_it_out_shows_it():
    touching, leaving = (changes(figure(0.03, low, 0.066), UP) for low in (0.0, 0.0004670))
    assert conclude.effect(inflations(touching, NONE), "by image") == "unclear"
    table = inflations(leaving, NONE)
    assert conclude.effect(table, "by image") == "claim" and "[0.0005, 0.0660]" in conclude.split_by_image(table)


def test_the_worst_protocol_is_only_named_so_if_it_flatters():
    less = changes(figure(0.05), figure(0.05))
    assert "*oversampled* flatters most and inflates the claim" in conclude.worst_protocol(inflations(less, FLATTERS))
    assert "*by image* flatters most and lowers the true" in conclude.worst_protocol(inflations(TRUTH, less))
    wide = changes(figure(0.2, -0.1, 0.5))
    assert conclude.worst_protocol(inflations(NONE, wide)).startswith(
        "No protocol clearly flatters. The largest effect is that of *oversampled*"
    )


def test_choosing_the_epoch_on_test_is_judged_by_both_scores():
    def sentence(*two):
        return conclude.choice_on_test(inflations(changes(*two), FLATTERS), (8, 6))

    assert sentence(UP).startswith("Validation keeps epoch 8, test keeps epoch 6.")
    assert "(no clear change), the true one by -0.200 [-0.210, -0.190] (clearly lower)." in sentence(UP, NOTHING, DOWN)
    assert "0.200 [0.190, 0.210] (clearly higher), the true" in sentence(UP, UP, NOTHING)


def test_a_small_study_says_what_it_cannot_show():
    coarse, fine = figure(0.1, -0.1, 0.3), figure(0.0, -0.05, 0.05)
    text = conclude.resolution(inflations(changes(coarse), changes(coarse)), 141)
    assert text.startswith("On 141 unseen images, an inflation has to exceed about 0.20") and "Smaller ones" in text
    assert conclude.resolution(inflations(changes(fine), changes(fine)), 2004).endswith(
        "has to exceed about 0.05 to be clear."
    )


def both(accuracy, balanced):
    return {"accuracy": figure(accuracy), "balanced_accuracy": figure(balanced)}


def test_the_goal_is_reached_or_not_and_both_accuracies_stand_on_both_sides():
    reached = conclude.beside_goal(both(0.95, 0.93), both(0.8, 0.6), "CNN-LSTM")
    assert (
        "CNN-LSTM reaches the promised 94 %: it claims an accuracy of 0.950 [0.940, 0.960], balanced 0.930" in reached
    )
    assert reached.endswith("on unseen lesions it has 0.800 [0.790, 0.810], balanced 0.600 [0.590, 0.610].")
    for below in (0.88, 0.935):  # the interval of the second includes 0.94
        assert "does not reach" in conclude.beside_goal(both(below, 0.95), both(0.8, 0.6), "CNN-LSTM")


def test_the_answer_turns_round():
    goals = {"CNN-LSTM": (both(0.95, 0.94), both(0.72, 0.6)), "MobileNet": (both(0.93, 0.96), both(0.75, 0.7))}
    said = conclude.answer(goals, inflations(NONE, FLATTERS))
    assert said.startswith("By copying rare images") and "the CNN-LSTM then claims an accuracy of 0.950, the" in said
    assert (
        "the MobileNet 0.930. On unseen lesions the balanced accuracy of the CNN-LSTM goes from 0.940 to 0.600 ["
        in said
    )
    assert "its accuracy from 0.950 to 0.720. Splitting" in said
    assert said.endswith("Splitting by image alone does not clearly inflate the claim.")
    assert conclude.answer(goals, inflations(FLATTERS, NONE)).endswith("alone inflates the claim.")
    below = conclude.answer({"CNN": (both(0.935, 0.95), both(0.5, 0.4))}, inflations(NONE, NONE))
    assert below.startswith("Not in this study:") and "the CNN claims less than 94 %, an accuracy of 0.935" in below


@pytest.mark.parametrize(("share", "words"), [(0, "clean"), (0.34, "part"), (0.77, "most")])
def test_sharing_in_words(share, words):
    assert conclude.sharing(share).startswith(words)


def test_the_title_counts_the_protocols_by_what_changes():
    assert conclude.title(inflations(NONE, FLATTERS)) == "1 of 2 protocols clearly inflates the claim"
    assert conclude.title(inflations(changes(UP, UP, DOWN), FLATTERS)) == "2 of 2 protocols clearly inflate the claim"
    none = "None of 2 protocols clearly inflates the claim"
    assert conclude.title(inflations(NONE, EITHER)) == none
    assert conclude.title(inflations(NONE, TRUTH)) == f"{none}; 1 only lowers the true score"
    assert conclude.title(inflations(TRUTH, TRUTH)) == f"{none}; 2 only lower the true score"


def test_where_the_inflation_sits():
    def table(one, other):
        rows = {("a", "difference"): one, ("b", "difference"): other, ("b", "not seen"): NOTHING}
        return pd.DataFrame({key: row | {"images": 1200} for key, row in rows.items()}).T

    one = conclude.advantage_of_seen(table(figure(0.2), NOTHING))
    assert "answered clearly more accurately" in one and one.count("*a*") == 1 and "*b*" not in one
    assert one.endswith("not, in 1 of 2 protocols: by 0.200 [0.190, 0.210] for *a*.")
    assert conclude.matched_title(table(figure(0.2), NOTHING)).endswith("better in 1 of 2 protocols")
    assert "for *a* and 0.300 [0.290, 0.310] for *b*." in conclude.advantage_of_seen(table(figure(0.2), figure(0.3)))
    assert conclude.advantage_of_seen(table(NOTHING, NOTHING)).startswith("For no protocol are claimed images")
    assert "the differences are 0.000 [-0.100, 0.100] for *a* and" in conclude.advantage_of_seen(
        table(NOTHING, NOTHING)
    )
    assert "the difference is 0.000" in conclude.advantage_of_seen(table(NOTHING, NOTHING).iloc[1:])
    assert "enough comparable images" in conclude.advantage_of_seen(table(NOTHING, NOTHING).iloc[2:])
    counts = conclude.comparable_images(table(NOTHING, NOTHING), {"a": 2005, "b": 1300})
    assert counts == "Claimed images that could be compared: 1,200 of 2,005 for *a* and 1,200 of 1,300 for *b*."


def test_the_title_by_epoch_names_what_is_loudest():
    def history(claimed, test):
        table = pd.DataFrame({"claimed_accuracy": claimed, "test_accuracy": test, "val_balanced_accuracy": claimed})
        return table.assign(claimed_balanced_accuracy=0.9, test_balanced_accuracy=0.4)

    quiet, loud = history([0.5, 0.6], [0.5, 0.6]), history([0.5, 0.95, 0.9], [0.5, 0.7, 0.6])
    title = conclude.epochs_title({"quiet": quiet, "loud": loud})
    kept = "the epoch that is kept claims 0.95 (balanced 0.90); on unseen lesions it has 0.70 (balanced 0.40)"
    assert title == f"loud: {kept}"
