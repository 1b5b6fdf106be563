import numpy as np
import pandas as pd
import pytest

from helpers.sentences import (
    clear_sign,
    difference_table,
    join,
    pluralise,
    show_table,
    with_interval,
    wording,
)


def test_figures_in_words():
    figure = {"value": 0.5, "low": 0.4, "high": 0.61}
    assert with_interval(figure) == "0.500 [0.400, 0.610]" and with_interval(figure, 1) == "0.5 [0.4, 0.6]"
    assert with_interval({"value": -0.1, "low": -0.2, "high": -0.0001}) == "-0.1000 [-0.2000, -0.0001]"
    assert with_interval({"value": 0.03, "low": 0.00047, "high": 0.2}) == "0.0300 [0.0005, 0.2000]"
    assert with_interval({"value": 0.03, "low": 0.0, "high": 0.2}) == "0.030 [0.000, 0.200]"
    assert with_interval({"value": 0.03, "low": -0.0004, "high": 0.2}) == "0.030 [-0.000, 0.200]"
    assert with_interval({"value": 0.03, "low": 1e-9, "high": 0.2}) == "0.030 [0.000, 0.200]"
    assert with_interval(dict.fromkeys(figure)) == "–"
    assert with_interval({"value": 0.5, "low": None, "high": None}) == "0.500 [–]"
    assert with_interval(pd.Series(dict.fromkeys(figure, np.nan))) == "–"


@pytest.mark.parametrize(
    ("figure", "sign", "words"),
    [
        ((0.2, 0.1, 0.3), 1, "clearly more"),
        ((-0.2, -0.3, -0.1), -1, "clearly less"),
        ((0.2, -0.1, 0.3), 0, "no clear difference"),
        ((0.2, 0.0, 0.3), 0, "no clear difference"),
        ((0.2, None, None), None, "not known"),
        ((None, None, None), None, "not known"),
    ],
)
def test_a_difference_is_clear_if_its_interval_leaves_out_zero(figure, sign, words):
    difference = dict(zip(("value", "low", "high"), figure, strict=True))
    assert clear_sign(difference) == sign and wording(difference) == words


def test_lists_and_counts_read_like_prose():
    assert join([]) == "none" and join([], "no model") == "no model"
    assert join(["a"]) == "a" and join(["a", "b"]) == "a and b" and join(pd.Index(list("abc"))) == "a, b and c"
    assert join(["a", "b, c", "d"]) == "a; b, c; and d" and join(["a, b", "c"]) == "a, b and c"
    assert pluralise(1, "lesion") == "1 lesion" and pluralise(2004, "image") == "2,004 images"
    assert pluralise(0, "diagnosis", "diagnoses") == "0 diagnoses"


def test_a_table_of_sentences_is_shown_whole(monkeypatch):
    shown = []
    monkeypatch.setattr("helpers.sentences.say", shown.append)
    show_table(pd.DataFrame({"finding": ["long " * 50], "n": [3]}, index=pd.Index(["age"], name="column")))
    assert shown == [f"| column | finding | n |\n| --- | --- | --- |\n| age | {'long ' * 50} | 3 |"]


def test_each_difference_has_its_verdict():
    rows = {"a": (0.2, 0.1, 0.3), "b": (-0.2, -0.3, -0.1), "c": (0.0, -0.1, 0.1), "d": (0.2, None, None)}
    differences = pd.DataFrame(rows, ["value", "low", "high"]).T
    table = difference_table(differences, above="helps", below="hurts", unclear="unclear")
    assert table["what to make of it"].tolist() == ["helps", "hurts", "unclear", "unclear"]
    assert table.loc["b", "difference"] == "-0.200 [-0.300, -0.100]" and list(table.index) == list(rows)
