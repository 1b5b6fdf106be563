"""From files to answers in a stream, with a made-up model: batches, order, and what a bad file costs."""

import os
import threading
from contextlib import closing

import pytest
from clinical import by_brightness, deployment, image_file

from clinic.answering import prediction
from clinic.answering.prediction import answer_files
from clinic.reading.files import find_files
from clinic.reading.reader import Reader
from helpers.study import StudyError

DEPLOYED = deployment()


def outcomes_of(folder, model=by_brightness):
    with Reader(DEPLOYED.image_format()) as reader:
        return list(answer_files(reader.read(find_files([folder])), DEPLOYED, model))


@pytest.fixture
def one_by_one(monkeypatch):
    """Batches of one picture."""
    monkeypatch.setattr(prediction, "BATCH", 1)


@pytest.fixture
def six(tmp_path):
    """A folder of six images."""
    for number in range(6):
        image_file(tmp_path / f"{number}.png", number)
    return tmp_path


def test_one_bad_file_among_many(six, monkeypatch):
    """It costs no other file its answer, which does not depend on the batch."""
    (six / "4.png").write_bytes((six / "4.png").read_bytes()[:200])
    whole = outcomes_of(six)
    assert [len(outcome.answers) for outcome in whole] == [1, 1, 1, 1, 0, 1]
    assert "cut off" in whole[4].file.fault and whole[4].file.number == 5
    monkeypatch.setattr(prediction, "BATCH", 2)
    sure = [[answer.confidence for outcome in one for answer in outcome.answers] for one in (whole, outcomes_of(six))]
    assert sure[0] == sure[1]


def test_batches_are_small_whatever_is_broken(tmp_path):
    """Of one hundred files every fourth is broken, and counts as a picture."""
    image_file(tmp_path / "0.png", 1, 24)
    (tmp_path / "1.png").write_bytes(b"broken")
    (tmp_path / "many").mkdir()
    for number in range(100):
        os.link(tmp_path / f"{number % 4 // 3}.png", tmp_path / "many" / f"{number:03}.png")
    found = []

    def model(images):
        found.append(len(images))
        return by_brightness(images)

    outcomes = outcomes_of(tmp_path / "many", model)
    assert [outcome.file.number for outcome in outcomes] == list(range(1, 101)) and found == [12] * 6 + [3]


def test_the_network_works_one_batch_ahead(six, one_by_one):
    """While the answers of one batch are written, the next one is predicted, and no further one."""
    begun, callers = [threading.Event() for _ in range(6)], set()

    def model(images):
        callers.add(threading.get_ident())
        next(one for one in begun if not one.is_set()).set()
        return by_brightness(images)

    with (
        Reader(DEPLOYED.image_format()) as reader,
        closing(answer_files(reader.read(find_files([six])), DEPLOYED, model)) as outcomes,
    ):
        for number, _ in enumerate(outcomes):
            assert begun[min(number + 1, 5)].wait(10) and not any(one.is_set() for one in begun[number + 2 :])
    assert len(callers) == 1 and threading.get_ident() not in callers


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, StudyError])
def test_an_error_of_the_network_comes_where_its_answers_would(six, one_by_one, error):
    count = iter(range(6))

    def model(images):
        if next(count) == 3:
            raise error("no answer")
        return by_brightness(images)

    outcomes, threads = [], threading.active_count()
    with Reader(DEPLOYED.image_format()) as reader, pytest.raises(error, match="no answer"):
        for outcome in answer_files(reader.read(find_files([six])), DEPLOYED, model):
            outcomes.append(outcome.file.number)
    assert outcomes == [1, 2, 3] and threading.active_count() == threads
