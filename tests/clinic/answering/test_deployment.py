"""A deployment and its model file: read, checked, and loaded without running code from it."""

import json
import shutil
from dataclasses import asdict

import keras
import numpy as np
import pytest
from clinical import CODES, SIDE, deployment
from conftest import picture
from tiny import small_cnn

from clinic.answering.deployment import FORMER, find_deployment, load, read_deployment, write_deployment
from clinic.answering.network import BATCH, SMALL_BATCH, Network
from helpers.data.samples import Samples
from helpers.records import file_sha256
from helpers.study import StudyError
from helpers.training.features import logits
from helpers.training.fit import save_model

IMAGES = np.stack([np.asarray(picture(seed, SIDE)) for seed in range(11)])


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with an untrained model and its deployment."""
    folder = tmp_path_factory.mktemp("installed")
    save_model(small_cnn(SIDE, len(CODES), [8, 16]), folder / "model.keras")
    write_deployment(deployment(model_sha256=file_sha256(folder / "model.keras")), folder / "deployment.json")
    return folder


@pytest.fixture(scope="module")
def loaded(installed):
    return load(read_deployment(installed / "deployment.json"), installed / "model.keras")


def test_a_deployment_is_read_as_it_was_written(tmp_path):
    write_deployment(deployment(), tmp_path / "deployment.json")
    assert read_deployment(tmp_path / "deployment.json") == deployment()


def test_the_names_of_earlier_versions_are_understood(tmp_path):
    text = json.dumps(asdict(deployment()))
    for former, name in FORMER.items():
        text = text.replace(f'"{name}":', f'"{former}":')
    (tmp_path / "deployment.json").write_text(text)
    assert '"silence"' in text and read_deployment(tmp_path / "deployment.json") == deployment()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"classes": 3}', "null"])
def test_what_is_no_deployment_is_refused(tmp_path, text):
    (tmp_path / "deployment.json").write_text(text)
    with pytest.raises(StudyError, match="not a deployment"):
        read_deployment(tmp_path / "deployment.json")
    with pytest.raises(StudyError, match="no such file. Run the notebook 12_prediction"):
        read_deployment(tmp_path / "absent.json")


@pytest.mark.parametrize("spoil", [{"biases": [0.0]}, {"abstention": {}}, {"malignant": {"sensitivity": 3}}])
def test_a_deployment_that_lacks_something_is_refused(tmp_path, spoil):
    (tmp_path / "deployment.json").write_text(json.dumps(asdict(deployment()) | spoil))
    with pytest.raises(StudyError, match="not a deployment"):
        read_deployment(tmp_path / "deployment.json")


def test_the_deployment_of_a_study_and_its_model_file(monkeypatch, installed, tmp_path):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    (tmp_path / "demo" / "12_prediction").mkdir(parents=True)
    shutil.copy(installed / "deployment.json", tmp_path / "demo" / "12_prediction")
    found, file = find_deployment("demo")
    assert found == read_deployment(installed / "deployment.json")
    assert file == tmp_path / "demo" / "05_mobilenet" / "model.keras"


def test_the_network_gives_the_logits_of_the_study(loaded):
    network = Network(loaded[0])
    expected = logits(loaded[0], Samples(IMAGES, np.arange(len(IMAGES)), np.zeros(len(IMAGES), int)))
    for count in (1, SMALL_BATCH + 1, BATCH + 22):
        found = network(np.resize(IMAGES, (count, SIDE, SIDE, 3)))
        assert np.allclose(found, np.resize(expected, (count, len(CODES))), atol=1e-4)


def test_only_the_known_file_is_loaded_unless_another_one_is_trusted(loaded, installed):
    other = deployment(model_sha256="cd" * 32)
    with pytest.raises(StudyError, match="SHA-256 .* is not the cdcd.* of its deployment.*--trust"):
        load(other, installed / "model.keras")
    _, trusted = load(other, installed / "model.keras", trust=True)
    assert trusted.model_sha256 == loaded[1].model_sha256 == file_sha256(installed / "model.keras")


@keras.saving.register_keras_serializable(package="tests")
class Shapeless(keras.Model):
    """A model that is no graph of layers, and so has no shapes."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.last = keras.layers.Dense(7)

    def call(self, images):
        return self.last(images)


def with_code():
    inputs = keras.Input((SIDE, SIDE, 3))
    flat = keras.layers.Flatten()(keras.layers.Lambda(lambda x: x * 2)(inputs))
    return keras.Model(inputs, keras.layers.Dense(7)(flat))


def without_shapes():
    model = Shapeless()
    model(np.zeros((1, 3), np.float32))
    return model


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.h5", b"x", "not a .keras file"),
        ("absent.keras", None, "no such file"),
        ("broken.keras", b"PK\x03\x04 broken", "safe mode"),
        ("code.keras", with_code, "safe mode"),
        ("shape.keras", lambda: small_cnn(SIDE, 3), "Its deployment needs"),
        ("shapeless.keras", without_shapes, "Its deployment needs"),
    ],
)
def test_a_file_that_is_no_fitting_model_is_refused_even_if_trusted(tmp_path, name, content, message):
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif content:
        content().save(tmp_path / name)
    with pytest.raises(StudyError, match=message):
        load(deployment(), tmp_path / name, trust=True)


def test_a_model_without_the_last_layer_of_the_study_is_refused():
    inputs = keras.Input((SIDE, SIDE, 3))
    outputs = keras.layers.Dense(7, activation="softmax", name="other")(keras.layers.Flatten()(inputs))
    with pytest.raises(StudyError, match="no dense layer head_softmax"):
        Network(keras.Model(inputs, outputs))
