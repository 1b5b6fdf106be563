import numpy as np
import pandas as pd
import pytest
from made_up import UNDEFINED, make
from scipy.stats import binomtest

from helpers.evaluation.bootstrap import Bootstrap
from helpers.evaluation.means import (
    matched_accuracy_differences,
    mean_differences,
    means,
    proportion,
    proportions,
    standardised_differences,
)


def width(row):
    return row.high - row.low


def test_means_leave_out_unknown_values():
    lesions, values = np.repeat(np.arange(60), 2), np.random.default_rng(0).random(120)
    holes = np.where(np.arange(120) % 3, values, np.nan)
    columns = {"all": values, "holes": holes, "none": np.full(120, np.nan), "event": values > 0.5, "one": np.ones(120)}
    table = means(columns, lesions, Bootstrap(500))
    assert list(table.index) == list(columns) and list(table.columns) == ["value", "low", "high"]
    expected = [values.mean(), np.nanmean(holes), np.nan, (values > 0.5).mean(), 1]
    assert table["value"].tolist() == pytest.approx(expected, nan_ok=True)
    assert table.loc["one"].tolist() == [1, 1, 1] and table.loc["none"].isna().all()
    error = values.reshape(60, 2).mean(axis=1).std() / np.sqrt(60)  # of a mean over lesions of two images each
    assert width(table.loc["all"]) == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert width(table.loc["holes"]) > width(table.loc["all"])


def test_a_difference_of_means_is_of_the_same_resamples():
    random = np.random.default_rng(1)
    lesions, group = np.repeat(np.arange(80), 2), np.arange(160) % 2 == 0
    of_lesion = np.repeat(random.normal(size=80), 2)  # the two images of a lesion are in one group each
    columns = {"shift": of_lesion + 0.3 * group, "noise": random.normal(size=160), "none": np.where(group, np.nan, 1.0)}
    table = mean_differences(columns, group, lesions, bootstrap=Bootstrap(500))
    assert table.loc["shift"].to_numpy() == pytest.approx([0.3] * 3)
    noise, row = columns["noise"], table.loc["noise"]
    assert row.value == pytest.approx(noise[group].mean() - noise[~group].mean())
    error = np.sqrt(noise[group].var() / 80 + noise[~group].var() / 80)
    assert width(row) == pytest.approx(2 * 1.96 * error, rel=0.2)
    assert table.loc["none"].isna().all()


def test_proportions_of_all_or_nothing_have_the_exact_bound_of_the_lesions():
    lesions, bootstrap = np.repeat(np.arange(30), 2), Bootstrap(200)
    some = np.where(np.arange(60) < 20, 1.0, np.nan)
    columns = {"all": np.ones(60), "none": np.zeros(60, bool), "known of 10": some, "unknown": np.full(60, np.nan)}
    columns |= {"some": np.arange(60) < 20, "other": np.full(60, 0.5)}
    table = proportions(columns, lesions, bootstrap)
    for name, right, trials in (("all", 30, 30), ("none", 0, 30), ("known of 10", 10, 10)):
        exact = binomtest(right, trials).proportion_ci(0.95, "exact")
        assert table.loc[name, ["low", "high"]].tolist() == pytest.approx([exact.low, exact.high])
    assert table.loc["unknown"].isna().all()
    usual = {name: columns[name] for name in ("some", "other")}
    pd.testing.assert_frame_equal(table.loc[list(usual)], means(usual, lesions, bootstrap))
    assert proportion(columns["some"], lesions, bootstrap) == table.loc["some"].to_dict()
    assert proportion(np.array([]), np.array([])) == UNDEFINED


def of_strata(rows):
    """Columns group, stratum and right, a row per image, from rows (group, stratum, right answers, wrong answers)."""
    table = [(group, stratum, 1.0) for group, stratum, right, _ in rows for _ in range(right)]
    table += [(group, stratum, 0.0) for group, stratum, _, wrong in rows for _ in range(wrong)]
    return tuple(map(np.array, zip(*table, strict=True)))


def test_a_standardised_difference_has_the_mix_of_the_group():
    # In a the group is 0.25 ahead with 4 images, in b 0.5 behind with 1; c and d have images on one side only.
    rows = [(True, "a", 3, 1), (False, "a", 5, 5), (True, "b", 0, 1), (False, "b", 1, 1)]
    group, strata, right = of_strata([*rows, (False, "c", 9, 0), (True, "d", 2, 0)])
    columns = {"right": right, "none": np.full(len(group), np.nan), "of a": np.where(strata == "a", right, np.nan)}
    options = {"lesions": np.arange(len(group)), "bootstrap": Bootstrap(200)}
    table = standardised_differences(columns, group, strata, **options)
    assert table["value"].tolist() == pytest.approx([0.1, np.nan, 0.25], nan_ok=True)
    assert table.loc["right"].low < 0.1 < table.loc["right"].high and table.loc["none"].isna().all()
    assert standardised_differences(columns, group, np.where(group, "x", "y"), **options).isna().all(axis=None)
    alike = standardised_differences(columns, group, np.zeros(len(group)), **options)
    pd.testing.assert_frame_equal(alike, mean_differences(columns, group, **options))


def test_a_stratum_that_a_resample_lacks_is_left_out_of_that_resample():
    # The one lesion of a without it is missing in every third resample; what is left there, b, has no difference.
    group, strata, right = of_strata([(True, "a", 30, 0), (False, "a", 0, 1), (True, "b", 30, 0), (False, "b", 30, 0)])
    options = {"lesions": np.arange(len(group)), "bootstrap": Bootstrap(300)}
    row = standardised_differences({"right": right}, group, strata, **options).loc["right"]
    assert row.value == pytest.approx(0.5) and row.low == 0 and row.high > 0.5


def answers_of_kinds(rows):
    """Predictions from rows (label, kind, right answers, wrong answers), each image its own lesion, and the kinds."""
    table = []
    for label, kind, right, wrong in rows:
        table += [(label, kind, True)] * right + [(label, kind, False)] * wrong
    labels, kinds, right = map(np.array, zip(*table, strict=True))
    return make(labels, np.eye(2)[np.where(right, labels, 1 - labels)]), kinds


def match_kinds(first_rows, second_rows, bootstrap, chosen=None, kinds=None):
    """`matched_accuracy_differences` of `answers_of_kinds`; chosen are the images of kind 1."""
    (first, first_kinds), (second, second_kinds) = map(answers_of_kinds, (first_rows, second_rows))
    kinds = first_kinds, second_kinds if kinds is None else np.full(len(second), kinds)
    chosen = first_kinds == 1 if chosen is None else np.full(len(first), chosen)
    return matched_accuracy_differences(first, second, kinds, chosen=chosen, bootstrap=bootstrap)


def test_a_matched_difference_is_a_mean_over_labels():
    # Of label 0 the chosen are right in 1.0, their like in 0.5; of label 1 in 0.5 and 0.25. Others do as their like.
    first = [(0, 1, 40, 0), (0, 0, 10, 10), (1, 1, 5, 5), (1, 0, 4, 6)]
    second = [(0, 1, 5, 5), (0, 0, 8, 8), (1, 1, 5, 15), (1, 0, 4, 6)]
    table = match_kinds(first, second, Bootstrap(300))
    assert table["images"].to_dict() == {"chosen": 50, "others": 30, "difference": 80}
    assert np.allclose(table["value"], [0.375, 0, 0.375]) and list(table.index) == ["chosen", "others", "difference"]
    assert (table["low"] < table["value"]).all() and (table["value"] < table["high"]).all()


def test_labels_with_too_few_comparable_lesions_are_left_out():
    # Of label 1 the second set has four lesions of kind 1 only, so label 1 has no chosen images.
    rows = [(0, 1, 10, 0), (0, 0, 5, 5), (1, 1, 10, 0), (1, 0, 5, 5)], [(0, 1, 5, 5), (0, 0, 5, 5), (1, 1, 2, 2)]
    rows[1].append((1, 0, 5, 5))
    table = match_kinds(*rows, Bootstrap(50))
    assert table["images"].to_dict() == {"chosen": 10, "others": 10, "difference": 20}
    assert set(table["classes"]) == {"a"} and table.loc["difference", "value"] == pytest.approx(0.5)
    assert list(match_kinds(*rows, Bootstrap(50), chosen=False).index) == ["others"]
    nothing = match_kinds(*rows, Bootstrap(50), kinds=2)
    assert nothing.empty and list(nothing.columns) == ["value", "low", "high", "images", "classes"]
