"""A watched folder: each file is answered once, however often the program is killed."""

import errno
import os
import signal
import threading
from contextlib import contextmanager

import pandas as pd
import pytest
from clinical import by_brightness, command_process, deployment, image_file, wait_for

from clinic import watch as module
from clinic.command import DONE, NO_RESULTS, main
from clinic.watch import watch
from clinic.writing.outputs import Outputs
from clinic.writing.tables import JOURNAL, Tables


@pytest.fixture
def watcher(tmp_path, monkeypatch):
    """A function that watches the folder `in` in a thread."""
    monkeypatch.setattr(module, "SECONDS", 0.1)
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()

    @contextmanager
    def start():
        deployed, ended = deployment(abstention_threshold=-9.0), threading.Event()
        outputs = Outputs(tmp_path / "out", deployed, fhir=True)
        tables = Tables(tmp_path / "out", deployed, None)
        given = {"tables": tables, "ended": ended}
        thread = threading.Thread(target=watch, args=(tmp_path / "in", by_brightness, outputs), kwargs=given)
        thread.start()
        try:
            yield tables
        finally:
            ended.set()
            thread.join()

    return start


def rows(folder) -> pd.DataFrame:
    return pd.read_csv(folder / "predictions.csv")


def test_files_of_one_name_are_told_apart_and_a_changed_one_is_answered_again(watcher, tmp_path):
    with watcher() as tables:
        for seed, name in enumerate(("monday", "tuesday")):
            image_file(tmp_path / "in" / name / "lesion.png", seed)
        wait_for(lambda: tables.counts["images"] == 2)
        image_file(tmp_path / "in" / "monday" / "lesion.png", 2)
        wait_for(lambda: tables.counts["images"] == 3)
    table = rows(tmp_path / "out")
    assert sorted(table["path"]) == ["monday/lesion.png", "monday/lesion.png", "tuesday/lesion.png"]
    assert table["file"].tolist() == [1, 2, 3] and table["image"].nunique() == 3
    bundles = {path.name for path in (tmp_path / "out" / "fhir").iterdir()}
    assert bundles == {f"{image}-1.json" for image in table["image"]}


def test_a_broken_file_costs_one_message_and_one_that_grows_is_waited_for(watcher, tmp_path, caplog):
    caplog.set_level("INFO")
    whole = image_file(tmp_path / "whole.png").read_bytes()
    (tmp_path / "in" / "Erika Muster.png").write_bytes(whole[:100])
    with watcher() as tables, (tmp_path / "in" / "grows.png").open("wb", buffering=0) as file:
        for byte in range(0, 1000, 100):
            file.write(whole[byte : byte + 100])
            os.utime(file.fileno(), ns=(byte, byte))
        wait_for(lambda: tables.counts["failed"])
        file.write(whole[1000:])
        wait_for(lambda: tables.counts["images"])
    messages = [record.getMessage() for record in caplog.records if record.name == "clinic.watch"]
    assert sum("broken or cut off" in message for message in messages) in (1, 2) and "Muster" not in caplog.text


def test_a_full_disk_is_waited_for(watcher, tmp_path, caplog):
    """While it is full nothing counts as answered; then everything is, once, and without a fault."""
    full = OSError(errno.ENOSPC, "No space left on device", "Erika Muster")
    with pytest.MonkeyPatch.context() as patch, watcher() as tables:
        patch.setattr("helpers.records.tempfile.mkstemp", lambda **_: (_ for _ in ()).throw(full))
        for seed in range(3):
            image_file(tmp_path / "in" / f"{seed}.png", seed)
        wait_for(lambda: caplog.text.count("No space left on device; it is tried again") > 1)
        assert not tables.counts["files"] and "Muster" not in caplog.text
        patch.undo()
        wait_for(lambda: tables.counts["images"] == 3)
    assert rows(tmp_path / "out")["file"].tolist() == [1, 2, 3] and not tables.counts["failed"]
    assert len(list((tmp_path / "out" / "fhir").iterdir())) == 3


@pytest.mark.slow
def test_a_killed_watch_answers_each_file_once(tmp_path):
    for number in range(40):
        image_file(tmp_path / "in" / f"{number}.png", number, 24)
    words, journal = ("watch", tmp_path / "in", "--out", tmp_path / "out", "--fhir"), tmp_path / "out" / JOURNAL
    with command_process(*words) as first:
        wait_for(lambda: journal.read_text().count("\n") > 5)
        first.kill()
    first_lines = journal.read_text().count("\n") - 1
    with command_process(*words) as second:
        wait_for(lambda: journal.read_text().count("\n") == 41)
        second.send_signal(signal.SIGTERM)
        assert second.wait(60) == DONE
    table = rows(tmp_path / "out")
    assert 5 <= first_lines < 40 and len(table) == table["path"].nunique() == 40
    assert len(list((tmp_path / "out" / "fhir").iterdir())) == 40


def test_only_a_folder_can_be_watched(tmp_path, capsys):
    assert main(["watch", str(tmp_path / "absent"), "--out", str(tmp_path / "out")]) == NO_RESULTS
    assert "not a folder" in capsys.readouterr().err
