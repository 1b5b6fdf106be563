"""Downloads from a publisher that breaks off, corrupts and refuses."""

import io
import random
import re
import zipfile
from dataclasses import replace
from hashlib import md5

import pytest
import requests

from helpers.data import download
from helpers.data.download import PAGES, SCRATCH, Original, fetch, main, read_originals
from helpers.data.external import EXTERNAL
from helpers.study import StudyError

TABLE, MASKS = "HAM10000_metadata.csv", "HAM10000_segmentations_lesion_tschandl.zip"
PARTS = ("HAM10000_images_part_1.zip", "HAM10000_images_part_2.zip")
ROWS = b"image_id,dx\n" + b"".join(b"ISIC_%d,nv\n" % number for number in range(5))
COUNTS = {TABLE: 5, MASKS: 5, PARTS[0]: 3, PARTS[1]: 3}
PAGE = PAGES["ham10000"]
COMPLETE = sorted(
    [TABLE, "HAM10000_images_part_2/LICENSE.txt"]
    + [f"HAM10000_images_part_{1 + number // 3}/ISIC_{number}.jpg" for number in range(6)]
    + [f"HAM10000_segmentations_lesion_tschandl/ISIC_{number}_segmentation.png" for number in range(5)]
)


class Publisher:
    """Answers in place of `requests.get`: with a file, spoilt by the next of the faults planned for that file."""

    def __init__(self, files):
        self.files, self.faults, self.requests, self.ranges = files, {name: [] for name in files}, [], True

    def originals(self):
        """The files with true checksums and counts."""
        return [
            Original("ham10000", name, f"https://{name}", len(body), f"md5:{md5(body).hexdigest()}", COUNTS[name])
            for name, body in self.files.items()
        ]

    def get(self, url, *, headers, timeout, **_):
        assert timeout == download.TIMEOUT and headers["Accept-Encoding"] == "identity"
        name = url.removeprefix("https://")
        self.requests.append((name, headers.get("Range")))
        fault = self.faults[name].pop(0) if self.faults[name] else "none"
        response, body = requests.Response(), self.files[name]
        response.status_code, response.reason = (int(fault), "No") if fault.isdigit() else (200, "OK")
        response.headers["Content-Type"] = "text/html; charset=utf-8" if fault == "page" else "application/zip"
        start = int(headers.get("Range", "bytes=0-")[6:-1]) if self.ranges else 0
        if start:
            response.status_code = 206
            response.headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        half = body[: len(body) // 2]
        spoilt = {"breaks off": half, "too short": half, "corrupted": half.ljust(len(body), b"?")}
        response.raw = (BreaksOff if fault == "breaks off" else io.BytesIO)(spoilt.get(fault, body)[start:])
        return response


class BreaksOff(io.BytesIO):
    """A body that is followed by an error and not by its end."""

    def read(self, size):
        if block := super().read(size):
            return block
        raise requests.ConnectionError


def pack(members):
    """A zip's bytes, from pairs of name and content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for name, content in members:
            zipped.writestr(name, content)
    return buffer.getvalue()


def pictures(*stems, suffix=".jpg", folder=""):
    return [(f"{folder}{stem}{suffix}", random.Random(stem).randbytes(60_000)) for stem in stems]


@pytest.fixture
def publisher(monkeypatch):
    mac = [("part_1/", b""), ("part_1/.DS_Store", b"x"), ("part_1/._ISIC_0.jpg", b"x"), ("__MACOSX/icon.jpg", b"x")]
    files = {
        TABLE: ROWS,
        MASKS: pack(pictures(*[f"ISIC_{number}_segmentation" for number in range(5)], suffix=".png")),
        PARTS[0]: pack(mac + pictures("ISIC_0", "ISIC_1", "ISIC_2", folder="part_1/")),
        PARTS[1]: pack([*pictures("ISIC_3", "ISIC_4", "ISIC_5"), ("LICENSE.txt", b"CC BY-NC 4.0")]),
    }
    publisher = Publisher(files)
    monkeypatch.setattr(download, "read_originals", publisher.originals)
    monkeypatch.setattr(requests, "get", publisher.get)
    monkeypatch.setattr(download, "RETRIES", 0)
    return publisher


@pytest.fixture
def waits(monkeypatch):
    """Seconds waited between two further attempts, without waiting them."""
    seconds = []
    monkeypatch.setattr("time.sleep", seconds.append)
    monkeypatch.setattr(download, "RETRIES", 2)
    return seconds


def files_in_place(folder):
    """Paths of all files in the folder but those in the scratch folder."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(path) for path in paths if path.parts[0] != SCRATCH)


def test_files_land_in_the_publishers_layout_and_are_fetched_once(publisher, tmp_path):
    folder = tmp_path / "new" / "folder"
    assert fetch("ham10000", folder) == folder
    assert files_in_place(folder) == COMPLETE and not (folder / SCRATCH).exists()
    assert (folder / TABLE).read_bytes() == ROWS
    for name, content in pictures("ISIC_0", "ISIC_4"):
        assert next(folder.glob(f"*/{name}")).read_bytes() == content
    publisher.requests.clear()
    (folder / TABLE).unlink()
    fetch("ham10000", folder)
    assert publisher.requests == [(TABLE, None)]


def test_a_later_run_resumes_a_broken_download(publisher, tmp_path):
    publisher.faults[PARTS[0]] = ["breaks off"]
    with pytest.raises(StudyError):
        fetch("ham10000", tmp_path)
    arrived = (tmp_path / SCRATCH / f"{PARTS[0]}.part").stat().st_size
    assert 0 < arrived < len(publisher.files[PARTS[0]])
    publisher.requests.clear()
    fetch("ham10000", tmp_path)
    assert publisher.requests == [(PARTS[0], f"bytes={arrived}-"), (PARTS[1], None)]
    assert files_in_place(tmp_path) == COMPLETE


@pytest.mark.parametrize("arrived", ["whole", "too long"])
def test_a_partial_file_of_full_length_is_not_asked_for_beyond_its_end(publisher, tmp_path, arrived):
    (tmp_path / SCRATCH).mkdir()
    end = b"?" if arrived == "too long" else b""
    (tmp_path / SCRATCH / f"{PARTS[0]}.part").write_bytes(publisher.files[PARTS[0]] + end)
    fetch("ham10000", tmp_path)
    assert [request for request in publisher.requests if request[0] == PARTS[0]] == [(PARTS[0], None)] * len(end)
    assert files_in_place(tmp_path) == COMPLETE


@pytest.mark.parametrize("ranges, second", [(False, "none"), (True, "corrupted")])
def test_a_resumed_download_that_does_not_fit_begins_anew(publisher, tmp_path, waits, ranges, second):
    publisher.ranges = ranges
    publisher.faults[PARTS[0]] = ["breaks off", second]
    fetch("ham10000", tmp_path)
    assert files_in_place(tmp_path) == COMPLETE


FAULTS = {  # what goes wrong, and how the message names it
    "breaks off": "no connection, or the connection broke off",
    "too short": "does not match the known hash",
    "corrupted": "does not match the known hash",
    "503": "503 Server Error",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_overcome_if_it_passes_and_named_if_it_stays(publisher, tmp_path, waits, fault):
    publisher.ranges = False
    publisher.faults[PARTS[0]] = [fault] * 5  # of the second call, the third attempt succeeds
    with pytest.raises(StudyError, match=FAULTS[fault]):
        fetch("ham10000", tmp_path)
    assert files_in_place(tmp_path) == [name for name in COMPLETE if "images_part" not in name]
    fetch("ham10000", tmp_path)
    assert files_in_place(tmp_path) == COMPLETE and waits == [1, 2] * 2


REFUSALS = {"401": "refused the request .401", "404": "refused the request .404", "page": "sign in"}


@pytest.mark.parametrize("fault", REFUSALS)
def test_a_refusal_is_not_asked_again_and_says_what_to_do(publisher, tmp_path, waits, fault):
    publisher.faults[PARTS[1]] = [fault]
    with pytest.raises(StudyError, match=REFUSALS[fault]) as caught:
        fetch("ham10000", tmp_path)
    assert [name for name, _ in publisher.requests].count(PARTS[1]) == 1 and waits == []
    assert all(part in str(caught.value) for part in (PAGE, str(tmp_path), PARTS[1]))
    assert TABLE not in str(caught.value)  # it has arrived by then
    assert list((tmp_path / SCRATCH).iterdir()) == []  # what is unpacked is no longer there as a zip
    assert files_in_place(tmp_path) == [name for name in COMPLETE if "part_2" not in name]


def test_files_put_there_by_hand_are_unpacked_without_network(publisher, tmp_path):
    for name, body in publisher.files.items():
        (tmp_path / name.replace(".csv", ".tab")).write_bytes(body)
    fetch("ham10000", tmp_path)
    by_hand = {"HAM10000_metadata.tab", MASKS, *PARTS}
    assert set(files_in_place(tmp_path)) == set(COMPLETE) - {TABLE} | by_hand and publisher.requests == []


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        (PARTS[0], b"no zip", f"{PARTS[0]}: not the file from .*: its checksum is not md5:"),
        ("HAM10000_images_part_1/ISIC_0.jpg", b"", "HAM10000_images_part_1 has 1 images instead of 3"),
        (TABLE, ROWS[:-20], "rows instead of 5"),
        ("file", b"", "file/folder: .*Make this folder writable"),
    ],
)
def test_what_lies_there_and_is_not_right_is_named_and_left_alone(publisher, tmp_path, name, content, fault):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StudyError, match=fault):
        fetch("ham10000", tmp_path / "file" / "folder" if name == "file" else tmp_path)
    assert (tmp_path / name).read_bytes() == content and (PARTS[0], None) not in publisher.requests


@pytest.mark.parametrize(
    ("dataset", "fault"), [("ham1000", "unknown dataset 'ham1000'"), ("demo", "drawn"), ("ham10000", "GB are needed")]
)
def test_nothing_is_fetched_of_an_unknown_dataset_or_onto_a_full_disk(publisher, tmp_path, monkeypatch, dataset, fault):
    huge = [replace(file, size=10**18) for file in publisher.originals()]
    monkeypatch.setattr(download, "read_originals", lambda: huge)
    with pytest.raises(StudyError, match=fault):
        fetch(dataset, tmp_path)
    assert publisher.requests == []


def test_a_set_of_another_clinic_is_got_by_hand(tmp_path):
    with pytest.raises(StudyError, match=f"(?s)by hand.*{EXTERNAL['ph2'].page}"):
        fetch("ph2", tmp_path)


def test_command_line_prints_the_folder_or_the_error(publisher, tmp_path, capsys):
    publisher.faults[TABLE] = ["403"]
    assert main(["ham10000", "--folder", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "ham10000: https://" in error and PAGE in error and "Traceback" not in error
    assert main(["ham10000", "--folder", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"ham10000: complete in {tmp_path}, 6 images"


@pytest.mark.parametrize("dataset, images", [("ham10000", 10_015), ("isic2019", 25_331)])
def test_the_published_files_are_consistent(dataset, images):
    files = [file for file in read_originals() if file.dataset == dataset]
    photographs = sum(file.count for file in files if re.search("(part_.|Input).zip", file.name))
    assert {file.count for file in files if file.name.endswith(".csv")} == {photographs} == {images}
    assert all(re.fullmatch("md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", file.checksum) for file in files)
    assert all(file.url.startswith("https://") for file in files)
