"""What a deployment is prepared from: abstention and sensitivity, measured on test."""

import numpy as np
import pandas as pd
import pytest
from clinical import BIASES, FIGURE, SIDE, deployment

from clinic.answering.appearance import learn_appearance
from clinic.answering.deployment import ABSTENTION, DIFFERENCE, MALIGNANT, MISSED_MELANOMAS
from clinic.answering.network import Prediction
from clinic.answering.preparation import compare_rules, measure_abstention, measure_spoilt, prepare
from clinic.reading.quality import measures
from helpers.evaluation.bootstrap import Bootstrap
from helpers.evaluation.predictions import Predictions
from helpers.study import StudyError

# Eight images of eight lesions; the first four have the most energy. Malignant are 0, 1, 4, 5 and 6, suspicious 0, 2, 4
# and 5.
ENERGY = np.arange(8.0, 0, -1)
LABELS = np.array([1, 1, 0, 0, 1, 1, 1, 0])
SCORES = np.array([0.9, 0.2, 0.6, 0.1, 0.9, 0.8, 0.1, 0.2])
LESIONS = np.array(list("abcdefgh"))
RECORD = {
    "name": "MobileNet",
    "study": "demo",
    "notebook": "05_mobilenet",
    "model_sha256": "ab" * 32,
    "environment": {"commit": "0123456789abcdef"},
    "parameters": {"side": SIDE, "colour_constancy": "none"},
}
CHOSEN = {"temperature": 2.0, "biases": np.array(BIASES), "confidence": "maximum probability"}
CHOSEN |= {"suspicious_from": 0.3, "abstention_threshold": 2.0}


def measure(lowest: float, copies: int = 1) -> dict:
    """The figures of the eight images, each `copies` times: no answer below an energy, suspicious from 0.5 on."""
    probabilities = np.tile(np.stack([1 - SCORES, SCORES], axis=1), (copies, 1))
    labels, lesions, energy = (np.tile(values, copies) for values in (LABELS, LESIONS, ENERGY))
    predictions = Predictions(labels, probabilities, lesions, ("nv", "mel"), (False, True))
    return measure_abstention(predictions, energy >= lowest, 0.5, bootstrap=Bootstrap(200))


def test_figures_counted_by_hand():
    """Two of the four answers are wrong, and so would be one of the four abstentions. Of the two malignant images that
    are answered one is suspicious, of the two benign ones one; three of five malignant images are not answered, and one
    of five is answered and not suspicious. Five of eight are malignant."""
    found = measure(4.5)
    names = (*ABSTENTION, *MALIGNANT)
    values = [0.5, 0.375, 0.5, 0.25, -0.25, 0.5, 0.5, 0.6, 0.2, 0.2, 0.5, 0.5, 0.625]
    assert list(found) == list(names) and [found[name]["value"] for name in names] == values
    assert [found[name]["images"] for name in names] == [8, 8, 4, 4, 8, 2, 2, 5, 5, 5, 2, 2, 8]
    assert all(found[name]["low"] < found[name]["value"] < found[name]["high"] for name in (*MALIGNANT, DIFFERENCE))


def test_melanomas_are_counted_apart_from_other_malignant_images():
    """Malignant images 0 and 1 are carcinomas; of the three melanomas one is answered and not suspicious."""
    labels = np.where(LABELS == 1, 2, 0)
    malignant = np.flatnonzero(LABELS)
    labels[malignant[:2]] = 1
    probabilities = np.stack([1 - SCORES, np.zeros_like(SCORES), SCORES], axis=1)
    predictions = Predictions(labels, probabilities, LESIONS, ("NV", "BCC", "MEL"), (False, True, True))
    found = measure_abstention(predictions, np.ones(len(labels), bool), 0.5, bootstrap=Bootstrap(200))
    benign = SCORES < 0.5
    assert found["missed"]["value"] == pytest.approx(benign[malignant].mean()) and found["missed"]["images"] == 5
    assert found[MISSED_MELANOMAS]["value"] == pytest.approx(benign[malignant[2:]].mean())
    assert found[MISSED_MELANOMAS]["images"] == 3 and benign[malignant[2:]].mean() != benign[malignant].mean()
    carcinomas = Predictions(labels.clip(max=1), probabilities[:, [0, 2]], LESIONS, ("NV", "BCC"), (False, True))
    found = measure_abstention(carcinomas, np.ones(len(labels), bool), 0.5, bootstrap=Bootstrap(200))
    assert found[MISSED_MELANOMAS] == dict.fromkeys(("value", "low", "high")) | {"images": 0}


def test_without_abstention_there_is_nothing_to_compare():
    found, undefined = measure(0.0), dict.fromkeys(("value", "low", "high"))
    assert [found[name]["value"] for name in MALIGNANT] == pytest.approx([0.6, 2 / 3, 0, 0.4, 0.4, 0.75, 0.5, 0.625])
    assert found["error rate of abstentions"] == undefined | {"images": 0}
    assert found[DIFFERENCE] == undefined | {"images": 8}
    with pytest.raises(StudyError, match="no images"):
        measure(9.0)


def test_images_of_a_lesion_are_drawn_together():
    once, four_times = measure(4.5), measure(4.5, copies=4)
    assert four_times == {
        name: pytest.approx(figure | {"images": 4 * figure["images"]}) for name, figure in once.items()
    }


def make_deployment(**record):
    given, figures = deployment(), dict.fromkeys((*ABSTENTION, *MALIGNANT), FIGURE)
    return prepare(RECORD | record, given.classes, given.appearance, chosen=CHOSEN, measured=figures)


def test_a_deployment_holds_what_was_measured_and_names_changes_in_its_version():
    assert make_deployment() == deployment(confidence="maximum probability")
    assert make_deployment(environment={"commit": "0123456789abcdef+changes"}).version == "0123456789ab+changes"
    with pytest.raises(StudyError, match="no checksum"):
        make_deployment(model_sha256=None)


def test_each_rule_stops_what_passes_its_limit_on_validation():
    """The network's features are the mean colours, and its logits are far apart for bright images."""
    images = np.random.default_rng(0).integers(90, 110, (200, 16, 16, 3), np.uint8)
    black = np.zeros((5, 16, 16, 3), np.uint8)

    def predict(pixels):
        means = pixels.mean(axis=(1, 2))
        return Prediction(means[:, :2] * [1, -1], means)

    looks = np.array(list(map(measures, images))), predict(images).features
    learnt = learn_appearance(looks, looks, [looks])
    rules = compare_rules(predict, learnt, images, shown={"images": images, "black": black}, unlike=0.02)
    assert rules.shape == (2, 4) and rules.columns[0] == "distance in the network"
    assert (rules.loc["images"] <= 0.02).all() and rules.loc["black", "distance in the network"] == 1


def test_spoilt_images_are_stopped_warned_of_or_missed():
    answers = pd.DataFrame(
        {
            "reason": ["", "", "", "unlike"],
            "warnings": [(), ("blurred",), (), ()],
            "suspicious": [False, False, True, None],
            "probabilities": [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1]],
        }
    )
    former = np.eye(2)[[0, 1, 1, 0]]
    unspoilt = Predictions(np.array([1, 1, 1, 0]), former, LESIONS[:4], ("nv", "mel"), (False, True))
    measured = measure_spoilt(answers, unspoilt, bootstrap=Bootstrap(200))
    shares = {"answers change": 0.25, "no answer": 0.25, "warning": 1 / 3, "missed": 1 / 3}
    assert measured["value"].to_dict() == pytest.approx(shares) and measured["images"].tolist() == [4, 4, 3, 3]
    assert (measured["low"] < measured["value"]).all() and (measured["value"] < measured["high"]).all()
    nothing = measure_spoilt(answers.assign(reason="unlike"), unspoilt, bootstrap=Bootstrap(20))
    assert nothing["images"].tolist() == [4, 4, 0, 3] and pd.isna(nothing.loc["warning", "value"])
