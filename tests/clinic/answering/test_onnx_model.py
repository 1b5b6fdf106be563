"""The published ONNX file, run without Keras."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import picture

from clinic.answering.deployment import find_deployment, read_deployment
from clinic.answering.onnx_model import BATCH, OnnxModel
from helpers.records import file_sha256
from helpers.study import ROOT, StudyError

pytestmark = pytest.mark.needs("onnxruntime")
FILE = ROOT / "results" / "ham10000_cpu" / "export" / "model.onnx"
WITHOUT_KERAS = """
import sys
sys.modules |= dict.fromkeys(("keras", "tensorflow"))  # importing one of them raises ImportError
from pathlib import Path
from clinic.answering.answers import answer_pictures
from clinic.answering.deployment import read_deployment
from clinic.answering.onnx_model import OnnxModel
from clinic.reading.pictures import decode
model, deployment = OnnxModel(Path(sys.argv[1])), read_deployment(Path(sys.argv[2]))
picture = decode(sys.stdin.buffer.read(), deployment.image_format())
(answer,) = answer_pictures([picture], model(picture.square[None]), deployment)
print(answer.probabilities.tolist())
"""


@pytest.fixture(scope="module")
def model(published):
    return OnnxModel(FILE)


@pytest.fixture(scope="module")
def published():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RESULTS_DIR", raising=False)
        yield find_deployment("ham10000_cpu")


def draw(count):
    return np.stack([np.asarray(picture(seed, 112)) for seed in range(count)])


def test_the_published_file_was_made_from_the_deployed_model(model, published):
    deployment, keras_file = published
    assert model.about["keras_sha256"] == deployment.model_sha256 == file_sha256(keras_file)
    assert json.loads(model.about["labels"]) == deployment.codes
    assert (model.classes, model.side) == (len(deployment.codes), deployment.side)


def test_its_metadata_hold_the_deployment(model, published, tmp_path):
    (tmp_path / "deployment.json").write_text(model.about["deployment"])
    assert read_deployment(tmp_path / "deployment.json") == published[0]


def test_answers_do_not_depend_on_the_batch(model):
    images = draw(BATCH + 3)
    whole = model(images)
    assert whole.logits.shape == (BATCH + 3, 7) and whole.logits.dtype == np.float64
    for name in whole._fields:
        alone = np.concatenate([getattr(model(image[None]), name) for image in images])
        assert np.allclose(getattr(whole, name), alone, atol=1e-4)


def test_the_other_outputs_fit_the_logits(model):
    found = model.outputs(draw(2), ["features", "feature_map", "class_activation"])
    assert np.allclose(found["feature_map"].mean(axis=(1, 2)), found["features"], atol=1e-5)
    biases = model(draw(2)).logits - found["class_activation"].sum(axis=(1, 2))
    assert np.allclose(biases[0], biases[1], atol=1e-4)


def test_it_answers_where_no_framework_is_installed(model, published):
    buffer = io.BytesIO()
    picture(0, 300).save(buffer, "png")
    command = [sys.executable, "-c", WITHOUT_KERAS, FILE, FILE.parents[1] / "13_prediction" / "deployment.json"]
    done = subprocess.run(command, cwd=ROOT, input=buffer.getvalue(), capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    probabilities = json.loads(done.stdout)
    assert len(probabilities) == 7 and sum(probabilities) == pytest.approx(1)


def test_a_file_of_something_else_is_refused(tmp_path):
    with pytest.raises(StudyError, match="no such file. Run `make export"):
        OnnxModel(tmp_path / "model.onnx")
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(StudyError, match="not a model of `make export`"):
        OnnxModel(tmp_path / "model.onnx")
