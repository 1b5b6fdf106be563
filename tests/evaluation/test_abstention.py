import keras
import numpy as np
import pytest
from scipy.special import softmax
from tiny import small_cnn

from helpers.data.samples import Samples
from helpers.evaluation.abstention import (
    COVERAGES,
    ISIC_ORDER,
    abstention_threshold,
    confidence_scores,
    detection,
    mean_risk,
    mean_risk_difference,
    risk_coverage,
    share,
    submission,
)
from helpers.study import StudyError
from helpers.training.features import features, logits

NAMES = np.arange(200).astype(str)


def test_logits_are_what_softmax_makes_the_answer_of():
    images = np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3)).astype(np.uint8)
    model = small_cnn(classes=4)
    samples = Samples(images, np.array([3, 1, 8]), np.zeros(3, int))
    answer = model.predict(images[[3, 1, 8]], verbose=0)
    assert np.allclose(softmax(logits(model, samples), axis=1), answer, atol=1e-5)
    assert features(model, samples).shape == (3, 8)
    pooled = keras.Model(model.inputs, model.get_layer("head_pool").output)
    assert np.allclose(features(model, samples), pooled.predict(images[[3, 1, 8]], verbose=0), atol=1e-5)


def test_two_scores_of_sureness():
    values = np.array([[2.0, 0.0], [4.0, 2.0], [0.0, 0.0]])
    scores = confidence_scores(values)
    assert np.allclose(scores["maximum probability"], softmax(values, axis=1).max(axis=1))
    assert np.allclose(scores["energy"], np.log(np.exp(values).sum(axis=1)))
    assert scores["maximum probability"][0] == pytest.approx(scores["maximum probability"][1])
    assert scores["energy"][1] > scores["energy"][0] > scores["energy"][2]


def test_unknown_images_that_are_less_sure_are_found():
    sure = np.concatenate([np.linspace(0.6, 1, 100), np.linspace(0, 0.5, 100)])
    unknown, random = np.arange(200) >= 100, np.random.default_rng(0).random(200)
    assert detection({"knowing": sure}, unknown, NAMES, 50).values.tolist() == [[1.0, 1.0, 1.0]]
    assert detection({"blind": np.ones(200)}, unknown, NAMES, 50).loc["blind", "value"] == 0.5
    found = detection({"knowing": sure, "random": random}, unknown, NAMES, 200)
    assert found.loc["random", "low"] < 0.5 < found.loc["random", "high"]
    difference = found.loc["knowing minus random"]
    assert difference.value == pytest.approx(1 - found.loc["random", "value"]) and difference.low > 0.3


def test_two_scores_are_held_against_each_other_on_the_same_resamples():
    random = np.random.default_rng(0)
    sure, unknown = random.random(200), np.arange(200) >= 100
    same = detection({"one": sure, "twice": 2 * sure}, unknown, NAMES, 100).loc["one minus twice"]
    assert same.tolist() == [0, 0, 0]


def test_risk_falls_with_coverage_if_the_score_knows_the_errors():
    wrong = np.arange(200) < 60
    perfect = risk_coverage(np.where(wrong, 0.0, 1.0) + np.arange(200) / 1e4, wrong, NAMES, 100)
    assert np.allclose(perfect.loc[perfect["coverage"] <= 0.7, "risk"], 0)
    assert perfect["risk"].iloc[-1] == pytest.approx(0.3) and perfect["coverage"].tolist() == COVERAGES.tolist()
    assert perfect["low"].iloc[-1] < 0.3 < perfect["high"].iloc[-1]
    sures = np.where(wrong, 0.0, 1.0), np.random.default_rng(1).random(200)
    knowing, useless = (mean_risk(sure, wrong, NAMES, 50) for sure in sures)
    assert knowing["value"] < knowing["high"] < 0.1 and useless["value"] == pytest.approx(0.3, abs=0.08)
    assert useless["low"] < useless["value"] < useless["high"]
    less = mean_risk_difference(*sures, wrong, NAMES, 50)
    assert less["value"] == pytest.approx(knowing["value"] - useless["value"]) and less["high"] < 0
    at_half = perfect[perfect["coverage"].round(3) == 0.5].iloc[0]
    assert (np.where(wrong, 0.0, 1.0) + np.arange(200) / 1e4 >= at_half.threshold).sum() == 100


def test_images_of_a_lesion_are_resampled_together():
    sure, wrong = np.tile(np.linspace(1, 0, 50), 4), np.tile(np.arange(50) < 25, 4)
    alone = risk_coverage(sure, wrong, NAMES, 300).iloc[-1]
    together = risk_coverage(sure, wrong, np.tile(np.arange(50), 4), 300).iloc[-1]
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_the_threshold_answers_the_wanted_share():
    sure = np.random.default_rng(0).random(1000)
    assert (sure >= abstention_threshold(sure, 0.9)).mean() == pytest.approx(0.9, abs=0.002)
    with pytest.raises(StudyError, match="above 0, at most 1"):
        abstention_threshold(sure, 0)


def test_the_table_for_the_challenge():
    probabilities = np.array([[0.7, 0.3], [0.2, 0.8]])
    table = submission(["a", "b"], probabilities, ["NV", "MEL"], np.array([2.0, -2.0]), 0.0, 1.0)
    assert list(table.columns) == ["image", *ISIC_ORDER, "UNK"]
    assert np.allclose(table.drop(columns="image").sum(axis=1), 1, atol=1e-5)
    answer = table.drop(columns="image").idxmax(axis=1).tolist()
    assert answer == ["NV", "UNK"] and table.loc[0, "DF"] == 0
    assert table.loc[0, "NV"] / table.loc[0, "MEL"] == pytest.approx(7 / 3, rel=1e-3)
    exactly = submission(["a"], probabilities[:1], ["NV", "MEL"], np.array([0.5]), 0.5, 1.0)
    assert exactly["UNK"].item() == pytest.approx(exactly["NV"].item(), abs=2e-6)
    with pytest.raises(StudyError, match="no class nv"):
        submission(["a"], probabilities[:1], ["nv", "mel"], np.array([0.5]), 0.5, 1.0)


def test_a_share_with_its_interval():
    found = share(np.arange(200) < 60, NAMES, 300)
    assert found["value"] == 0.3 and 0.22 < found["low"] < 0.3 < found["high"] < 0.38
    assert share(np.array([]), np.array([])) == {"value": None, "low": None, "high": None}


def test_a_share_of_all_or_nothing_is_not_certain():
    images = np.repeat(np.arange(40), 2)
    never, always = (share(np.full(80, event), images, 100) for event in (False, True))
    assert never["value"] == never["low"] == 0 and never["high"] == pytest.approx(1 - 0.025 ** (1 / 40))
    assert always["value"] == always["high"] == 1 and always["low"] == pytest.approx(0.025 ** (1 / 40))
