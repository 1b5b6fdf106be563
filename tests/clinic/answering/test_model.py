"""A model file as a clinic installs it, and the command line on it, from files to results."""

import json
import shutil

import keras
import numpy as np
import pandas as pd
import pytest
from clinical import CODES, SECRETS, SIDE, deployment, dicom_file, image_file
from conftest import picture

from clinic.answering.deployment import find_deployment, load, read_deployment, write_deployment
from clinic.answering.maps import grad_cam
from clinic.answering.network import Network
from clinic.command import DONE, NO_RESULTS, SOME_FAILED, main
from helpers.data.samples import Samples
from helpers.models.head import Common
from helpers.models.mobilenet import Backbone, mobilenet
from helpers.records import file_sha256
from helpers.study import StudyError
from helpers.training.features import logits
from helpers.training.fit import save_model

SMALL = Backbone(1, 0.25)
IMAGES = np.stack([np.asarray(picture(seed, SIDE)) for seed in range(11)])


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with an untrained model and its deployment."""
    folder = tmp_path_factory.mktemp("installed")
    keras.utils.set_random_seed(3)
    save_model(mobilenet(Common(SIDE, len(CODES)), SMALL), folder / "model.keras")
    write_deployment(
        deployment(model_sha256=file_sha256(folder / "model.keras"), silence=-9.0), folder / "deployment.json"
    )
    return folder


@pytest.fixture
def own(installed, tmp_path):
    """A copy that may be spoilt."""
    return shutil.copytree(installed, tmp_path / "own")


def test_a_deployment_is_read_as_it_was_written(tmp_path):
    write_deployment(deployment(), tmp_path / "deployment.json")
    assert read_deployment(tmp_path / "deployment.json") == deployment()
    assert "0.80 [0.70, 0.90]" in deployment().told() and deployment().codes == CODES


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"classes": 3}', "null"])
def test_what_is_no_deployment_is_refused(tmp_path, text):
    (tmp_path / "deployment.json").write_text(text)
    with pytest.raises(StudyError, match="not a deployment"):
        read_deployment(tmp_path / "deployment.json")
    with pytest.raises(StudyError, match="no such file. Run the notebook 12_prediction"):
        read_deployment(tmp_path / "absent.json")


def test_a_study_names_its_own(monkeypatch, installed, tmp_path):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    (tmp_path / "demo" / "12_prediction").mkdir(parents=True)
    shutil.copy(installed / "deployment.json", tmp_path / "demo" / "12_prediction")
    found, file = find_deployment("demo")
    assert found == read_deployment(installed / "deployment.json")
    assert file == tmp_path / "demo" / "05_mobilenet" / "model.keras"


def test_the_network_gives_the_logits_of_the_study(installed):
    model, _ = load(read_deployment(installed / "deployment.json"), installed / "model.keras")
    network = Network(model)
    expected = logits(model, Samples(IMAGES, np.arange(len(IMAGES)), np.zeros(len(IMAGES), int)))
    assert np.allclose(network(IMAGES), expected, atol=1e-4)
    assert np.allclose(network(IMAGES[:1]), expected[:1], atol=1e-4)
    many = np.resize(IMAGES, (150, SIDE, SIDE, 3))
    assert np.allclose(network(many), np.resize(expected, (150, len(CODES))), atol=1e-4)


def test_maps_lie_between_nothing_and_one():
    images = np.stack([np.asarray(picture(seed, 64)) for seed in range(3)])
    maps = grad_cam(mobilenet(Common(64, len(CODES)), SMALL), images)
    assert maps.shape == (3, 64, 64) and maps.dtype == np.float32
    assert maps.min() >= 0 and all(own.max() == pytest.approx(1) or own.max() == 0 for own in maps)


def test_only_the_known_file_is_loaded(own):
    known = read_deployment(own / "deployment.json")
    save_model(mobilenet(Common(SIDE, len(CODES), seed=4), SMALL), own / "model.keras")
    with pytest.raises(StudyError, match="SHA-256 .* is not the .* of its deployment.*--trust"):
        load(known, own / "model.keras")
    _, trusted = load(known, own / "model.keras", trust=True)
    assert trusted.model_sha256 == file_sha256(own / "model.keras") != known.model_sha256


@pytest.mark.parametrize(("name", "data"), [("model.h5", b"x"), ("model.pkl", b"x"), ("absent.keras", None)])
def test_other_forms_of_models_are_not_loaded_even_if_trusted(tmp_path, name, data):
    if data:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(StudyError, match="not a .keras file" if data else "no such file"):
        load(deployment(), tmp_path / name, trust=True)


def test_code_in_a_model_file_is_not_run_even_if_trusted(tmp_path):
    inputs = keras.Input((SIDE, SIDE, 3))
    outputs = keras.layers.Dense(7)(keras.layers.Flatten()(keras.layers.Lambda(lambda x: x * 2)(inputs)))
    keras.Model(inputs, outputs).save(tmp_path / "model.keras")
    with pytest.raises(StudyError, match="safe mode"):
        load(deployment(), tmp_path / "model.keras", trust=True)


def test_a_broken_model_file_and_one_of_another_shape(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(StudyError, match="safe mode"):
        load(deployment(), tmp_path / "model.keras", trust=True)
    save_model(mobilenet(Common(SIDE, 3), SMALL), tmp_path / "model.keras")
    with pytest.raises(StudyError, match="wanted are"):
        load(deployment(), tmp_path / "model.keras", trust=True)


def predict(source, out, installed, *words):
    return main(["predict", str(source), "--out", str(out), "--deployment", str(installed / "deployment.json"), *words])


def test_files_become_results(tmp_path, installed, capfd):
    for seed in range(3):
        image_file(tmp_path / "in" / f"Erika {seed}.jpg", seed)
    dicom_file(tmp_path / "in" / "Muster.dcm")
    assert predict(tmp_path / "in", tmp_path / "out", installed, "--dicom", "--fhir", "--pages", "png") == DONE
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert len(table) == 4 and set(table["sha256"]) == {file_sha256(installed / "model.keras")}
    assert len(list((tmp_path / "out" / "pages").iterdir())) == len(list((tmp_path / "out" / "fhir").iterdir())) == 4
    assert [path.name.split("-", 1)[1] for path in (tmp_path / "out" / "dicom").iterdir()].count("report.dcm") == 1
    printed = "".join(capfd.readouterr())
    assert "4 images of 4 files" in printed and "Not a medical device" in printed
    assert not any(secret in printed for secret in SECRETS)


def test_one_bad_file_is_told_and_the_rest_done(tmp_path, installed, capfd):
    image_file(tmp_path / "in" / "a.jpg")
    (tmp_path / "in" / "Erika Muster.txt").write_text("Ward 7")
    dicom_file(tmp_path / "in" / "P-17.dcm", Modality="CT")
    assert predict(tmp_path / "in", tmp_path / "out", installed, "--no-maps") == SOME_FAILED
    printed = "".join(capfd.readouterr())
    assert "2 files failed" in printed and "neither JPEG, PNG nor DICOM" in printed and "modality" in printed
    assert not any(secret in printed for secret in SECRETS)
    failed = json.loads((tmp_path / "out" / "predictions.json").read_text())["failed"]
    assert sorted(fault["file"] for fault in failed) == [1, 2]
    assert predict(tmp_path / "in", tmp_path / "named", installed, "--names") == SOME_FAILED
    assert "Erika Muster.txt, of 3: neither" in capfd.readouterr().err


def test_a_trusted_model_that_is_none_of_the_study_has_no_results(tmp_path, installed, capfd):
    inputs = keras.Input((SIDE, SIDE, 3))
    outputs = keras.layers.Dense(7, activation="softmax", name="other")(keras.layers.Flatten()(inputs))
    keras.Model(inputs, outputs).save(tmp_path / "other.keras")
    image_file(tmp_path / "in" / "a.jpg")
    words = "--model", str(tmp_path / "other.keras"), "--trust"
    assert predict(tmp_path / "in", tmp_path / "out", installed, *words) == NO_RESULTS
    assert "no dense layer head_softmax" in capfd.readouterr().err


@keras.saving.register_keras_serializable(package="tests")
class Shapeless(keras.Model):
    """A model that is no graph of layers, and so says nothing of its shapes."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.last = keras.layers.Dense(7)

    def call(self, images):
        return self.last(images)


def test_a_model_without_shapes_is_refused(tmp_path):
    model = Shapeless()
    model(np.zeros((1, 3), np.float32))
    model.save(tmp_path / "model.keras")
    with pytest.raises(StudyError, match="The model takes .* wanted are"):
        load(deployment(), tmp_path / "model.keras", trust=True)
