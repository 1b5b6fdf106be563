"""The command line with a made-up model: what it says, what it leaves when something fails, and which code it gives."""

import hashlib

import pandas as pd
import pytest
from clinical import SECRETS, by_brightness, deployment, dicom_file, image_file, install_made_up_model

from helpers.clinic import prediction
from helpers.clinic.command import DONE, NO_RESULTS, SOME_FAILED, main
from helpers.clinic.deployment import write_deployment


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
        monkeypatch.setattr("helpers.clinic.deployment.load", fail)
    for number in range(5):
        image_file(tmp_path / "in" / f"{number}.jpg", number)
    assert predict(tmp_path / "in", tmp_path / "out", *known) == NO_RESULTS
    printed = capfd.readouterr()
    assert message in printed.err and nobody_is_named(printed)
    if where == "amid":
        assert list(pd.read_csv(tmp_path / "out" / "predictions.csv")["file"]) == [1, 2]
        failed = pd.read_csv(tmp_path / "out" / "failed.csv")
        assert list(failed["file"]) == [3, 4, 5] and set(failed["fault"]) == {"the run ended before this file"}


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
