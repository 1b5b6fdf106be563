import pandas as pd
from intervals import figure

from helpers.conclusions import tuning as conclude

FOLDS = pd.DataFrame({"kind": ["CNN"] * 2 + ["MobileNet"] * 2, "fold": [0, 1] * 2, "value": [0.5, 0.52, 0.60, 0.66]})


def pairs(*rows):
    columns = ["first", "second", "value", "low", "high", "folds_won"]
    return pd.DataFrame(rows, columns=columns)


def test_the_widest_spread_is_named():
    sentence = conclude.spread(FOLDS, 100)
    assert "balanced accuracy of the MobileNet ranges from 0.600 to 0.660 (2 folds" in sentence
    assert "100 images" in sentence and conclude.title(FOLDS).endswith("up to 0.060")


def test_the_better_network_comes_first():
    table = pairs(("CNN", "MobileNet", -0.1, -0.13, -0.08, 0), ("CNN", "CNN-LSTM", 0.01, -0.001, 0.03, 4))
    assert conclude.order(table, 5) == (
        "The MobileNet beats the CNN (0.100 [0.080, 0.130], ahead in 5 of 5 folds); the CNN cannot be separated from "
        "the CNN-LSTM (0.010 [-0.001, 0.030], ahead in 4 of 5 folds)."
    )
    readings = [conclude.reading(row) for row in table.to_dict("records")]
    assert readings == ["MobileNet is better", "no winner"]


def test_the_search_helps_hurts_or_does_neither():
    for test, verb in (((0.1, 0.05, 0.2), "improves"), ((-0.1, -0.2, -0.05), "worsens"), ((0, -0.1, 0.1), "does not")):
        gain = {"test": figure(*test), "validation": figure(0.01, -0.05, 0.08)}
        assert f"12 trials {verb}" in conclude.gain_of_search(gain, "CNN-LSTM", 12)


def test_the_answer_turns_round():
    clear, open_ = ("A", "B", 0.1, 0.05, 0.2, 2), ("B", "C", 0.0, -0.1, 0.1, 1)
    nothing, helps = figure(0, -0.1, 0.1), figure(0.1, 0.05, 0.2)
    same = conclude.answer(FOLDS, pairs(clear), nothing)
    assert same.startswith("Other test lesions move the balanced accuracy of a network by up to 0.060, but the order")
    assert same.endswith("is the same in every fold. The search found nothing that clearly helps on test.")
    changes = conclude.answer(FOLDS, pairs(clear, open_), helps)
    assert "order of networks (B minus C is 0.000 [-0.100, 0.100] over all folds, above zero in 1 of 2)" in changes
    assert "A minus B" not in changes and "Better hyperparameters help" in changes
    assert "order" not in conclude.answer(FOLDS, pairs(), helps)
    assert "hurts on test" in conclude.answer(FOLDS, pairs(clear), figure(-0.1, -0.2, -0.05))
