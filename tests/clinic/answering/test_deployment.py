"""A deployment and its model file: read, checked, and loaded without running code from it."""

import json
import zipfile
from dataclasses import asdict

import keras
import numpy as np
import pytest
from clinical import ANYTHING, CODES, SIDE, deployment, install_network
from conftest import picture
from tiny import small_cnn

from clinic.answering.deployment import find_deployment, read_deployment, write_deployment
from clinic.answering.network import BATCH, SMALL_BATCH, Network, load
from helpers.data.samples import Samples
from helpers.records import file_sha256
from helpers.study import StudyError
from helpers.training.features import logits, middle_layer

IMAGES = np.stack([np.asarray(picture(seed, SIDE)) for seed in range(11)])


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Results of a study with an untrained model and its deployment."""
    folder = tmp_path_factory.mktemp("installed")
    return folder, install_network(folder)


def test_a_deployment_is_found_and_read_as_it_was_written(study, monkeypatch):
    folder, deployed = study
    monkeypatch.setenv("RESULTS_DIR", str(folder))
    found, file = find_deployment("demo")
    assert found == deployed and found.checksum == deployed.checksum != deployment().checksum
    assert file == folder / "demo" / "05_mobilenet" / "model.keras"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"classes": 3}', "null"])
def test_what_is_no_deployment_is_refused(tmp_path, text):
    (tmp_path / "deployment.json").write_text(text)
    with pytest.raises(StudyError, match="not a deployment"):
        read_deployment(tmp_path / "deployment.json")
    with pytest.raises(StudyError, match="no such file. Run the notebook 13_prediction"):
        read_deployment(tmp_path / "absent.json")


ONE_BENIGN = [asdict(one) | {"malignant": False} for one in deployment().classes]
SPOILT = {
    "lacks biases": ({"biases": [0.0]}, "another number of biases"),
    "lacks figures": ({"abstention": {}}, "coverage"),
    "figures that are none": ({"malignant": {"sensitivity": 3}}, "deployment"),
    "cold": ({"temperature": 0.0}, "a temperature that is not above 0"),
    "negative": ({"temperature": -1.0}, "a temperature that is not above 0"),
    "not a number": ({"temperature": float("nan")}, "a temperature that is not above 0"),
    "an operating point": ({"suspicious_from": 0.51}, "an operating point"),
    "all benign": ({"classes": ONE_BENIGN}, "all malignant or all benign"),
    "another name": ({"name": "=HYPERLINK()"}, "changed after it had been written"),
    "an unknown score": ({"confidence": "entropy"}, "an unknown score of confidence"),
    "another threshold": ({"suspicious_from": 0.4}, "changed after it had been written"),
    "melanoma benign": ({"classes": [*ONE_BENIGN[:4], asdict(deployment().classes[4]), *ONE_BENIGN[5:]]}, "changed"),
    "a size that is none": ({"side": 112.5}, "side of another type than int"),
    "a name that is none": ({"name": 5}, "name of another type than str"),
    "a study of no colours": ({"colour_constancy": "x"}, "json: colour_constancy"),
    "no appearance": ({"appearance": asdict(ANYTHING) | {"farthest": -1.0}}, "appearance"),
}


@pytest.mark.parametrize(("spoil", "message"), SPOILT.values(), ids=SPOILT)
def test_a_deployment_that_was_changed_or_cannot_be_is_refused(tmp_path, spoil, message):
    write_deployment(deployment(), tmp_path / "deployment.json")
    content = json.loads((tmp_path / "deployment.json").read_text())
    (tmp_path / "deployment.json").write_text(json.dumps(content | spoil))
    with pytest.raises(StudyError, match=message):
        read_deployment(tmp_path / "deployment.json")


def test_the_network_gives_the_logits_of_the_study_and_the_mean_of_a_map(study):
    folder, deployed = study
    model = load(deployed, folder / "demo" / "05_mobilenet" / "model.keras")
    network, layer = Network(model), middle_layer(model)
    expected = logits(model, Samples(IMAGES, np.arange(len(IMAGES)), np.zeros(len(IMAGES), int)))
    maps = keras.Model(model.inputs, model.get_layer(layer).output).predict(IMAGES, verbose=0)
    for count in (1, SMALL_BATCH + 1, BATCH + 22):
        found = network(np.resize(IMAGES, (count, SIDE, SIDE, 3)))
        assert np.allclose(found.logits, np.resize(expected, (count, len(CODES))), atol=1e-4)
        assert np.allclose(found.features, np.resize(maps.mean(axis=(1, 2)), (count, maps.shape[-1])), atol=1e-4)


@keras.saving.register_keras_serializable(package="tests")
class Shapeless(keras.Model):
    """A model that is no graph of layers, and so has no shapes."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.last = keras.layers.Dense(7)

    def call(self, images):
        return self.last(images)


class Foreign(keras.layers.Layer):
    """A layer that the program does not know."""

    def call(self, inputs):
        return inputs * 2


def with_layer(layer):
    inputs = keras.Input((SIDE, SIDE, 3))
    return keras.Model(inputs, keras.layers.Dense(7)(keras.layers.Flatten()(layer(inputs))))


def without_shapes():
    model = Shapeless()
    model(np.zeros((1, 3), np.float32))
    return model


def of_newer_keras(path):
    """A model whose file names another version of Keras and has a layer of that."""
    with_layer(Foreign()).save(path.with_name("old.keras"))
    with zipfile.ZipFile(path.with_name("old.keras")) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, b'{"keras_version": "99.1"}' if name == "metadata.json" else data)


MODELS = {
    "absent": (None, "no such file"),
    "broken": (b"PK\x03\x04 broken", "not a complete .keras file"),
    "code": (
        lambda path: with_layer(keras.layers.Lambda(lambda x: x * 2)).save(path),
        "Lambda layer, which holds code",
    ),
    "newer": (of_newer_keras, "saved by Keras 99.1, and this is Keras"),
    "foreign layer": (lambda path: with_layer(Foreign()).save(path), "a layer that this program does not know"),
    "shape": (lambda path: small_cnn(SIDE, 3).save(path), "Its deployment needs"),
    "shapeless": (lambda path: without_shapes().save(path), "Its deployment needs"),
}


@pytest.mark.parametrize(("write", "message"), MODELS.values(), ids=MODELS)
def test_a_file_that_is_no_fitting_model_is_refused_for_its_cause(tmp_path, write, message):
    file = tmp_path / "model.keras"
    if isinstance(write, bytes):
        file.write_bytes(write)
    elif write:
        write(file)
    known = file_sha256(file) if file.exists() else "ab" * 32
    with pytest.raises(StudyError, match=message):
        load(deployment(model_sha256=known), file)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a pointer of Git LFS"),
        (b"\x89HDF\r\n\x1a\n0000000000000000", "an HDF5 file, which can hold code"),
        (b"PK\x03\x04 a newer one, with some bytes", "another model. Its SHA-256 .* is not the abab.* 13_prediction"),
        (b"an essay", "not a model file of Keras"),
    ],
)
def test_another_file_is_refused_and_named(tmp_path, data, message):
    (tmp_path / "model.keras").write_bytes(data)
    with pytest.raises(StudyError, match=message):
        load(deployment(), tmp_path / "model.keras")


def test_a_model_without_the_layers_of_the_study_is_refused():
    inputs = keras.Input((SIDE, SIDE, 3))
    maps = keras.layers.ReLU()(keras.layers.Conv2D(4, 3)(inputs))
    outputs = keras.layers.Dense(7, activation="softmax", name="other")(keras.layers.Flatten()(maps))
    with pytest.raises(StudyError, match="no dense layer head_softmax"):
        Network(keras.Model(inputs, outputs))
    with pytest.raises(StudyError, match="no map of features"):
        middle_layer(with_layer(keras.layers.Identity()))
