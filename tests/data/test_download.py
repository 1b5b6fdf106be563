"""`helpers.download` against a publisher on this machine that truncates, stalls, corrupts and refuses."""

import hashlib
import io
import random
import socket
import stat
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from helpers.data.download import SCRATCH, SOURCES, Original, Source, fetch, main
from helpers.study import StudyError

TABLE, MASKS = "HAM10000_metadata.csv", "HAM10000_segmentations_lesion_tschandl.zip"
PARTS = ("HAM10000_images_part_1.zip", "HAM10000_images_part_2.zip")
ROWS = b"image_id,dx\n" + b"".join(b"ISIC_%d,nv\n" % number for number in range(5))
PAGE = "https://publisher.example/page"
KINDS = {".csv": "text/csv", ".zip": "application/zip"}


class Handler(BaseHTTPRequestHandler):
    """Answers a GET with a file of the publisher, spoilt by the next of the faults planned for that file."""

    def do_GET(self):
        publisher, name = self.server.publisher, self.path.strip("/")
        publisher.requests.append((name, self.headers["Range"]))
        planned = publisher.faults.get(name)
        fault = planned.pop(0) if planned else "none"
        if fault in ("401", "403", "404", "503"):
            self.send_error(int(fault))
        elif fault == "page":
            self.answer(b"<html>Sign in</html>", kind="text/html")
        elif fault != "hang up":
            self.answer(publisher.files[name], fault, KINDS[name[-4:]])
        self.close_connection = True

    def answer(self, body, fault="none", kind="text/html"):
        start = int((self.headers["Range"] or "bytes=0-")[6:-1]) if self.server.publisher.ranges else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", kind)
        if start:
            told = start + 7 if fault == "another part" else start
            self.send_header("Content-Range", f"bytes {told}-{len(body) - 1}/{len(body)}")
        if fault not in ("shortened", "lengthened"):
            self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        half = start + (len(body) - start) // 2
        spoilt = {"truncated": body[:half], "shortened": body[:half], "stalled": body[:half]}
        spoilt |= {"corrupted": body[:half] + b"\0" * (len(body) - half), "lengthened": body + body}
        self.wfile.write(spoilt.get(fault, body)[start:])
        if fault in ("stalled", "lengthened"):
            self.wfile.flush()
            self.server.publisher.over.wait(10)

    def log_message(self, *_):
        pass


class Publisher:
    """A server on the loopback interface. files: bytes by name; faults: what goes wrong, request by request."""

    def __init__(self):
        self.files, self.faults, self.requests, self.ranges = {}, {}, [], True
        self.over = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.publisher = self
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def source(self, retries=0):
        """The files as a `Source`: what its checksums and counts say is true of the files as they are now."""
        address = f"http://127.0.0.1:{self.server.server_port}"
        originals = []
        for name, body in self.files.items():
            digest = f"md5:{hashlib.md5(body).hexdigest()}"
            count = body.count(b"\n") - 1 if name == TABLE else 5 if name == MASKS else 3
            aliases = ("HAM10000_metadata.tab",) if name == TABLE else ()
            originals.append(Original(name, f"{address}/{name}", len(body), digest, count, aliases))
        return {"ham10000": Source(PAGE, tuple(originals), timeout=0.8, retries=retries)}

    def stop(self):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


def packed(members, compression=zipfile.ZIP_STORED):
    """A zip's bytes, from pairs of name (or ZipInfo) and content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as zipped:
        for name, content in members:
            zipped.writestr(name, content)
    return buffer.getvalue()


def pictures(stems, suffix=".jpg", folder=""):
    return [(f"{folder}{stem}{suffix}", random.Random(stem).randbytes(60_000)) for stem in stems]


@pytest.fixture
def publisher(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Publisher()
    mac = [("part_1/", b""), ("part_1/.DS_Store", b"x"), ("part_1/._ISIC_0.jpg", b"x"), ("__MACOSX/icon.jpg", b"x")]
    server.files = {
        TABLE: ROWS,
        MASKS: packed(pictures([f"ISIC_{number}_segmentation" for number in range(5)], ".png")),
        PARTS[0]: packed(mac + pictures(["ISIC_0", "ISIC_1", "ISIC_2"], folder="part_1/")),
        PARTS[1]: packed([*pictures(["ISIC_3", "ISIC_4", "ISIC_5"]), ("LICENSE.txt", b"CC BY-NC 4.0")]),
    }
    yield server
    server.stop()


@pytest.fixture
def waits(monkeypatch):
    """Seconds waited between attempts, without waiting them."""
    seconds = []
    monkeypatch.setattr("time.sleep", seconds.append)
    return seconds


def in_place(folder):
    """Everything in the folder but the scratch folder, as paths in it."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(path) for path in paths if path.parts[0] != SCRATCH)


LASTING = {  # what goes wrong, and what the message calls it
    "hang up": "no connection, or it broke off",
    "truncated": "no connection, or it broke off",
    "stalled": "no connection, or it broke off or stalled",
    "shortened": "bytes in place of",
    "lengthened": "bytes in place of",
    "corrupted": "does not match the known hash",
    "503": "503 Server Error",
}
COMPLETE = sorted(
    [TABLE, "HAM10000_images_part_2/LICENSE.txt"]
    + [f"HAM10000_images_part_{1 + number // 3}/ISIC_{number}.jpg" for number in range(6)]
    + [f"HAM10000_segmentations_lesion_tschandl/ISIC_{number}_segmentation.png" for number in range(5)]
)


def test_everything_lands_in_the_publishers_layout_and_nothing_else(publisher, tmp_path):
    assert fetch("ham10000", tmp_path / "new" / "folder", publisher.source()) == tmp_path / "new" / "folder"
    folder = tmp_path / "new" / "folder"
    assert in_place(folder) == COMPLETE
    assert not (folder / SCRATCH).exists()
    assert (folder / TABLE).read_bytes() == ROWS
    for name, content in pictures(["ISIC_0", "ISIC_4"]):
        assert next(folder.glob(f"*/{name}")).read_bytes() == content


def test_a_second_call_fetches_nothing_and_a_removed_part_only(publisher, tmp_path):
    fetch("ham10000", tmp_path, publisher.source())
    publisher.requests.clear()
    fetch("ham10000", tmp_path, publisher.source())
    assert publisher.requests == []
    (tmp_path / TABLE).unlink()
    fetch("ham10000", tmp_path, publisher.source())
    assert publisher.requests == [(TABLE, None)]


def test_a_later_run_goes_on_where_an_earlier_one_broke_off(publisher, tmp_path):
    publisher.faults[PARTS[0]] = ["truncated"]
    with pytest.raises(StudyError):
        fetch("ham10000", tmp_path, publisher.source())
    arrived = (tmp_path / SCRATCH / f"{PARTS[0]}.part").stat().st_size
    assert 0 < arrived < len(publisher.files[PARTS[0]])
    publisher.requests.clear()
    fetch("ham10000", tmp_path, publisher.source())
    assert publisher.requests == [(PARTS[0], f"bytes={arrived}-"), (PARTS[1], None)]
    assert in_place(tmp_path) == COMPLETE


def test_a_zip_goes_as_soon_as_it_is_unpacked(publisher, tmp_path):
    publisher.faults[PARTS[1]] = ["403"]
    with pytest.raises(StudyError):
        fetch("ham10000", tmp_path, publisher.source())
    assert list((tmp_path / SCRATCH).iterdir()) == []
    assert in_place(tmp_path) == [name for name in COMPLETE if "part_2" not in name]


@pytest.mark.parametrize("second", ["without ranges", "another part", "corrupted"])
def test_a_resumed_download_that_does_not_fit_begins_anew(publisher, tmp_path, waits, second):
    publisher.ranges = second != "without ranges"
    publisher.faults[PARTS[0]] = ["truncated", second]
    fetch("ham10000", tmp_path, publisher.source(retries=2))
    assert in_place(tmp_path) == COMPLETE


@pytest.mark.parametrize("fault", LASTING)
def test_a_passing_fault_is_overcome_with_growing_waits(publisher, tmp_path, waits, fault):
    publisher.ranges = False
    publisher.faults[PARTS[0]] = [fault, fault]
    fetch("ham10000", tmp_path, publisher.source(retries=2))
    assert in_place(tmp_path) == COMPLETE
    assert waits == [1, 2]


@pytest.mark.parametrize("fault", ["401", "403", "404", "page"])
def test_a_refusal_is_not_asked_again_and_tells_what_to_do(publisher, tmp_path, fault):
    publisher.faults[PARTS[0]] = [fault]
    with pytest.raises(StudyError, match="refuses it" if fault != "page" else "sign in") as caught:
        fetch("ham10000", tmp_path, publisher.source(retries=3))
    assert [name for name, _ in publisher.requests].count(PARTS[0]) == 1
    for words in (PAGE, str(tmp_path), *PARTS):
        assert words in str(caught.value)
    assert TABLE not in str(caught.value)  # it has arrived by then


@pytest.mark.parametrize("fault", LASTING)
def test_a_lasting_fault_is_named_and_leaves_nothing_half_written(publisher, tmp_path, waits, fault):
    publisher.ranges = False
    publisher.faults[PARTS[0]] = [fault] * 2
    with pytest.raises(StudyError, match=LASTING[fault]) as caught:
        fetch("ham10000", tmp_path, publisher.source(retries=1))
    assert PAGE in str(caught.value) and str(tmp_path) in str(caught.value)
    assert in_place(tmp_path) == [name for name in COMPLETE if "images_part" not in name]


def without_network(sources):
    """The same sources at an address where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    source = sources["ham10000"]
    nowhere = [replace(file, url=f"http://127.0.0.1:{port}/{file.name}") for file in source.originals]
    return {"ham10000": replace(source, originals=tuple(nowhere))}


def test_without_network_the_message_names_page_files_and_folder(publisher, tmp_path):
    with pytest.raises(StudyError, match="no connection") as caught:
        fetch("ham10000", tmp_path, without_network(publisher.source()))
    for words in (PAGE, str(tmp_path), TABLE, "HAM10000_metadata.tab", MASKS, *PARTS):
        assert words in str(caught.value)


def test_files_put_there_by_hand_are_unpacked_without_network(publisher, tmp_path):
    for name, body in publisher.files.items():
        (tmp_path / name.replace(".csv", ".tab")).write_bytes(body)
    fetch("ham10000", tmp_path, without_network(publisher.source()))
    by_hand = {"HAM10000_metadata.tab", MASKS, *PARTS}
    assert set(in_place(tmp_path)) == set(COMPLETE) - {TABLE} | by_hand


@pytest.mark.parametrize("end, fault", [(b"", "180,.* bytes in place of"), (b"?", "its md5 is not")])
def test_a_wrong_zip_put_there_by_hand_is_named_and_left_alone(publisher, tmp_path, end, fault):
    wrong = publisher.files[PARTS[0]][:-1] + end
    (tmp_path / PARTS[0]).write_bytes(wrong)
    with pytest.raises(StudyError, match=f"{PARTS[0]}: not the file of {PAGE} .{fault}"):
        fetch("ham10000", tmp_path, publisher.source())
    assert (tmp_path / PARTS[0]).read_bytes() == wrong
    assert not (tmp_path / "HAM10000_images_part_1").exists()


def test_a_folder_or_table_that_is_there_in_part_is_named_and_left_alone(publisher, tmp_path):
    (tmp_path / "HAM10000_images_part_1").mkdir()
    (tmp_path / "HAM10000_images_part_1" / "ISIC_0.jpg").write_bytes(b"mine")
    with pytest.raises(StudyError, match="HAM10000_images_part_1: 1 images in place of 3"):
        fetch("ham10000", tmp_path, publisher.source())
    assert in_place(tmp_path) == ["HAM10000_images_part_1/ISIC_0.jpg"]
    (tmp_path / TABLE).write_bytes(ROWS[:-20])
    with pytest.raises(StudyError, match="rows in place of 5"):
        fetch("ham10000", tmp_path, publisher.source())
    assert publisher.requests == []


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def damaged(members):
    body = bytearray(packed(members))
    body[1000] ^= 1
    return bytes(body)


THREE = pictures(["ISIC_0", "ISIC_1", "ISIC_2"])
UNSAFE = {
    "leads out, up": (packed([*THREE, ("../../escaped.jpg", b"x")]), "leads out"),
    "leads out, down and up": (packed([*THREE, ("part_1/../../../escaped.jpg", b"x")]), "leads out"),
    "leads out, absolute": (packed([*THREE, ("/tmp/escaped.jpg", b"x")]), "leads out"),
    "leads out, Windows": (packed([*THREE, ("C:\\escaped.jpg", b"x")]), "leads out"),
    "leads out, backslash": (packed([*THREE, ("..\\..\\escaped.jpg", b"x")]), "leads out"),
    "link": (packed([*THREE, (link("escaped.jpg"), "/etc/passwd")]), "is a link"),
    "bomb": (packed([*THREE, ("zeros.jpg", bytes(40_000_000))], zipfile.ZIP_DEFLATED), "far more"),
    "swarm": (packed([*THREE, *((f"{number}.txt", b"") for number in range(200))]), "far more"),
    "twice": (packed([*THREE, ("again/ISIC_0.jpg", b"x")]), "is in it twice"),
    "damaged": (damaged(THREE), "Bad CRC-32"),
    "incomplete": (packed(THREE[:2]), "2 images in place of 3"),
    "no zip": (b"PK" + bytes(1000), "not a zip file"),
}


@pytest.mark.parametrize("case", UNSAFE)
def test_an_unsafe_or_damaged_zip_is_refused_and_nothing_of_it_stays(publisher, tmp_path, case):
    publisher.files = {PARTS[0]: UNSAFE[case][0]}
    folder = tmp_path / "below" / "here"
    with pytest.raises(StudyError, match=UNSAFE[case][1]):
        fetch("ham10000", folder, publisher.source())
    assert in_place(folder) == []
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [PARTS[0]]


def test_too_little_room_is_said_before_anything_is_fetched(publisher, tmp_path):
    source = publisher.source()["ham10000"]
    huge = tuple(replace(file, size=10**18) for file in source.originals)
    with pytest.raises(StudyError, match=r"GB are needed, .* GB are free"):
        fetch("ham10000", tmp_path, {"ham10000": replace(source, originals=huge)})
    assert publisher.requests == []


def test_a_folder_that_cannot_be_made_is_the_users_to_mend(publisher, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StudyError, match="See that this folder can be written"):
        fetch("ham10000", tmp_path / "file" / "folder", publisher.source())


@pytest.mark.parametrize("dataset, words", [("ham1000", "unknown dataset 'ham1000'"), ("demo", "drawn")])
def test_only_known_datasets_are_fetched(tmp_path, dataset, words):
    with pytest.raises(StudyError, match=f"{words}.*ham10000, isic2019"):
        fetch(dataset, tmp_path)


def test_command_line_ends_with_where_and_how_many(publisher, tmp_path, capsys):
    assert main(["ham10000", "--folder", str(tmp_path)], publisher.source()) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"ham10000: complete in {tmp_path}, 6 images"


def test_command_line_reports_an_error_without_a_traceback(publisher, tmp_path, capsys):
    publisher.faults[TABLE] = ["403"]
    assert main(["ham10000", "--folder", str(tmp_path)], publisher.source()) == 1
    told = capsys.readouterr().err
    assert "ham10000: http://127.0.0.1" in told and PAGE in told
    assert "Traceback" not in told


@pytest.mark.parametrize("dataset, images, digits", [("ham10000", 10_015, 32), ("isic2019", 25_331, 64)])
def test_the_published_sources_hold_together(dataset, images, digits):
    originals = SOURCES[dataset].originals
    tables = [file.count for file in originals if file.place == file.name]
    photographs = [file.count for file in originals if file.place != file.name and "segmentations" not in file.name]
    assert set(tables) == {sum(photographs)} == {images}
    for file in originals:
        algorithm, digest = file.checksum.split(":")
        assert len(digest) == digits == 2 * hashlib.new(algorithm).digest_size
        assert file.url.startswith("https://")
