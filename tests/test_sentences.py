import numpy as np
import pandas as pd
import pytest

from helpers.sentences import clear_sign, with_interval, wording


def test_figures_in_words():
    figure = {"value": 0.5, "low": 0.4, "high": 0.61}
    assert with_interval(figure) == "0.500 [0.400, 0.610]" and with_interval(figure, 1) == "0.5 [0.4, 0.6]"
    assert with_interval({"value": -0.1, "low": -0.2, "high": -0.0001}) == "-0.100 [-0.200, -0.000]"
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
