import numpy as np
import pytest
from made_up import HAM10000, MALIGNANT, answers, make, random_predictions, width

from helpers.evaluation import comparison
from helpers.evaluation.bootstrap import Bootstrap
from helpers.evaluation.comparison import mcnemar, mean_over_seeds, paired_difference, resampled_scores
from helpers.evaluation.predictions import Predictions
from helpers.evaluation.scores import measure
from helpers.study import StudyError


def test_pairs_are_sharper_than_two_intervals():
    p, rounded, bootstrap = random_predictions(500, 13), random_predictions(500, 13, digits=1), Bootstrap(500)
    assert paired_difference(p, p, "balanced_accuracy", bootstrap=bootstrap) == {"value": 0.0, "low": 0.0, "high": 0.0}
    difference = paired_difference(p, rounded, "brier", bootstrap=bootstrap)
    first, second = (measure(model, "brier", bootstrap=bootstrap) for model in (p, rounded))
    assert difference["value"] == pytest.approx(first["value"] - second["value"])
    assert width(difference) < 0.5 * np.hypot(width(first), width(second))


def test_only_predictions_for_the_same_images_are_compared():
    p = random_predictions(50, 0)
    reversed_lesions = Predictions(p.labels, p.probabilities, p.lesions[::-1], HAM10000, MALIGNANT)
    for other in (random_predictions(50, 1), reversed_lesions):
        with pytest.raises(StudyError, match="same images in the same order"):
            paired_difference(p, other, "accuracy")


def test_an_unpaired_difference_has_the_error_of_both_sets():
    first, second = (answers(np.arange(count) < 0.8 * count) for count in (150, 200))
    found = comparison.unpaired_difference(first, second, "accuracy", bootstrap=Bootstrap(1000))
    assert found["value"] == pytest.approx(0)
    assert width(found) == pytest.approx(2 * 1.96 * np.sqrt(0.8 * 0.2 * (1 / 150 + 1 / 200)), rel=0.1)


def test_pairwise_differences_have_every_pair_once_and_agree_with_one_pair():
    models, bootstrap = {f"skill {k}": random_predictions(300, 21, skill=k) for k in (3, 2, 1)}, Bootstrap(100)
    table = comparison.pairwise_differences(models, "accuracy", bootstrap)
    pairs = [("skill 3", "skill 2"), ("skill 3", "skill 1"), ("skill 2", "skill 1")]
    assert list(zip(table["first"], table["second"], strict=True)) == pairs
    for row in table.to_dict("records"):
        pair = models[row["first"]], models[row["second"]]
        difference = paired_difference(*pair, "accuracy", bootstrap=bootstrap)
        assert {key: row[key] for key in difference} == difference
        assert {key: row[key] for key in ("lesions_first", "lesions_second", "p")} == mcnemar(*pair)
    assert table["p_holm"].tolist() == comparison.holm(table["p"]).tolist()
    assert len(comparison.pairwise_differences({"alone": models["skill 1"]}, bootstrap=Bootstrap(10))) == 0


def test_a_model_that_was_trained_again_is_compared_by_its_mean():
    models = {f"skill {k}": random_predictions(300, 21, skill=k) for k in (2, 1)}
    again = random_predictions(300, 21, skill=1)
    once = comparison.pairwise_differences(models, "accuracy", Bootstrap(300)).iloc[0]
    row = comparison.pairwise_differences(models, "accuracy", Bootstrap(300), repeats={"skill 2": [again]}).iloc[0]
    right = [one.is_right.mean() for one in (models["skill 2"], again, models["skill 1"])]
    assert row.value == pytest.approx(np.mean(right[:2]) - right[2]) and row.value < once.value
    assert row.high - row.low > once.high - once.low  # the trainings differ
    assert row.p == once.p


def test_resampled_scores_are_the_score_and_its_paired_resamples():
    runs = [random_predictions(60, 0, skill=skill) for skill in (1, 2)]
    drawn = resampled_scores(runs, "accuracy", Bootstrap(200))
    assert drawn.shape == (2, 201)
    assert drawn[:, 0] == pytest.approx([run.is_right.mean() for run in runs])
    assert mean_over_seeds(drawn[:1] - drawn[1:]) == pytest.approx(
        paired_difference(*runs, "accuracy", bootstrap=Bootstrap(200))
    )


def test_mean_over_seeds_covers_lesions_and_seeds():
    """Two seeds that differ by 0.2, each known to 0.01: the mean is between, and the interval as wide as the seeds."""
    figures = np.array([[0.5], [0.7]])
    drawn = np.hstack([figures, figures + np.random.default_rng(0).normal(0, 0.01, (2, 2000))])
    both, one = mean_over_seeds(drawn), mean_over_seeds(drawn[:1])
    assert both["value"] == pytest.approx(0.6) and both["low"] < 0.51 and both["high"] > 0.69
    assert one["value"] == 0.5 and width(one) == pytest.approx(2 * 1.96 * 0.01, rel=0.1)


def test_mcnemar_by_hand():
    """One lesion is won by the first and nine by the second: 2 (1 + 10) / 2**10."""
    first, second = np.r_[1, [0] * 9, [1] * 20, [0] * 5], np.r_[0, [1] * 9, [1] * 20, [0] * 5]
    found = mcnemar(answers(first), answers(second))
    assert found == {"lesions_first": 1, "lesions_second": 9, "p": pytest.approx(22 / 1024)}
    assert mcnemar(answers(second), answers(first))["p"] == pytest.approx(22 / 1024)
    assert mcnemar(answers(first), answers(first)) == {"lesions_first": 0, "lesions_second": 0, "p": 1.0}


def test_mcnemar_counts_a_lesion_once():
    lesions = ["a"] * 3 + ["b"] * 2 + ["c"] * 2
    # Lesion a: 2 images to 1. Lesion b: one each, so none wins. Lesion c: 2 to 0.
    first, second = answers([1, 1, 0, 1, 0, 1, 1], lesions), answers([0, 0, 1, 0, 1, 0, 0], lesions)
    assert mcnemar(first, second) == {"lesions_first": 2, "lesions_second": 0, "p": 0.5}


def test_holm_by_hand():
    # 4 x 0.005, 3 x 0.01, 2 x 0.03, then 0.04 which may not fall below the one before it.
    assert comparison.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert comparison.holm([0.5, 0.9]) == pytest.approx([1, 1])


def test_images_that_all_models_miss_come_with_the_most_confident_first():
    labels, first = [0, 0, 1], make([0, 0, 1], [[0.4, 0.6], [0.9, 0.1], [0.8, 0.2]])
    other = make(labels, [[0.1, 0.9], [0.2, 0.8], [0.8, 0.2]])
    missed = comparison.common_errors({"one": first, "other": other}, ["a", "b", "c"])
    assert missed["image_id"].tolist() == ["c", "a"] and missed["confidence"].tolist() == [0.8, 0.75]
    assert missed["label"].tolist() == ["b", "a"] and missed["answer"].tolist() == ["a", "b"]
