"""Downloads from a publisher on this machine that truncates, stalls, corrupts and refuses."""

import hashlib
import io
import random
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from helpers.data import download
from helpers.data.download import SCRATCH, SOURCES, Original, Source, fetch, main
from helpers.study import StudyError

TABLE, MASKS = "HAM10000_metadata.csv", "HAM10000_segmentations_lesion_tschandl.zip"
PARTS = ("HAM10000_images_part_1.zip", "HAM10000_images_part_2.zip")
ROWS = b"image_id,dx\n" + b"".join(b"ISIC_%d,nv\n" % number for number in range(5))
PAGE = "https://publisher.example/page"
COMPLETE = sorted(
    [TABLE, "HAM10000_images_part_2/LICENSE.txt"]
    + [f"HAM10000_images_part_{1 + number // 3}/ISIC_{number}.jpg" for number in range(6)]
    + [f"HAM10000_segmentations_lesion_tschandl/ISIC_{number}_segmentation.png" for number in range(5)]
)


class Handler(BaseHTTPRequestHandler):
    """Answers a GET with a file of the publisher, spoilt by the next of the faults planned for that file."""

    def do_GET(self):
        publisher, name = self.server.publisher, self.path.strip("/")
        publisher.requests.append((name, self.headers["Range"]))
        planned = publisher.faults.get(name)
        fault = planned.pop(0) if planned else "none"
        if fault.isdigit():
            self.send_error(int(fault))
        elif fault == "page":
            self.answer(b"<html>Sign in</html>", kind="text/html")
        else:
            self.answer(publisher.files[name], fault)
        self.close_connection = True

    def answer(self, body, fault="none", kind="application/zip"):
        start = int((self.headers["Range"] or "bytes=0-")[6:-1]) if self.server.publisher.ranges else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", kind)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if fault != "shortened":
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        half = start + (len(body) - start) // 2
        end = b"\0" * (len(body) - half) if fault == "corrupted" else b""
        self.wfile.write((body if fault == "none" else body[:half] + end)[start:])
        if fault == "stalled":
            self.wfile.flush()
            self.server.publisher.over.wait(10)

    def log_message(self, *_):
        pass


class Publisher:
    """A server on the loopback interface. files: bytes by name; faults: what goes wrong, request by request."""

    def __init__(self, files):
        self.files, self.faults, self.requests, self.ranges = files, {}, [], True
        self.over = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.publisher = self
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def source(self):
        """The files as a `Source` with true checksums and counts."""
        address, counts = f"http://127.0.0.1:{self.server.server_port}", {TABLE: 5, MASKS: 5}
        originals = []
        for name, body in self.files.items():
            digest = f"md5:{hashlib.md5(body).hexdigest()}"
            aliases = ("HAM10000_metadata.tab",) if name == TABLE else ()
            originals.append(Original(name, f"{address}/{name}", len(body), digest, counts.get(name, 3), aliases))
        return Source(PAGE, tuple(originals))

    def stop(self):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


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
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    mac = [("part_1/", b""), ("part_1/.DS_Store", b"x"), ("part_1/._ISIC_0.jpg", b"x"), ("__MACOSX/icon.jpg", b"x")]
    files = {
        TABLE: ROWS,
        MASKS: pack(pictures(*[f"ISIC_{number}_segmentation" for number in range(5)], suffix=".png")),
        PARTS[0]: pack(mac + pictures("ISIC_0", "ISIC_1", "ISIC_2", folder="part_1/")),
        PARTS[1]: pack([*pictures("ISIC_3", "ISIC_4", "ISIC_5"), ("LICENSE.txt", b"CC BY-NC 4.0")]),
    }
    server = Publisher(files)
    monkeypatch.setitem(SOURCES, "ham10000", server.source())
    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    monkeypatch.setattr(download, "RETRIES", 0)
    yield server
    server.stop()


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


def test_files_land_in_the_publishers_layout(publisher, tmp_path):
    folder = tmp_path / "new" / "folder"
    assert fetch("ham10000", folder) == folder
    assert files_in_place(folder) == COMPLETE and not (folder / SCRATCH).exists()
    assert (folder / TABLE).read_bytes() == ROWS
    for name, content in pictures("ISIC_0", "ISIC_4"):
        assert next(folder.glob(f"*/{name}")).read_bytes() == content


def test_only_what_is_missing_is_fetched(publisher, tmp_path):
    fetch("ham10000", tmp_path)
    publisher.requests.clear()
    fetch("ham10000", tmp_path)
    assert publisher.requests == []
    (tmp_path / TABLE).unlink()
    fetch("ham10000", tmp_path)
    assert publisher.requests == [(TABLE, None)]


def test_a_later_run_resumes_a_broken_download(publisher, tmp_path):
    publisher.faults[PARTS[0]] = ["truncated"]
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


def test_a_zip_is_removed_as_soon_as_it_is_unpacked(publisher, tmp_path):
    publisher.faults[PARTS[1]] = ["403"]
    with pytest.raises(StudyError):
        fetch("ham10000", tmp_path)
    assert list((tmp_path / SCRATCH).iterdir()) == []
    assert files_in_place(tmp_path) == [name for name in COMPLETE if "part_2" not in name]


@pytest.mark.parametrize("ranges, second", [(False, "none"), (True, "corrupted")])
def test_a_resumed_download_that_does_not_fit_begins_anew(publisher, tmp_path, waits, ranges, second):
    publisher.ranges = ranges
    publisher.faults[PARTS[0]] = ["truncated", second]
    fetch("ham10000", tmp_path)
    assert files_in_place(tmp_path) == COMPLETE


FAULTS = {  # what goes wrong, and how the message names it
    "truncated": "no connection, or it broke off",
    "stalled": "no connection, or it broke off or stalled",
    "shortened": "does not match the known hash",
    "corrupted": "does not match the known hash",
    "503": "503 Server Error",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_overcome_if_it_passes_and_named_if_it_stays(publisher, tmp_path, waits, fault):
    publisher.ranges = False
    publisher.faults[PARTS[0]] = [fault] * 5
    with pytest.raises(StudyError, match=FAULTS[fault]) as caught:
        fetch("ham10000", tmp_path)
    assert PAGE in str(caught.value) and str(tmp_path) in str(caught.value)
    assert files_in_place(tmp_path) == [name for name in COMPLETE if "images_part" not in name]
    fetch("ham10000", tmp_path)
    assert files_in_place(tmp_path) == COMPLETE and waits == [1, 2] * 2


@pytest.mark.parametrize("fault, words", [("401", "refused it .401"), ("404", "refused it .404"), ("page", "sign in")])
def test_a_refusal_is_not_asked_again_and_says_what_to_do(publisher, tmp_path, waits, fault, words):
    publisher.faults[PARTS[0]] = [fault]
    with pytest.raises(StudyError, match=words) as caught:
        fetch("ham10000", tmp_path)
    assert [name for name, _ in publisher.requests].count(PARTS[0]) == 1 and waits == []
    assert all(part in str(caught.value) for part in (PAGE, str(tmp_path), *PARTS))
    assert TABLE not in str(caught.value)  # it has arrived by then


def test_without_network_the_message_names_page_files_and_folder(publisher, tmp_path):
    publisher.stop()
    with pytest.raises(StudyError, match="no connection") as caught:
        fetch("ham10000", tmp_path)
    wanted = (PAGE, str(tmp_path), TABLE, "HAM10000_metadata.tab", MASKS, *PARTS)
    assert all(words in str(caught.value) for words in wanted)


def test_files_put_there_by_hand_are_unpacked_without_network(publisher, tmp_path):
    publisher.stop()
    for name, body in publisher.files.items():
        (tmp_path / name.replace(".csv", ".tab")).write_bytes(body)
    fetch("ham10000", tmp_path)
    by_hand = {"HAM10000_metadata.tab", MASKS, *PARTS}
    assert set(files_in_place(tmp_path)) == set(COMPLETE) - {TABLE} | by_hand


def test_a_wrong_zip_put_there_by_hand_is_named_and_left_alone(publisher, tmp_path):
    wrong = publisher.files[PARTS[0]][:-1] + b"?"
    (tmp_path / PARTS[0]).write_bytes(wrong)
    with pytest.raises(StudyError, match=f"{PARTS[0]}: not the file that {PAGE} offers, its checksum is not md5:"):
        fetch("ham10000", tmp_path)
    assert (tmp_path / PARTS[0]).read_bytes() == wrong
    assert not (tmp_path / "HAM10000_images_part_1").exists()


def test_an_incomplete_folder_or_table_is_named_and_left_alone(publisher, tmp_path):
    (tmp_path / "HAM10000_images_part_1").mkdir()
    (tmp_path / "HAM10000_images_part_1" / "ISIC_0.jpg").write_bytes(b"mine")
    with pytest.raises(StudyError, match="HAM10000_images_part_1 has 1 images instead of 3"):
        fetch("ham10000", tmp_path)
    assert files_in_place(tmp_path) == ["HAM10000_images_part_1/ISIC_0.jpg"]
    (tmp_path / TABLE).write_bytes(ROWS[:-20])
    with pytest.raises(StudyError, match="rows instead of 5"):
        fetch("ham10000", tmp_path)
    assert publisher.requests == []


def test_too_little_disk_space_is_reported_before_anything_is_fetched(publisher, tmp_path, monkeypatch):
    source = publisher.source()
    huge = tuple(replace(file, size=10**18) for file in source.originals)
    monkeypatch.setitem(SOURCES, "ham10000", replace(source, originals=huge))
    with pytest.raises(StudyError, match=r"GB are needed, .* GB are free"):
        fetch("ham10000", tmp_path)
    assert publisher.requests == []


def test_a_folder_that_cannot_be_made_is_named(publisher, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StudyError, match="Make this folder writable"):
        fetch("ham10000", tmp_path / "file" / "folder")


@pytest.mark.parametrize("dataset, words", [("ham1000", "unknown dataset 'ham1000'"), ("demo", "drawn")])
def test_only_known_datasets_are_fetched(tmp_path, dataset, words):
    with pytest.raises(StudyError, match=f"{words}.*ham10000, isic2019"):
        fetch(dataset, tmp_path)


def test_command_line_prints_the_folder_or_the_error(publisher, tmp_path, capsys):
    publisher.faults[TABLE] = ["403"]
    assert main(["ham10000", "--folder", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "ham10000: http://127.0.0.1" in error and PAGE in error and "Traceback" not in error
    assert main(["ham10000", "--folder", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"ham10000: complete in {tmp_path}, 6 images"


@pytest.mark.parametrize("dataset, images, digits", [("ham10000", 10_015, 32), ("isic2019", 25_331, 64)])
def test_the_published_sources_are_consistent(dataset, images, digits):
    originals = SOURCES[dataset].originals
    tables = [file.count for file in originals if file.place == file.name]
    photographs = [file.count for file in originals if file.place != file.name and "segmentations" not in file.name]
    assert set(tables) == {sum(photographs)} == {images}
    for file in originals:
        algorithm, digest = file.checksum.split(":")
        assert len(digest) == digits == 2 * hashlib.new(algorithm).digest_size
        assert file.url.startswith("https://")
