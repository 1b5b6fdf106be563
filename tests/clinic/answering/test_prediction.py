"""From files to tables, with a made-up model: what it says, when it is silent, and what a bad file costs."""

import json
import os
import threading
from contextlib import closing
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from clinical import BIASES, CODES, bright, by_brightness, deployment, image_file
from conftest import picture
from scipy.special import softmax

from clinic.answering import prediction
from clinic.answering.answers import answer
from clinic.answering.prediction import predict_files, speeds
from clinic.reading.intake import Found, Reader, find_files
from clinic.reading.pictures import from_array
from clinic.writing.sentences import verdict
from clinic.writing.tables import faults, rows, write_tables
from helpers.study import StudyError

DEPLOYED = deployment()
MEL, NV = CODES.index("mel"), CODES.index("nv")


def predicted(folder, model=by_brightness, deployed=DEPLOYED):
    with Reader(deployed.wanted()) as reader:
        return list(predict_files(find_files([folder]), reader, deployed, model))


def asked(*logits, deployed=DEPLOYED):
    shown = from_array(np.asarray(picture(61, 48)), deployed.wanted())
    return answer(deployed, np.array(logits, float), [shown] * len(logits))


def test_probabilities_are_softmax_and_calibrated_by_temperature_and_biases():
    logits = np.arange(7.0)
    (own,) = asked(logits)
    assert np.allclose(own.probabilities, softmax(logits))
    assert np.allclose(own.calibrated, softmax(logits / 2 + BIASES))
    assert own.malignancy == pytest.approx(softmax(logits)[[0, 1, MEL]].sum())
    assert own.calibrated_malignancy == pytest.approx(softmax(logits / 2 + BIASES)[[0, 1, MEL]].sum())
    assert own.energy == pytest.approx(np.log(np.exp(logits).sum()))


def test_malignancy_counts_at_the_operating_point_and_above():
    """The score before calibration counts, to the last digit."""
    logits = np.arange(7.0)
    (own,) = asked(logits)
    assert own.malignancy != own.calibrated_malignancy
    for threshold, suspicious in ((own.malignancy, True), (np.nextafter(own.malignancy, 1), False)):
        (again,) = asked(logits, deployed=deployment(threshold=float(threshold)))
        assert again.suspicious is suspicious


def test_below_its_energy_the_model_is_silent():
    """Seven equal logits of x have an energy of x + ln 7."""
    edge = DEPLOYED.silence - np.log(7)
    low, high = asked(np.full(7, edge - 1e-9), np.full(7, edge + 1e-9))
    assert (low.silent, high.silent) == (True, False)
    assert low.suspicious is None and high.suspicious is True


def test_a_model_whose_answers_are_no_numbers():
    with pytest.raises(StudyError, match="no finite numbers"):
        asked(np.full(7, np.nan))


def test_dark_and_bright(tmp_path):
    for name, level in (("a", 20), ("b", 235), ("c", 128)):
        bright(level).save(tmp_path / f"{name}.png")
    table = [row for outcome in predicted(tmp_path) for row in rows(outcome, DEPLOYED)]
    assert [row["answer"] for row in table] == ["mel", "nv", ""]
    assert [row["suspicious"] for row in table] == [True, False, None]
    assert [row["silent"] for row in table] == [False, False, True]
    assert all("unlike a dermatoscopic image" in row["warnings"] for row in table)
    sums = [sum(row[f"p_{code}"] for code in CODES) for row in table]
    assert np.allclose(sums, 1, atol=1e-5)


def test_one_bad_file_among_many(tmp_path):
    for number in range(9):
        image_file(tmp_path / f"{number}.jpg", number)
    (tmp_path / "4.jpg").write_bytes((tmp_path / "4.jpg").read_bytes()[:500])
    outcomes = predicted(tmp_path)
    assert [len(outcome.answers) for outcome in outcomes] == [1, 1, 1, 1, 0, 1, 1, 1, 1]
    (fault,) = (row for outcome in outcomes for row in faults(outcome))
    assert fault["file"] == 5 and "cut off" in fault["fault"] and "4.jpg" not in str(fault)


def test_answers_do_not_depend_on_the_batch(tmp_path, monkeypatch):
    for number in range(11):
        image_file(tmp_path / f"{number:02}.png", number)
    whole = [rows(outcome, DEPLOYED) for outcome in predicted(tmp_path)]
    monkeypatch.setattr(prediction, "BATCH", 3)
    assert [rows(outcome, DEPLOYED) for outcome in predicted(tmp_path)] == whole


def test_ten_thousand_files(tmp_path):
    """Of four contents, under as many names; the network is asked for no more than a batch at a time."""
    originals = [image_file(tmp_path / f"{seed}.png", seed, 24) for seed in range(3)]
    originals.append(tmp_path / "3.png")
    originals[3].write_bytes(b"broken")
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(10_000):
        os.link(originals[number % 4], folder / f"{number:05}.png")
    sizes = []

    def model(images):
        sizes.append(len(images))
        return by_brightness(images)

    with Reader(DEPLOYED.wanted()) as reader:
        outcomes = predict_files(find_files([folder]), reader, DEPLOYED, model)
        answered = failed = 0
        for outcome in outcomes:
            answered += len(outcome.answers)
            failed += bool(outcome.arrival.fault)
    assert (answered, failed) == (7_500, 2_500)
    assert max(sizes) <= prediction.BATCH and len(sizes) < 110


def test_answers_of_a_batch_are_those_of_each_alone():
    """Silent and not, suspicious and not, and pictures of which the file says that text is burned in."""
    logits = np.random.default_rng(0).normal(0, 3, (40, len(CODES)))
    shown = [
        replace(from_array(np.asarray(picture(seed, 24 + seed % 2 * 24)), DEPLOYED.wanted()), marked=seed % 3 == 0)
        for seed in range(40)
    ]
    together = answer(DEPLOYED, logits, shown)
    for own, row, one in zip(together, logits, shown, strict=True):
        (alone,) = answer(DEPLOYED, row[None], [one])
        assert (own.probabilities == alone.probabilities).all() and (own.calibrated == alone.calibrated).all()
        assert vars(own) | {"probabilities": 0, "calibrated": 0} == vars(alone) | {"probabilities": 0, "calibrated": 0}
    assert {own.suspicious for own in together} == {None, True, False} and len({own.warnings for own in together}) > 3


def test_the_network_is_asked_one_batch_ahead(tmp_path, monkeypatch):
    """While the answers of one batch are written, the next one is predicted, and no further one."""
    for number in range(6):
        image_file(tmp_path / f"{number}.png", number)
    monkeypatch.setattr(prediction, "BATCH", 1)
    begun, callers = [threading.Event() for _ in range(6)], set()

    def model(images):
        callers.add(threading.get_ident())
        next(one for one in begun if not one.is_set()).set()
        return by_brightness(images)

    with (
        Reader(DEPLOYED.wanted()) as reader,
        closing(predict_files(find_files([tmp_path]), reader, DEPLOYED, model)) as outcomes,
    ):
        for number, _ in enumerate(outcomes):
            assert begun[min(number + 1, 5)].wait(10) and not any(one.is_set() for one in begun[number + 2 :])
    assert len(callers) == 1 and threading.get_ident() not in callers


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, StudyError])
def test_what_the_network_raises_comes_where_its_answers_would(tmp_path, monkeypatch, error):
    for number in range(6):
        image_file(tmp_path / f"{number}.png", number)
    monkeypatch.setattr(prediction, "BATCH", 1)
    count = iter(range(6))

    def model(images):
        if next(count) == 3:
            raise error("no answer")
        return by_brightness(images)

    outcomes, threads = [], threading.active_count()
    with Reader(DEPLOYED.wanted()) as reader, pytest.raises(error, match="no answer"):
        for outcome in predict_files(find_files([tmp_path]), reader, DEPLOYED, model):
            outcomes.append(outcome.arrival.found.number)
    assert outcomes == [1, 2, 3] and threading.active_count() == threads


def test_the_first_batch_is_small(tmp_path, monkeypatch):
    original = image_file(tmp_path / "000.png", 1, 24)
    for number in range(1, 60):
        os.link(original, tmp_path / f"{number:03}.png")
    monkeypatch.setattr(prediction, "BATCH", 32)
    sizes = []
    predicted(tmp_path, lambda images: (sizes.append(len(images)), by_brightness(images))[1])
    assert sizes == [prediction.BATCH_SHOWN, 32, 12]


def test_speeds_compare_the_same_images_turn_by_turn(tmp_path, monkeypatch):
    """Seconds by a made-up clock: 1, 2 and 4 for the ways of the first turn, and as given for the others."""
    for number in range(20):
        image_file(tmp_path / f"{number}.png", number, 24)
    asked = []

    class Model:
        def predict(self, images, batch, verbose):
            asked.append(("keras", len(images)))

    def network(images):
        asked.append(("network", len(images)))
        return by_brightness(images)

    taken = iter([9, 9, 9, 1, 2, 4, 2, 8, 4, 1, 1, 4])
    clock = (moment for seconds in taken for moment in (0, seconds))
    monkeypatch.setattr(prediction.time, "perf_counter", lambda: next(clock))
    found = speeds(find_files([tmp_path]), DEPLOYED, Model(), network, rounds=3)
    turn = [("network", 20), ("network", 16), ("network", 4), ("keras", 20)]
    assert asked == turn * 4
    assert found == {"bare": 20, "files": 10, "keras": 5, "least share": 0.25, "share": 0.5, "largest share": 1.0}


def test_tables(tmp_path):
    image_file(tmp_path / "in" / "Erika.png")
    (tmp_path / "in" / "Muster.png").write_bytes(b"")
    outcomes = predicted(tmp_path / "in")
    table = [row for outcome in outcomes for row in rows(outcome, DEPLOYED)]
    write_tables(tmp_path / "out", DEPLOYED, table, faults(outcomes[1]))
    frame = pd.read_csv(tmp_path / "out" / "predictions.csv")
    content = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert len(frame) == len(content["predictions"]) == 1 and content["failed"][0]["fault"] == "the file is empty"
    assert list(frame) == list(table[0])
    assert "before calibration" in content["operating_point"]["told"]
    assert frame["sha256"][0] == content["model"]["model_sha256"] == "ab" * 32
    assert content["silence"]["trade"] == DEPLOYED.trade and "Not a medical device" in content["disclaimer"]
    assert list(pd.read_csv(tmp_path / "out" / "failed.csv")["file"]) == [2]
    written = "".join(path.read_text() for path in (tmp_path / "out").iterdir())
    assert "Erika" not in written and "Muster" not in written


def test_names_stand_in_tables_only_when_asked_for(tmp_path):
    for name in ("=cmd().png", "b.png"):
        image_file(tmp_path / name, format="PNG")
    (tmp_path / "c.png").write_bytes(b"")
    outcomes = predicted(tmp_path)
    assert [rows(one, DEPLOYED, named=True)[0]["name"] for one in outcomes[:2]] == ["'=cmd().png", "b.png"]
    assert [row["name"] for row in faults(outcomes[2], ["no page"], named=True)] == ["c.png"] * 2


def test_nothing_but_faults(tmp_path):
    """The table has no row, and the columns that it would have."""
    image_file(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"")
    read, broken = predicted(tmp_path)
    write_tables(tmp_path / "out", DEPLOYED, [], faults(broken))
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())["predictions"] == []
    empty = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert len(empty) == 0 and list(empty) == list(rows(read, DEPLOYED)[0])


def test_a_fault_that_was_found_before_reading(tmp_path):
    with Reader(DEPLOYED.wanted()) as reader:
        (outcome,) = predict_files([Found(1, tmp_path, "not a file")], reader, DEPLOYED, by_brightness)
    assert outcome.answers == () and outcome.arrival.fault == "not a file"


def test_the_answer_need_not_be_the_most_probable():
    """It is the highest before calibration, and the words tell both."""
    logits = np.zeros(7)
    logits[MEL], logits[CODES.index("nv")] = 3.0, 2.9
    (own,) = asked(logits)
    said = verdict(own, DEPLOYED)
    assert said.startswith("Answer: melanoma. Calibrated probabilities: melanoma ") and ", melanocytic nevus " in said
    (own,) = asked(np.eye(7)[MEL] * 9)
    assert "nevus" not in verdict(own, DEPLOYED)
