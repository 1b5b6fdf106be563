import numpy as np
import pytest
from scipy.special import softmax

from helpers.evaluation.abstention import (
    COVERAGES,
    ISIC_ORDER,
    abstention_threshold,
    challenge_table,
    confidence_scores,
    detection_auc,
    least_risky,
    mean_risk,
    mean_risk_difference,
    risk_coverage,
)
from helpers.evaluation.bootstrap import Bootstrap
from helpers.study import StudyError

NAMES = np.arange(200).astype(str)


def test_confidence_scores_by_hand():
    logits = np.array([[2.0, 0.0], [4.0, 2.0], [0.0, 0.0]])
    scores = confidence_scores(logits)
    assert np.allclose(scores["maximum probability"], softmax(logits, axis=1).max(axis=1))
    assert np.allclose(scores["energy"], np.log(np.exp(logits).sum(axis=1)))
    assert scores["maximum probability"][0] == pytest.approx(scores["maximum probability"][1])
    assert scores["energy"][1] > scores["energy"][0] > scores["energy"][2]


def test_unknown_images_with_low_confidence_are_detected():
    confidence = np.concatenate([np.linspace(0.6, 1, 100), np.linspace(0, 0.5, 100)])
    unknown, random = np.arange(200) >= 100, np.random.default_rng(0).random(200)
    bootstrap = Bootstrap(200)
    assert detection_auc({"blind": np.ones(200)}, unknown, NAMES, bootstrap=bootstrap).loc["blind", "value"] == 0.5
    found = detection_auc({"knowing": confidence, "random": random}, unknown, NAMES, bootstrap=bootstrap)
    assert found.loc["knowing"].tolist() == [1.0, 1.0, 1.0]
    assert found.loc["random", "low"] < 0.5 < found.loc["random", "high"]
    difference = found.loc["knowing minus random"]
    assert difference.value == pytest.approx(1 - found.loc["random", "value"]) and difference.low > 0.3
    same = detection_auc({"one": random, "twice": 2 * random}, unknown, NAMES, bootstrap=bootstrap)
    assert same.loc["one minus twice"].tolist() == [0, 0, 0]


def test_risk_falls_with_coverage_if_confidence_follows_the_errors():
    wrong, bootstrap = np.arange(200) < 60, Bootstrap(50)
    perfect, useless = np.where(wrong, 0.0, 1.0) + np.arange(200) / 1e4, np.random.default_rng(1).random(200)
    table = risk_coverage(perfect, wrong, NAMES, bootstrap=bootstrap)
    assert np.allclose(table.loc[table["coverage"] <= 0.7, "risk"], 0)
    assert table["risk"].iloc[-1] == pytest.approx(0.3) and table["coverage"].tolist() == COVERAGES.tolist()
    assert table["low"].iloc[-1] < 0.3 < table["high"].iloc[-1]
    at_half = table[table["coverage"].round(3) == 0.5].iloc[0]
    assert (perfect >= at_half.threshold).sum() == 100
    low, high = (mean_risk(confidence, wrong, NAMES, bootstrap=bootstrap) for confidence in (perfect, useless))
    assert low["value"] < low["high"] < 0.1 and high["value"] == pytest.approx(0.3, abs=0.08)
    assert high["low"] < high["value"] < high["high"]
    difference = mean_risk_difference(perfect, useless, wrong, lesions=NAMES, bootstrap=bootstrap)
    assert least_risky({"useless": useless, "perfect": perfect}, wrong) == "perfect"
    assert difference["value"] == pytest.approx(low["value"] - high["value"]) and difference["high"] < 0


def test_the_threshold_reaches_the_coverage():
    confidence = np.random.default_rng(0).random(1000)
    assert (confidence >= abstention_threshold(confidence, 0.9)).mean() == pytest.approx(0.9, abs=0.002)
    with pytest.raises(StudyError, match="above 0 and at most 1"):
        abstention_threshold(confidence, 0)


def test_the_table_for_the_challenge():
    probabilities = np.array([[0.7, 0.3], [0.2, 0.8], [0.7, 0.3]])
    table = challenge_table(["a", "b", "c"], probabilities, ["NV", "MEL"], doubt=np.array([-2.0, 2.0, 0.0]))
    assert list(table.columns) == ["image", *ISIC_ORDER, "UNK"]
    numbers = table.drop(columns="image")
    assert np.allclose(numbers.sum(axis=1), 1, atol=1e-5)
    assert numbers.iloc[:2].idxmax(axis=1).tolist() == ["NV", "UNK"] and table.loc[0, "DF"] == 0
    assert table.loc[0, "NV"] / table.loc[0, "MEL"] == pytest.approx(7 / 3, rel=1e-3)
    assert table.loc[2, "UNK"] == pytest.approx(table.loc[2, "NV"], abs=2e-6)
    with pytest.raises(StudyError, match="no class nv"):
        challenge_table(["a"], probabilities[:1], ["nv", "mel"], doubt=np.zeros(1))
