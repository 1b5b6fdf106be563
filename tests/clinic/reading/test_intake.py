"""Files as they arrive: found, called by their content, read ahead; what cannot be read is one file's fault."""

import hashlib
import os
import re
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from clinical import SIDE, dicom_file, image_file, jpeg, secret_object
from conftest import picture
from pydicom.uid import DeflatedExplicitVRLittleEndian

from clinic.example import as_bytes
from clinic.reading import intake, worker
from clinic.reading.intake import Arrival, Found, Reader, find_files, read_ahead
from clinic.reading.pictures import Budget, Unreadable, Wanted
from clinic.reading.worker import Decoder
from helpers.study import ROOT, StudyError

WANTED = Wanted(SIDE)
OBJECT = as_bytes(secret_object(np.asarray(picture(0, 48))))


def test_files_are_found_however_deep_and_sorted(tmp_path):
    for name in ("b.jpg", "a/z.png", "a/deeper/c", ".hidden/d.jpg", ".e.jpg", "DICOMDIR"):
        image_file(tmp_path / name, format="JPEG")
    found = find_files([tmp_path])
    assert [str(one.path.relative_to(tmp_path)) for one in found] == ["b.jpg", "a/z.png", "a/deeper/c"]
    assert [one.number for one in found] == [1, 2, 3] and not any(one.fault for one in found)


def test_a_file_may_be_named_by_any_path(tmp_path):
    image_file(tmp_path / "a" / "b.jpg")
    (found,) = find_files([tmp_path / "a" / ".." / "a" / "b.jpg"])
    assert not found.fault


def test_links_out_of_a_folder_are_not_followed(tmp_path):
    inside, outside = image_file(tmp_path / "in" / "a.jpg"), image_file(tmp_path / "out" / "b.jpg")
    (tmp_path / "in" / "c.jpg").symlink_to(outside)
    (tmp_path / "in" / "d.jpg").symlink_to("../out/b.jpg")
    (tmp_path / "in" / "e.jpg").symlink_to(inside)
    (tmp_path / "in" / "f.jpg").symlink_to("f.jpg")
    (tmp_path / "in" / "g").symlink_to(tmp_path / "out")
    faults = {one.path.name: one.fault for one in find_files([tmp_path / "in"])}
    assert faults["a.jpg"] == faults["e.jpg"] == ""
    assert all("out of the folder" in faults[name] for name in ("c.jpg", "d.jpg"))
    assert "cannot be opened" in faults["f.jpg"] and faults["g"] == "a link to a folder, which is not followed"


def test_folders_that_are_not_gone_into_are_faults(tmp_path, monkeypatch):
    """One that cannot be opened, however deep; where it can be told, since an administrator may open any."""
    image_file(tmp_path / "in" / "a.jpg")
    image_file(tmp_path / "in" / "b" / "closed" / "c.jpg")
    own = os.scandir

    def scandir(path):
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return own(path)

    monkeypatch.setattr(os, "scandir", scandir)
    faults = {one.path.name: one.fault for one in find_files([tmp_path / "in"])}
    assert faults == {"a.jpg": "", "closed": "a folder that cannot be opened"}


def test_what_is_no_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert [one.fault for one in find_files([tmp_path])] == ["not a file"]


def test_nothing_to_predict(tmp_path):
    with pytest.raises(StudyError, match="no file to predict"):
        find_files([tmp_path])
    with pytest.raises(StudyError, match=r"^Input 2 does not exist\.$"):
        find_files([tmp_path, tmp_path / "absent.jpg"])


def test_a_file_is_called_by_its_content(tmp_path):
    image_file(tmp_path / "Erika Muster.jpg")
    (found,) = find_files([tmp_path])
    with Reader(WANTED) as reader:
        arrival = reader(found)
    assert arrival.image == hashlib.sha256(found.path.read_bytes()).hexdigest()[:16]
    assert arrival.pictures[0].square.shape == (SIDE, SIDE, 3) and arrival.place is None and not arrival.fault


def test_under_a_key_a_name_cannot_be_found_again(tmp_path):
    found = Found(1, image_file(tmp_path / "a.jpg"))
    names = set()
    for key in (b"", b"one", b"another"):
        with Reader(WANTED, key=key) as reader:
            names.add(reader(found).image)
            assert reader(found).image in names
    assert len(names) == 3 and {len(name) for name in names} == {16}


@pytest.mark.parametrize(
    ("name", "data", "fault"),
    [
        ("empty.jpg", b"", "empty"),
        ("notes.txt", b"Erika Muster", "neither JPEG, PNG nor DICOM"),
        ("half.jpg", jpeg()[:400], "cut off|not a whole"),
        ("photo.dcm", b"\0" * 128 + b"DICM" + b"\0" * 99, "no photograph"),
    ],
)
def test_the_fault_of_a_file_is_told_without_its_name_or_content(tmp_path, name, data, fault):
    (tmp_path / name).write_bytes(data)
    with Reader(WANTED) as reader:
        arrival = reader(find_files([tmp_path])[0])
    assert not arrival.pictures and re.search(fault, arrival.fault)
    assert "Erika" not in arrival.fault and name not in arrival.fault


def test_a_file_that_is_gone_or_too_large(tmp_path, monkeypatch):
    found = Found(1, image_file(tmp_path / "a.jpg"))
    monkeypatch.setattr(intake, "LARGEST", 100)
    with Reader(WANTED) as reader:
        assert "MiB" in find_files([tmp_path])[0].fault and "MiB" in reader(found).fault
        found.path.unlink()
        assert reader(found).fault == "the file cannot be opened"


def test_what_is_of_no_kind_is_refused_by_its_first_bytes(tmp_path, monkeypatch):
    """Sixty-four megabytes that are no image: neither read as a whole nor called by what they hold."""
    with (tmp_path / "video.mp4").open("wb") as file:
        file.truncate(64 * 2**20)
    monkeypatch.setattr(Reader, "_called", lambda *_: pytest.fail("its digest was taken"))
    tracemalloc.start()
    try:
        with Reader(WANTED) as reader:
            arrival = reader(find_files([tmp_path])[0])
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert arrival.fault == "neither JPEG, PNG nor DICOM" and arrival.image == ""


def test_files_are_held_up_to_a_number_of_bytes(tmp_path, monkeypatch):
    """Three files that are each more than half of what may be held are read one after the other."""
    files = [Found(seed, image_file(tmp_path / f"{seed}.jpg", seed)) for seed in range(3)]
    budget, inside, most = Budget(max(one.path.stat().st_size for one in files)), [], [0]

    def decode(*_):
        inside.append(1)
        most[0] = max(most[0], len(inside))
        time.sleep(0.02)
        inside.pop()

    monkeypatch.setattr(intake, "_bytes_held", budget)
    monkeypatch.setattr(intake, "decode", decode)
    with Reader(WANTED) as reader:
        assert len(list(read_ahead(files, reader, ahead=3, threads=3))) == 3 and most == [1]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes that are files")
def test_a_pipe_in_the_place_of_a_file_keeps_nobody_waiting(tmp_path):
    found = Found(1, image_file(tmp_path / "a.jpg"))
    found.path.unlink()
    os.mkfifo(found.path)
    with Reader(WANTED) as reader, ThreadPoolExecutor(1) as pool:
        read = pool.submit(reader, found)
        try:
            assert read.result(10).fault == "not a file"
        finally:  # lets go of a thread that waits at the pipe
            os.close(os.open(found.path, os.O_RDWR | os.O_NONBLOCK))


def test_dicom_is_read_by_a_process_of_its_own(tmp_path):
    found = Found(1, dicom_file(tmp_path / "a.dcm"))
    with Reader(Wanted(SIDE, preview=64)) as reader:
        arrival, again = reader(found), reader(found)
        process = reader._own.decoder._process
        assert process.poll() is None
    assert process.poll() is not None
    assert arrival.place["patient_id"] == "P-17"
    (picture,) = arrival.pictures
    assert picture.preview.shape == (64, 64, 3) and (picture.square == again.pictures[0].square).all()
    assert isinstance(picture.measures, np.ndarray) and (picture.width, picture.height) == (48, 48)


def test_a_decoder_that_crashes_costs_one_file(monkeypatch):
    with Decoder() as decoder:
        with monkeypatch.context() as patch:
            patch.setattr(worker, "COMMAND", [sys.executable, "-c", "import os; input(); os.abort()"])
            with pytest.raises(Unreadable, match="crashed"):
                decoder.read(OBJECT, WANTED)
        assert len(decoder.read(OBJECT, WANTED)[1]) == 1


def test_a_decoder_that_cannot_be_started_is_told_as_such(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "COMMAND", [str(tmp_path / "absent")])
    with Reader(WANTED) as reader:
        arrival = reader(Found(1, dicom_file(tmp_path / "a.dcm")))
    assert arrival.fault == "no decoder could be started for it"


@pytest.mark.parametrize("cores", [1, 64])
def test_decoders_leave_no_core_behind_and_share_half_of_the_memory(cores):
    """As each sets its own limits; in a process of its own, where they may be set."""
    code = (
        f"import os; os.cpu_count = lambda: {cores}\n"
        "import resource; from clinic.reading import worker; worker._limit()\n"
        "print(worker.THREADS, resource.getrlimit(resource.RLIMIT_CORE)[0], resource.getrlimit(resource.RLIMIT_AS)[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    threads, core, memory = map(int, done.stdout.split())
    half = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    assert (threads, core) == (min(8, cores), 0)
    assert worker.LEAST_MEMORY <= memory <= worker.MOST_MEMORY
    assert memory * threads <= half or memory == worker.LEAST_MEMORY


def deflated_bomb(gigabytes: int) -> bytes:
    """A DICOM object whose deflated header goes on and on: the same compressed zeros, again and again."""
    image = secret_object(np.asarray(picture(0, 8)))
    image.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data = as_bytes(image)
    start = 144 + int.from_bytes(data[140:144], "little")  # behind the group that says how long it is
    packer = zlib.compressobj(wbits=-15)
    header = packer.compress(zlib.decompress(data[start:], wbits=-15)) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)
    return data[:start] + header + zeros * (gigabytes * 64) + packer.flush()


def test_a_deflated_bomb_costs_one_file(monkeypatch):
    """Of some kilobytes in its file and four gigabytes in memory, of which a decoder may have one."""
    bomb = deflated_bomb(4)
    assert len(bomb) < 5_000_000
    code = "from clinic.reading import worker; worker._memory = lambda: 2**30; worker.main()"
    monkeypatch.setattr(worker, "COMMAND", [sys.executable, "-c", code])
    with Decoder(longest=300) as decoder:
        with pytest.raises(Unreadable, match="not a whole DICOM file|crashed"):
            decoder.read(bomb, WANTED)
        assert len(decoder.read(OBJECT, WANTED)[1]) == 1


@pytest.mark.parametrize(
    "answer", ["{", "3", "[]", "{}", '{"place": {}, "frames": 1}', '{"place": {}, "frames": [{}]}']
)
def test_a_decoder_that_talks_nonsense_is_not_believed(monkeypatch, answer):
    monkeypatch.setattr(worker, "COMMAND", [sys.executable, "-c", f"input(); print('{answer}', flush=True)"])
    with Decoder() as decoder, pytest.raises(Unreadable, match="crashed"):
        decoder.read(OBJECT, WANTED)


def test_a_decoder_that_ended_is_replaced():
    with Decoder() as decoder:
        decoder.read(OBJECT, WANTED)
        decoder._process.kill()
        decoder._process.wait()
        assert len(decoder.read(OBJECT, WANTED)[1]) == 1


def test_a_decoder_that_hangs_costs_one_file():
    with Decoder(longest=0.01) as decoder, pytest.raises(Unreadable, match="not decoded within 0.01 s"):
        decoder.read(OBJECT, WANTED)


def test_a_decoder_decodes_the_bytes_that_the_name_is_of(tmp_path, monkeypatch):
    """The file is read once: what stands at its place afterwards does not matter."""
    found = Found(1, dicom_file(tmp_path / "a.dcm"))
    with Reader(WANTED) as reader:
        expected = reader(found)
        called = Reader._called
        monkeypatch.setattr(Reader, "_called", lambda *own: (called(*own), found.path.write_bytes(b"other"))[0])
        again = reader(found)
    assert again.image == expected.image and (again.pictures[0].square == expected.pictures[0].square).all()


def test_reading_ahead_keeps_the_order_and_its_bound():
    running, most, lock = set(), [0], threading.Lock()

    def read(number: int) -> Arrival:
        with lock:
            running.add(number)
            most[0] = max(most[0], len(running))
        time.sleep(0.001 * (number % 3))
        return Arrival(Found(number, Path()))

    numbers = []
    for arrival in read_ahead(range(60), read, ahead=5, threads=4):
        with lock:
            running.discard(arrival.found.number)
        numbers.append(arrival.found.number)
    assert numbers == list(range(60)) and most[0] <= 5


def test_reading_ahead_counts_the_pictures_that_wait():
    """Each of forty files has ten: two threads begin none once ten wait, so at most two files of ten are read ahead."""
    read, most, taken = [0], [0], 0

    def with_ten(number: int) -> Arrival:
        read[0] += 10
        most[0] = max(most[0], read[0] - 10 * taken)
        return Arrival(Found(number, Path()), pictures=(None,) * 10)

    for number, arrival in enumerate(read_ahead(range(40), with_ten, ahead=10, threads=2)):
        time.sleep(0.002)
        taken += 1
        assert arrival.found.number == number
    assert taken == 40 and most[0] <= 40


@pytest.mark.parametrize("pictures", [0, 9])
def test_reading_ahead_stops_when_nobody_reads_on(pictures):
    started = []

    def read(number: int) -> Arrival:
        started.append(number)
        return Arrival(Found(number, Path()), pictures=(None,) * pictures)

    ahead = read_ahead(range(1000), read, ahead=3, threads=1)
    next(ahead)
    ahead.close()
    assert len(started) <= 4
