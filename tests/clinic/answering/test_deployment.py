"""What a deployment tells of itself: sensitivity where it answers, what its silence brings, what its maps are worth."""

import json

import numpy as np
import pytest
from clinical import BIASES, FIGURE, SIDE, deployment

from clinic.answering.deployment import (
    DIFFERENCE,
    EXPLAINED,
    FIGURES,
    MALIGNANT,
    MAPS,
    TURNED,
    measure_abstention,
    measure_maps,
    prepare,
)
from helpers.data.lesions import BENIGN_OR_MALIGNANT, HAM10000, ISIC2019
from helpers.evaluation.bootstrap import Bootstrap
from helpers.evaluation.predictions import Predictions
from helpers.study import StudyError

# Eight images of eight lesions; the four surest are answered. Malignant are 0, 1, 4, 5 and 6, suspicious 0, 2, 4 and 5.
ENERGY = np.arange(8.0, 0, -1)
LABELS = np.array([1, 1, 0, 0, 1, 1, 1, 0])
SCORES = np.array([0.9, 0.2, 0.6, 0.1, 0.9, 0.8, 0.1, 0.2])
LESIONS = np.array(list("abcdefgh"))
AHEAD, BEHIND = {"value": 0.2, "low": 0.1, "high": 0.3}, {"value": -0.2, "low": -0.3, "high": -0.1}
UNCLEAR = {"value": 0.1, "low": -0.1, "high": 0.3}


def silence(limit: float) -> dict:
    """What `measure_abstention` says of the eight images, silent below an energy and suspicious from 0.5 on."""
    predictions = Predictions(LABELS, np.stack([1 - SCORES, SCORES], axis=1), LESIONS, ("nv", "mel"), (False, True))
    return measure_abstention(predictions, ENERGY, (limit, 0.5), bootstrap=Bootstrap(200))


def test_what_silence_costs_and_brings():
    """Counted by hand: two of four answers are wrong, and one of the four that are held back."""
    found = silence(4.5)
    assert [found[name]["value"] for name in FIGURES] == [0.5, 0.375, 0.5, 0.25, -0.25]
    assert found[DIFFERENCE]["low"] < 0 < found[DIFFERENCE]["high"]
    assert [found[name]["images"] for name in (*FIGURES, *MALIGNANT)] == [8, 8, 4, 4, 8, 2, 2, 5]


def test_sensitivity_is_that_of_what_is_answered():
    """Of all images 3 of 5 malignant ones are suspicious; of those answered 1 of 2, and 3 of 5 are held back."""
    found = silence(4.5)
    assert [found[name]["value"] for name in MALIGNANT] == [0.5, 0.5, 0.6]
    assert all(found[name]["low"] < found[name]["value"] < found[name]["high"] for name in MALIGNANT)
    everything = silence(0.0)
    assert [everything[name]["value"] for name in MALIGNANT] == pytest.approx([0.6, 2 / 3, 0])


def test_what_no_image_tells_is_not_known():
    found = silence(0.0)
    nothing = dict.fromkeys(("value", "low", "high"))
    assert found["wrong of those held back"] == nothing | {"images": 0} and found[DIFFERENCE] == nothing | {"images": 8}
    assert "–, not known" in deployment(trade=found).told()
    with pytest.raises(StudyError, match="no images"):
        silence(9.0)


def test_images_of_a_lesion_are_drawn_together():
    predictions = Predictions(
        np.tile(LABELS, 4), np.tile(np.stack([1 - SCORES, SCORES], 1), (4, 1)), np.tile(LESIONS, 4), ("n", "m"), (0, 1)
    )
    found = measure_abstention(predictions, np.tile(ENERGY, 4), (4.5, 0.5), bootstrap=Bootstrap(200))
    for name, once in silence(4.5).items():
        assert found[name] == pytest.approx(once | {"images": 4 * once["images"]}), name


def test_the_limit_tells_what_is_deployed():
    told = deployment(malignant=dict(zip(MALIGNANT, (AHEAD, UNCLEAR, FIGURE), strict=True))).limit()
    assert "Among the test images that the model answers" in told
    assert "a sensitivity of 0.20 [0.10, 0.30] and a specificity of 0.10 [-0.10, 0.30]" in told
    assert "0.80 [0.70, 0.90] of all malignant ones gets no answer" in told


@pytest.mark.parametrize(
    ("apart", "word"), [(AHEAD, "clearly more"), (UNCLEAR, "no clear difference"), (BEHIND, "clearly less")]
)
def test_whether_silence_is_worth_having_is_told_from_the_interval(apart, word):
    trade = dict.fromkeys(FIGURES, FIGURE) | {DIFFERENCE: apart}
    assert deployment(trade=trade).told().endswith(f"], {word}.")


def test_what_was_missing_is_told_where_something_was():
    assert "missing" not in deployment().told()
    assert deployment(missing_images=12723).told().endswith(" 12,723 images that the publisher lists were missing.")


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (HAM10000, "; actinic keratosis and Bowen's disease are pre-malignant or in situ."),
        (ISIC2019, ", squamous cell carcinoma; actinic keratosis is pre-malignant."),
        (BENIGN_OR_MALIGNANT, "Counted as malignant: malignant."),
    ],
)
def test_what_counts_as_malignant_is_what_the_model_knows(classes, told):
    assert deployment(classes=classes).counted().endswith(told)


@pytest.mark.parametrize(
    ("measured", "judged"),
    [
        ([AHEAD, AHEAD, AHEAD, BEHIND], "ahead of the blob in all"),
        ([AHEAD, UNCLEAR, BEHIND, AHEAD], "in some of these only"),
        ([BEHIND, BEHIND, UNCLEAR, AHEAD], "in none of these: do not read them as where the model looked"),
    ],
)
def test_maps_are_told_by_how_they_fare_against_a_blob(measured, judged):
    maps = {name: own | {"images": 42} for name, own in zip(MAPS, measured, strict=True)}
    told = deployment(maps=maps).map_told()
    assert judged in told and told.count("(n = 42)") == 4 and f"{TURNED} of " in told


def test_maps_that_were_not_measured_are_told_to_be_so():
    assert "was not measured: do not read them" in deployment(maps={}).map_told()


def explained(folder, sha256: str = "ab" * 32) -> None:
    """What 11_explanation leaves about a MobileNet, as far as a deployment reads it."""
    tables = {table: {f"MobileNet{way}": FIGURE | {"images": 42}} for table, way in MAPS.values()}
    (folder / "demo" / EXPLAINED).parent.mkdir(parents=True)
    (folder / "demo" / EXPLAINED).write_text(json.dumps(tables | {"model_sha256": {"MobileNet": sha256}}))


RECORD = {
    "name": "MobileNet",
    "study": "demo",
    "notebook": "05_mobilenet",
    "model_sha256": "ab" * 32,
    "threshold": 0.3,
    "environment": {"commit": "0123456789abcdef"},
    "parameters": {"side": SIDE, "colour_constancy": "none"},
}


CHOSEN = {"temperature": 2.0, "biases": np.array(BIASES), "silence": 2.0}


def test_a_deployment_takes_up_what_was_measured(monkeypatch, tmp_path):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    explained(tmp_path)
    given, measured = deployment(), dict.fromkeys((*FIGURES, *MALIGNANT), FIGURE)
    assert prepare(RECORD, given.classes, given.profile, CHOSEN, measured) == given


def test_a_version_names_changes_and_a_model_without_checksum_is_refused():
    given, measured = deployment(), dict.fromkeys((*FIGURES, *MALIGNANT), FIGURE)
    edited = RECORD | {"environment": {"commit": "0123456789abcdef+changes"}}
    assert prepare(edited, given.classes, given.profile, CHOSEN, measured).version == "0123456789ab+changes"
    with pytest.raises(StudyError, match="no checksum"):
        prepare(RECORD | {"model_sha256": None}, given.classes, given.profile, CHOSEN, measured)


def test_maps_of_another_model_or_none_are_not_taken_up(monkeypatch, tmp_path):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    assert measure_maps(RECORD) == {}
    explained(tmp_path, "cd" * 32)
    assert measure_maps(RECORD) == {}
