"""Files read into pictures: called by their content, within bounds, ahead of their use."""

import hashlib
import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from clinical import SIDE, decode_here, dicom_file, image_file, jpeg

from clinic.reading import files
from clinic.reading.budget import Budget
from clinic.reading.files import InputFile, find_files
from clinic.reading.pictures import ImageFormat
from clinic.reading.reader import Reader, read_ahead

FORMAT = ImageFormat(SIDE)


def read(path: Path, **options) -> InputFile:
    with Reader(FORMAT, **options) as opened:
        return opened(InputFile(1, path))


def test_a_file_is_called_by_its_content(tmp_path):
    path = image_file(tmp_path / "Erika Muster.jpg")
    file = read(path)
    assert file.image == hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    assert file.pictures[0].square.shape == (SIDE, SIDE, 3) and file.place is None and not file.fault


def test_under_a_key_a_name_cannot_be_found_again(tmp_path):
    path = image_file(tmp_path / "a.jpg")
    names = [read(path, key=key).image for key in (b"", b"one", b"one", b"another")]
    assert len(set(names)) == 3 and names[1] == names[2] and {len(name) for name in names} == {16}


@pytest.mark.parametrize(
    ("name", "data", "fault"),
    [
        ("empty.jpg", b"", "empty"),
        ("notes.txt", b"Erika Muster", "neither an image"),
        ("half.jpg", jpeg()[:400], "cut off|not a complete"),
        ("photo.dcm", b"\0" * 128 + b"DICM" + b"\0" * 99, "not a photograph"),
    ],
)
def test_a_fault_neither_names_nor_quotes_the_file(tmp_path, monkeypatch, name, data, fault):
    decode_here(monkeypatch)
    (tmp_path / name).write_bytes(data)
    file = read(tmp_path / name)
    assert not file.pictures and re.search(fault, file.fault)
    assert "Erika" not in file.fault and name not in file.fault


def test_a_file_that_is_too_large_or_gone(tmp_path, monkeypatch):
    path = image_file(tmp_path / "a.jpg")
    monkeypatch.setattr(files, "LARGEST", 100)
    assert "MiB" in find_files([tmp_path])[0].fault and "MiB" in read(path).fault
    path.unlink()
    assert read(path).fault == "the file cannot be opened"


def test_a_pipe_in_the_place_of_a_file_keeps_nobody_waiting(tmp_path):
    path = tmp_path / "a.jpg"
    os.mkfifo(path)
    assert find_files([tmp_path])[0].fault == "not a file"
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(read, path)
        try:
            assert result.result(10).fault == "not a file"
        finally:  # lets go of a thread that waits at the pipe
            os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))


def test_the_picture_is_of_the_bytes_that_the_name_is_of(tmp_path, monkeypatch):
    """The file is read once: what stands at its place afterwards does not matter."""
    decode_here(monkeypatch)
    path = dicom_file(tmp_path / "a.dcm")
    expected, name = read(path), Reader._name
    monkeypatch.setattr(Reader, "_name", lambda *data: (name(*data), path.write_bytes(b"other"))[0])
    again = read(path)
    assert again.image == expected.image and (again.pictures[0].square == expected.pictures[0].square).all()


@pytest.mark.parametrize(("amounts", "together"), [([5, 5, 5], 2), ([6, 6], 1), ([99, 1], 1), ([1] * 8, 8)])
def test_a_budget_of_ten_is_held_by_as_many_as_fit(amounts, together):
    """Each holds its amount until as many as fit do, and a moment longer, in which one too many would be noticed."""
    budget, inside, most, full = Budget(10), [], [0], threading.Event()

    def hold(amount: int) -> None:
        with budget.hold(amount):
            inside.append(amount)
            most[0] = max(most[0], len(inside))
            if len(inside) >= together:
                full.set()
            full.wait(10)
            time.sleep(0.02)
            inside.remove(amount)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hold, amounts))
    assert most == [together]


@pytest.mark.parametrize(("pictures", "ahead", "most"), [(1, 5, 5), (10, 10, 4)])
def test_reading_ahead_keeps_the_order_and_its_bound(pictures, ahead, most):
    """Of files with ten pictures each, two threads begin none once ten pictures wait: one is in use, one waits, and
    each thread reads one."""
    begun, used, furthest = [0], [0], [0]

    def count(number: int) -> InputFile:
        begun[0] += 1
        furthest[0] = max(furthest[0], begun[0] - used[0])
        time.sleep(0.001 * (number % 3))
        return InputFile(number, Path(), pictures=(None,) * pictures)

    numbers = []
    for file in read_ahead(range(40), count, ahead=ahead, threads=2):
        numbers.append(file.number)
        used[0] += 1
    assert numbers == list(range(40)) and furthest[0] <= most


@pytest.mark.parametrize("pictures", [0, 9])
def test_reading_ahead_stops_when_its_user_stops(pictures):
    started = []

    def count(number: int) -> InputFile:
        started.append(number)
        return InputFile(number, Path(), pictures=(None,) * pictures)

    ahead = read_ahead(range(1000), count, ahead=3, threads=1)
    next(ahead)
    ahead.close()
    assert len(started) <= 4
