"""The command line with a made-up model: what it says, what it leaves when something fails, and which code it gives."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from clinical import SECRETS, by_brightness, deployment, dicom_file, image_file, install_made_up_model, jpeg

from clinic import command
from clinic.answering import prediction
from clinic.answering.deployment import write_deployment
from clinic.command import DONE, NO_RESULTS, SOME_FAILED, main
from clinic.reading.worker import Decoder
from helpers.study import ROOT

# The command line in a process of its own, with a made-up model that takes a tenth of a second for each image.
PROGRAM = """
import sys, time
from pathlib import Path
import pytest
from clinical import by_brightness, install_made_up_model
from clinic import command
from clinic.answering import prediction

def logits(images):
    time.sleep(0.1)
    return by_brightness(images)

folder, saved_every = Path(sys.argv[1]), float(sys.argv[2])
with pytest.MonkeyPatch.context() as patch:
    patch.setattr(prediction, "BATCH", 1)
    patch.setattr(command, "SAVED_EVERY", saved_every)
    known = install_made_up_model(patch, folder, logits)
    sys.exit(command.main(["predict", str(folder / "in"), "--out", str(folder / "out"), "--fhir", *known]))
"""
MANY = 200


@pytest.fixture
def known(tmp_path, monkeypatch):
    """The words that name the deployment of a made-up model."""
    return install_made_up_model(monkeypatch, tmp_path)


@pytest.fixture
def patient(tmp_path):
    """A folder that is called like a patient, with two files that are."""
    dicom_file(tmp_path / "Erika Muster" / "P-17.dcm")
    image_file(tmp_path / "Erika Muster" / "Ward 7.jpg")
    return tmp_path / "Erika Muster"


def predict(source, out, *words):
    return main(["predict", str(source), "--out", str(out), *words])


def nobody_is_named(printed) -> bool:
    return not any(secret in "".join(printed) for secret in SECRETS)


def test_all_is_predicted_and_nobody_named(patient, tmp_path, known, capfd):
    out = tmp_path / "P-17 Muster"
    assert predict(patient, out, *known, "--dicom", "--fhir", "--pages", "png") == DONE
    printed = capfd.readouterr()
    assert "2 images of 2 files" in printed.out and nobody_is_named(printed)
    assert len(list((out / "pages").iterdir())) == len(list((out / "fhir").iterdir())) == 2


def test_results_without_identifiers_are_not_called_by_their_files(patient, tmp_path, known):
    assert predict(patient, tmp_path / "out", *known, "--dicom", "--fhir", "--deidentify") == DONE
    digests = [hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in patient.iterdir()]
    for path in (path for path in (tmp_path / "out").rglob("*") if path.is_file()):
        assert not any(own in path.name or own.encode() in path.read_bytes() for own in digests)


@pytest.mark.parametrize(
    ("inputs", "out", "message"),
    [
        (["Erika Muster", "P-17"], "new", "Input 2 does not exist"),
        (["Erika Muster"], "Erika Muster", "not an empty folder"),
        (["Erika Muster"], "Erika Muster/P-17", "lies in input 1"),
    ],
)
def test_what_is_wrong_with_folders_is_told_without_their_names(patient, tmp_path, known, capfd, inputs, out, message):
    words = [str(tmp_path / name) for name in inputs]
    assert main(["predict", *words, "--out", str(tmp_path / out), *known]) == NO_RESULTS
    printed = capfd.readouterr()
    assert message in printed.err and nobody_is_named(printed)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device", "/home/Erika Muster"), "No space left on device"),
        (OSError("Erika Muster"), "OSError"),
        (RuntimeError("Erika Muster"), "the program failed (RuntimeError)"),
        (KeyboardInterrupt(), "it was stopped"),
    ],
)
@pytest.mark.parametrize("where", ["before", "amid"])
def test_whatever_fails_there_is_a_code_and_what_was_done(tmp_path, monkeypatch, capfd, where, error, message):
    """Amid: the third of five files is never answered."""
    asked = []

    def logits(images):
        asked.append(len(images))
        if len(asked) == 3:
            raise error
        return by_brightness(images)

    def fail(*_):
        raise error

    known = install_made_up_model(monkeypatch, tmp_path, logits)
    monkeypatch.setattr(prediction, "BATCH", 1)
    if where == "before":
        monkeypatch.setattr("clinic.answering.deployment.load", fail)
    for number in range(5):
        image_file(tmp_path / "in" / f"{number}.jpg", number)
    assert predict(tmp_path / "in", tmp_path / "out", *known) == NO_RESULTS
    printed = capfd.readouterr()
    assert message in printed.err and nobody_is_named(printed)
    if where == "amid":
        assert list(pd.read_csv(tmp_path / "out" / "predictions.csv")["file"]) == [1, 2]
        failed = pd.read_csv(tmp_path / "out" / "failed.csv")
        assert list(failed["file"]) == [3, 4, 5] and set(failed["fault"]) == {"the run ended before this file"}


@contextmanager
def running(folder: Path, saved_every: float):
    """The program on MANY files; it ends with the block."""
    (folder / "in").mkdir()
    for number in range(MANY):  # each with a name of its own for its results
        (folder / "in" / f"{number:03}.jpg").write_bytes(jpeg() + bytes([number]))
    path = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    words = [sys.executable, "-c", PROGRAM, str(folder), str(saved_every)]
    with subprocess.Popen(words, cwd=ROOT, env=os.environ | path, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def until(process: subprocess.Popen, there) -> None:
    """Wait for what a running process leaves."""
    while not there():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="signals are sent as POSIX has them")
def test_a_run_that_is_told_to_terminate_keeps_what_it_has(tmp_path):
    """Each file is answered, or told not to have been reached."""
    with running(tmp_path, saved_every=999) as process:
        until(process, lambda: len(list((tmp_path / "out").glob("fhir/*.json"))) > 2)
        process.send_signal(signal.SIGTERM)
        told = process.communicate(timeout=60)[1]
    assert process.returncode == NO_RESULTS and "it was stopped" in told
    tables = (pd.read_csv(tmp_path / "out" / name) for name in ("predictions.csv", "failed.csv"))
    answered, failed = (list(table["file"]) for table in tables)
    assert 0 < len(answered) < MANY and answered + failed == list(range(1, MANY + 1))


def test_a_run_that_is_killed_has_saved_its_tables(tmp_path):
    with running(tmp_path, saved_every=0) as process:
        until(process, (tmp_path / "out" / "predictions.json").exists)
        process.kill()
    content = json.loads((tmp_path / "out" / "predictions.json").read_text())
    answered, failed = ([row["file"] for row in content[name]] for name in ("predictions", "failed"))
    assert 0 < len(answered) < MANY and answered + failed == list(range(1, MANY + 1))


def test_tables_that_were_saved_on_the_way_leave_no_failures(tmp_path, known, monkeypatch):
    saved, write = [], command.Tables.write

    def watched(tables):
        write(tables)
        saved.append((tmp_path / "out" / "failed.csv").exists())

    monkeypatch.setattr(command, "SAVED_EVERY", 0)
    monkeypatch.setattr(command.Tables, "write", watched)
    for number in range(3):
        image_file(tmp_path / "in" / f"{number}.jpg", number)
    assert predict(tmp_path / "in", tmp_path / "out", *known) == DONE
    assert saved[0] and not saved[-1] and len(pd.read_csv(tmp_path / "out" / "predictions.csv")) == 3


def test_names_and_no_identifiers_do_not_go_together(patient, tmp_path, known, capfd):
    assert predict(patient, tmp_path / "out", *known, "--names", "--deidentify") == NO_RESULTS
    assert "either --names or --deidentify" in capfd.readouterr().err and not (tmp_path / "out").exists()


def test_no_decoder_outlives_a_run_that_fails(tmp_path, monkeypatch):
    """Objects are still being read when a result cannot be written: their decoders end before the run does."""
    started = []
    start = Decoder._start
    monkeypatch.setattr(Decoder, "_start", lambda own: started.append(start(own)) or started[-1])
    monkeypatch.setattr(prediction, "BATCH", 1)
    monkeypatch.setattr("clinic.writing.outputs.Outputs.write", lambda *_: 1 / 0)
    for number in range(9):
        dicom_file(tmp_path / "in" / f"{number}.dcm", number)
    assert predict(tmp_path / "in", tmp_path / "out", *install_made_up_model(monkeypatch, tmp_path)) == NO_RESULTS
    assert started and all(process.poll() is not None for process in started)


def test_a_folder_that_is_not_gone_into_is_a_failure(tmp_path, known, capfd):
    image_file(tmp_path / "in" / "a.jpg")
    image_file(tmp_path / "Erika Muster" / "b.jpg")
    (tmp_path / "in" / "P-17").symlink_to(tmp_path / "Erika Muster")
    assert predict(tmp_path / "in", tmp_path / "out", *known) == SOME_FAILED
    printed = capfd.readouterr()
    assert "file 2 of 2: a link to a folder" in printed.err and nobody_is_named(printed)
    assert predict(tmp_path / "in", tmp_path / "named", *known, "--names") == SOME_FAILED
    assert "file 2, P-17, of 2: a link to a folder" in capfd.readouterr().err


def test_where_every_file_fails_the_table_has_its_columns(tmp_path, known):
    image_file(tmp_path / "in" / "a.jpg").write_bytes(b"")
    assert predict(tmp_path / "in", tmp_path / "out", *known) == SOME_FAILED
    assert {"file", "calibrated_malignancy", "suspicious"} < set(pd.read_csv(tmp_path / "out" / "predictions.csv"))


@pytest.mark.parametrize("words", [["--model", "absent.keras"], ["--deployment", "absent"], []])
def test_there_are_no_results_without_a_model(tmp_path, monkeypatch, words, capfd):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    write_deployment(deployment(), tmp_path / "deployment.json")
    image_file(tmp_path / "in" / "a.jpg")
    own = ["--deployment", str(tmp_path / "deployment.json")] if "--model" in words else []
    assert predict(tmp_path / "in", tmp_path / "out", *own, *words) == NO_RESULTS
    assert "No complete results" in capfd.readouterr().err


def test_usage_errors_have_the_code_of_no_results():
    with pytest.raises(SystemExit) as stopped:
        main(["predict"])
    assert stopped.value.code == NO_RESULTS
