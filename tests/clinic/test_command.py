"""The command line: its exit codes, its messages, and what it leaves when something fails."""

import hashlib
import os
import signal

import pandas as pd
import pytest
from clinical import SECRETS, decode_here, dicom_file, image_file, install_made_up_model, install_network

from clinic.answering import prediction
from clinic.command import DONE, NO_RESULTS, SOME_FAILED, main
from clinic.reading.decoder import Decoder
from clinic.writing import outputs
from clinic.writing.outputs import Outputs
from clinic.writing.tables import JOURNAL


@pytest.fixture
def words(tmp_path, monkeypatch):
    """The words that name the deployment of a made-up model; DICOM is decoded in this process."""
    decode_here(monkeypatch)
    return install_made_up_model(monkeypatch, tmp_path)


@pytest.fixture
def patient(tmp_path):
    """A folder that is called like a patient, with two files that are."""
    dicom_file(tmp_path / "Erika Muster" / "P-17.dcm")
    image_file(tmp_path / "Erika Muster" / "Ward 7.jpg")
    return tmp_path / "Erika Muster"


@pytest.fixture
def five(tmp_path, monkeypatch):
    """A folder of five images, which are answered one by one."""
    monkeypatch.setattr(prediction, "BATCH", 1)
    for number in range(5):
        image_file(tmp_path / "in" / f"{number}.jpg", number)
    return tmp_path / "in"


def predict(source, out, *words):
    return main(["predict", str(source), "--out", str(out), *words])


def is_anonymous(printed) -> bool:
    return not any(secret in "".join(printed) for secret in SECRETS)


def files_of(out, name: str) -> list[int]:
    return list(pd.read_csv(out / f"{name}.csv")["file"])


def test_files_become_results_by_a_network(patient, tmp_path, monkeypatch, capfd):
    """With nothing made up but the weights."""
    deployed, out = install_network(tmp_path / "results"), tmp_path / "P-17 Muster"
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path / "results"))
    capfd.readouterr()  # what TensorFlow says when it starts
    assert predict(patient, out, "--study", "demo", "--dicom", "--fhir", "--pages", "png") == DONE
    assert set(pd.read_csv(out / "predictions.csv")["sha256"]) == {deployed.model_sha256}
    counts = {folder: len(list((out / folder).iterdir())) for folder in ("pages", "fhir", "dicom")}
    assert counts == {"pages": 2, "fhir": 2, "dicom": 1}
    printed = capfd.readouterr()
    assert (
        "absl" not in printed.err
        and "2 images in 2 files" in printed.out
        and "Not a medical device" in printed.out
        and is_anonymous(printed)
    )


def test_results_without_identifiers_are_not_called_by_their_files(patient, tmp_path, words):
    assert predict(patient, tmp_path / "out", *words, "--dicom", "--fhir", "--deidentify") == DONE
    digests = [hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in patient.iterdir()]
    for path in (path for path in (tmp_path / "out").rglob("*") if path.is_file()):
        assert not any(digest in path.name or digest.encode() in path.read_bytes() for digest in digests)


def test_files_that_fail_are_not_named(patient, tmp_path, words, capfd):
    (patient / "Muster.txt").write_text("Ward 7")
    (patient / "Muster").symlink_to(tmp_path)
    assert predict(patient, tmp_path / "out", *words) == SOME_FAILED
    printed = capfd.readouterr()
    assert "2 files failed" in printed.out and is_anonymous(printed)
    assert "file 1 of 4: neither an image" in printed.err and "file 4 of 4: a link to a folder" in printed.err
    assert files_of(tmp_path / "out", "failed") == [1, 4]


@pytest.mark.parametrize(
    ("inputs", "out", "message"),
    [
        (["Erika Muster", "P-17"], "new", "Input 2 does not exist"),
        (["Erika Muster"], "Erika Muster", "not an empty folder"),
        (["Erika Muster"], "Erika Muster/P-17", "lies in input 1"),
    ],
)
def test_messages_about_folders_do_not_name_them(patient, tmp_path, words, capfd, inputs, out, message):
    given = [str(tmp_path / name) for name in inputs]
    assert main(["predict", *given, "--out", str(tmp_path / out), *words]) == NO_RESULTS
    printed = capfd.readouterr()
    assert message in printed.err and is_anonymous(printed)


ERRORS = [
    (OSError(28, "No space left on device", "/home/Erika Muster"), "No space left on device"),
    (OSError("Erika Muster"), "OSError"),
    (RuntimeError("Erika Muster"), "the program failed (RuntimeError)"),
    (KeyboardInterrupt(), "it was stopped"),
]


@pytest.mark.parametrize(("error", "message"), ERRORS)
def test_an_error_before_the_first_file_leaves_no_results(five, tmp_path, words, monkeypatch, capfd, error, message):
    def fail(*_):
        raise error

    monkeypatch.setattr("clinic.answering.runtime.open_model", fail)
    assert predict(five, tmp_path / "out", *words) == NO_RESULTS
    printed = capfd.readouterr()
    assert message in printed.err and is_anonymous(printed)


@pytest.mark.parametrize(("error", "message"), [*ERRORS, (signal.SIGTERM, "it was stopped")])
def test_an_error_on_the_way_leaves_what_was_done(five, tmp_path, words, monkeypatch, capfd, error, message):
    """The third of five files is never written. A container ends a run by a signal."""
    count = iter(range(5))

    def write(*_):
        if next(count) == 2:
            if isinstance(error, signal.Signals):
                os.kill(os.getpid(), error)
            else:
                raise error
        return []

    monkeypatch.setattr(Outputs, "write", write)
    assert predict(five, tmp_path / "out", *words) == NO_RESULTS
    printed = capfd.readouterr()
    assert message in printed.err and is_anonymous(printed)
    assert files_of(tmp_path / "out", "predictions") == [1, 2] and files_of(tmp_path / "out", "failed") == [3, 4, 5]


def test_a_run_that_was_killed_goes_on(five, tmp_path, words, monkeypatch, capfd):
    """The second of five files was the last: the same command starts with the third, and another one is refused."""
    count = iter(range(9))
    with monkeypatch.context() as patch:
        patch.setattr(Outputs, "write", lambda *_: [] if next(count) < 2 else 1 / 0)
        assert predict(five, tmp_path / "out", *words) == NO_RESULTS
    with (tmp_path / "out" / JOURNAL).open("a") as file:
        file.write('{"file": 3, "answ')  # cut off
    assert predict(five, tmp_path / "out", *words, "--fhir") == NO_RESULTS
    assert "unfinished run of other files, options or model" in capfd.readouterr().err
    seen, write = [], Outputs.write
    monkeypatch.setattr(Outputs, "write", lambda self, one: seen.append(one.file.number) or write(self, one))
    assert predict(five, tmp_path / "out", *words) == DONE
    assert seen == [3, 4, 5] and files_of(tmp_path / "out", "predictions") == [1, 2, 3, 4, 5]
    assert not (tmp_path / "out" / "failed.csv").exists() and not (tmp_path / "out" / JOURNAL).exists()


def test_a_full_disk_names_no_folder(patient, tmp_path, words, monkeypatch, capfd):
    """Nothing is counted as done that could not be written; the same command goes on once there is room."""

    def full(*_, **options):
        raise OSError(28, "No space left on device", str(options.get("dir")))

    out = tmp_path / "Erika Muster out"
    with monkeypatch.context() as patch:
        patch.setattr("helpers.records.tempfile.mkstemp", full)
        assert predict(patient, out, *words, "--fhir") == NO_RESULTS
    printed = capfd.readouterr()
    assert "No complete results: No space left on device" in printed.err and is_anonymous(printed)
    assert predict(patient, out, *words, "--fhir") == DONE and len(list((out / "fhir").iterdir())) == 2


def test_pages_are_drawn_by_processes_of_their_own(five, tmp_path, words, monkeypatch):
    monkeypatch.setattr(outputs, "cores", lambda: 2)
    monkeypatch.setattr(outputs, "FEW", 2)
    monkeypatch.setattr(Outputs, "_write_pages", lambda *_: 1 / 0)  # which they do not see
    assert predict(five, tmp_path / "out", *words, "--pages", "png") == DONE
    rows = pd.read_csv(tmp_path / "out" / "predictions.csv")
    pages = {path.stem for path in (tmp_path / "out" / "pages").iterdir()}
    assert list(rows["file"]) == [1, 2, 3, 4, 5] and pages == {f"{image}-1" for image in rows["image"]}


def test_no_decoder_outlives_a_run_that_fails(tmp_path, monkeypatch):
    """Objects are still being read when a result cannot be written: their decoders end before the run does."""
    started, start = [], Decoder._start
    words = install_made_up_model(monkeypatch, tmp_path)
    monkeypatch.setattr(Decoder, "_start", lambda self: started.append(start(self)) or started[-1])
    monkeypatch.setattr(prediction, "BATCH", 1)
    monkeypatch.setattr(Outputs, "write", lambda *_: 1 / 0)
    for number in range(4):
        dicom_file(tmp_path / "in" / f"{number}.dcm", number)
    assert predict(tmp_path / "in", tmp_path / "out", *words) == NO_RESULTS
    assert started and all(process.poll() is not None for process in started)


@pytest.mark.parametrize("given", [["--deployment", "absent"], ["--study", "absent"], []])
def test_there_are_no_results_without_a_model(tmp_path, monkeypatch, given, capfd):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    image_file(tmp_path / "in" / "a.jpg")
    assert predict(tmp_path / "in", tmp_path / "out", *given, "--verbose") == NO_RESULTS
    printed = capfd.readouterr().err
    assert "No complete results" in printed and "Traceback" in printed


def test_a_usage_error_has_the_code_of_no_results():
    with pytest.raises(SystemExit) as stopped:
        main(["predict"])
    assert stopped.value.code == NO_RESULTS
