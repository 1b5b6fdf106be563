import numpy as np
import pytest
from made_up import answers

from helpers.evaluation.bootstrap import Bootstrap, estimate, interval
from helpers.evaluation.scores import measure


def test_images_of_a_lesion_have_one_weight():
    weights = Bootstrap(3000).weights(np.array(["b", "a", "b", "c", "a", "b"]))
    assert weights.shape == (3001, 6) and weights.dtype == np.uint8 and (weights[0] == 1).all()
    assert (weights[:, [0, 0, 1]] == weights[:, [2, 5, 4]]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()  # as many lesions are drawn as there are
    assert weights.mean(axis=0) == pytest.approx(np.ones(6), abs=0.06)
    assert weights[:, 3].var() == pytest.approx(2 / 3, abs=0.06)  # multinomial: 3 draws, each with chance 1/3


def test_weights_depend_on_seed_and_lesions_alone():
    lesions, order = np.random.default_rng(0).integers(50, size=80), np.random.default_rng(1).permutation(80)
    weights = Bootstrap(100, seed=3).weights(lesions)
    assert (Bootstrap(100, seed=3).weights(lesions[order]) == weights[:, order]).all()
    assert (Bootstrap(100, seed=3).independent().weights(lesions) != weights).any()


def test_interval_is_the_percentiles_of_defined_values():
    assert interval(np.arange(1001.0)) == pytest.approx((25, 975))
    assert interval(np.array([np.nan, *np.arange(101.0)])) == pytest.approx((2.5, 97.5))
    assert np.isnan(interval(np.full(3, np.nan))).all()


def test_an_estimate_has_none_for_what_is_undefined():
    assert estimate(np.array([5.0, *np.arange(101.0)])) == pytest.approx({"value": 5.0, "low": 2.5, "high": 97.5})
    assert estimate(np.array([5.0, np.nan, np.nan])) == {"value": 5.0, "low": None, "high": None}
    assert estimate(np.array([np.nan, 1.0, 2.0])) == {"value": None, "low": None, "high": None}


def test_interval_covers_the_truth_when_resampled_by_lesion_and_not_by_image():
    """80 lesions of 1 to 7 images; of a lesion all images are right (chance 0.7) or all are wrong."""
    random, covered = np.random.default_rng(0), np.zeros(2)
    for study in range(200):
        lesions = np.repeat(np.arange(80), random.integers(1, 8, 80))
        right = (random.random(80) < 0.7)[lesions]
        for way, units in enumerate((lesions, np.arange(len(right)))):
            found = measure(answers(right, units), "accuracy", bootstrap=Bootstrap(200, study))
            covered[way] += found["low"] <= 0.7 <= found["high"]
    assert 0.90 < covered[0] / 200 < 0.985
    assert covered[1] / 200 < 0.75
