"""The published ONNX file: checked before it is run, and answering as the Keras file does, without Keras."""

import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import picture

from clinic.answering import runtime
from clinic.answering.answers import answer_pictures
from clinic.answering.deployment import PUBLISHED, write_deployment
from clinic.answering.network import Network, load
from clinic.answering.onnx_model import BATCH, OnnxModel, OtherModel
from clinic.answering.runtime import open_model
from clinic.reading.pictures import ImageFormat, from_array
from helpers.export import CHECKSUMS, ONNX
from helpers.records import file_sha256
from helpers.study import ROOT, StudyError, results_folder

pytestmark = pytest.mark.needs("onnxruntime")
FOLDER = ROOT / "results" / PUBLISHED
FILE = FOLDER / "export" / ONNX
SLOW = ("keras", "tensorflow", "jax", "sklearn", "scipy", "seaborn", "pandas", "joblib", "matplotlib.pyplot", "pydicom")
WITHOUT_THEM = f"""
import sys
sys.modules |= dict.fromkeys({SLOW})  # importing one of them raises ImportError
from clinic.command import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def published_model():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RESULTS_DIR", raising=False)
        yield open_model(PUBLISHED)


@pytest.fixture
def study(tmp_path, monkeypatch, published_model):
    """A copy of the published study's deployment and ONNX file, and its results folder."""
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    folder = results_folder(PUBLISHED)
    write_deployment(published_model[0], folder / "13_prediction" / "deployment.json")
    shutil.copytree(FILE.parent, folder / "export")
    return folder


def draw(count):
    """Pictures like skin, whose answers differ."""
    return np.stack([np.asarray(picture(seed, 112)) // 4 + np.uint8([150, 110, 90]) for seed in range(count)])


def test_it_is_taken_where_there_is_one_and_answers_do_not_depend_on_the_batch(published_model):
    model, images = published_model[1], draw(BATCH + 3)
    assert isinstance(model, OnnxModel)
    whole = model(images)
    assert whole.logits.shape == (BATCH + 3, 7) and whole.logits.dtype == np.float64
    for name in whole._fields:
        alone = np.concatenate([getattr(model(image[None]), name) for image in images])
        assert np.allclose(getattr(whole, name), alone, atol=1e-4)


@pytest.mark.slow
def test_its_answers_are_those_of_the_keras_file(published_model):
    deployment, model = published_model
    images = draw(24)
    pictures = [from_array(image, ImageFormat(112)) for image in images]
    network = Network(load(deployment, FOLDER / deployment.notebook / "model.keras"))
    ours, theirs = (answer_pictures(pictures, one(images), deployment) for one in (model, network))
    for one, other in zip(ours, theirs, strict=True):
        assert (one.reason, one.suspicious) == (other.reason, other.suspicious)
        assert np.allclose(one.probabilities, other.probabilities, atol=1e-4)
        assert (one.distance, one.confidence) == pytest.approx((other.distance, other.confidence), rel=0.01)


def test_the_other_outputs_fit_the_logits(published_model):
    import onnxruntime

    names = ["features", "feature_map", "class_activation"]
    features, feature_map, activation = onnxruntime.InferenceSession(FILE).run(names, {"image": draw(2)})
    assert np.allclose(feature_map.mean(axis=(1, 2)), features, atol=1e-5)
    biases = published_model[1](draw(2)).logits - activation.sum(axis=(1, 2))
    assert np.allclose(biases[0], biases[1], atol=1e-4)


def test_the_command_answers_where_no_framework_is_installed(tmp_path):
    """Nor anything else that tables do not need, which would make their first row late."""
    picture(0, 300).save(tmp_path / "a.png")
    command = [sys.executable, "-c", WITHOUT_THEM, "predict", tmp_path / "a.png", "--out", tmp_path / "out"]
    done = subprocess.run([*command, "--verbose"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(pd.read_csv(tmp_path / "out" / "predictions.csv")) == 1


def test_a_file_that_is_not_as_it_was_written_is_refused(study, published_model):
    file = study / "export" / ONNX
    with file.open("ab") as opened:
        opened.write(b"\0")
    with pytest.raises(StudyError, match=f"not the file whose checksum is in {CHECKSUMS}"):
        open_model(PUBLISHED)
    file.with_name(CHECKSUMS).unlink()
    with pytest.raises(StudyError, match="cannot be read. `make export"):
        OnnxModel(file, published_model[0])


def test_a_file_of_something_else_is_refused(tmp_path, published_model):
    (tmp_path / ONNX).write_bytes(b"not a model")
    (tmp_path / CHECKSUMS).write_text(f"{file_sha256(tmp_path / ONNX)}  {ONNX}\n")
    with pytest.raises(StudyError, match="not a model of `make export`"):
        OnnxModel(tmp_path / ONNX, published_model[0])


def test_a_file_of_an_earlier_model_is_left_for_keras_where_it_can_be(study, published_model, monkeypatch):
    deployment = replace(published_model[0], model_sha256="ab" * 32)
    write_deployment(deployment, study / "13_prediction" / "deployment.json")
    with pytest.raises(OtherModel, match="made from another model than the deployment's. Run `make export"):
        open_model(PUBLISHED)  # there is no Keras file
    (study / deployment.notebook).mkdir()
    (study / deployment.notebook / "model.keras").write_bytes(b"PK")
    monkeypatch.setattr(runtime, "_by_keras", lambda *given: given)
    assert open_model(PUBLISHED)[1] == (deployment, study / deployment.notebook / "model.keras")


def test_which_file_is_taken(study, published_model, monkeypatch):
    """The one that is named, or the one beside a deployment; without any that can be run, the message says how."""
    deployment, folder = published_model[0], study / "13_prediction"
    monkeypatch.setattr(runtime, "_by_keras", lambda _, file: file)
    named = study / "another.keras"
    assert open_model(PUBLISHED, file=named)[1] == named
    assert isinstance(open_model(PUBLISHED, file=FILE)[1], OnnxModel)
    (folder / "model.keras").write_bytes(b"PK")
    assert open_model("", folder / "deployment.json") == (deployment, folder / "model.keras")
    shutil.rmtree(study / "export")
    with pytest.raises(StudyError, match="no model that can be run here. `make export STUDY=ham10000_cpu`"):
        open_model(PUBLISHED)
