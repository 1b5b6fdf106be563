"""The whole export of a made-up study with a tiny network, read back as a program without Keras would."""

import json
import zipfile

import numpy as np
import pandas as pd
import pytest
from tiny import CODES, make_study

from helpers.backend import set_seed
from helpers.data.lesions import HAM10000
from helpers.export import INT8, LITERT, ONNX, PARITY, study
from helpers.export.__main__ import main
from helpers.export.network import OUTPUTS
from helpers.export.runtimes import keras_logits
from helpers.export.study import PACKAGES, export_study
from helpers.models.head import Common
from helpers.models.networks import Convolutions, cnn
from helpers.records import describe_split, file_sha256, write_json
from helpers.study import DISCLAIMER, StudyError
from helpers.training.fit import save_model

pytestmark = pytest.mark.slow


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Results with a network that 13_prediction deployed, and its images."""
    run = make_study(tmp_path, monkeypatch, "05_mobilenet")
    monkeypatch.setattr(study, "dataset_folder", lambda _: tmp_path)
    set_seed(0)
    save_model(cnn(Common(16, 7), Convolutions([4, 8, 8])), run.folder / "model.keras")
    split = pd.read_csv(run.folder.parent / "split.csv", dtype={"image_id": str})
    checksum = file_sha256(run.folder / "model.keras")
    record = run.entry("MobileNet", "diagnosis", split) | {"model_sha256": checksum, "variants": {}}
    record |= {"split": describe_split(split), "validation": {"balanced_accuracy": {"value": 0.5}}}
    write_json(run.folder / "metrics.json", record)
    classes = [{"code": one.code, "name": one.name, "malignant": one.malignant} for one in HAM10000]
    deployment = {"name": "MobileNet", "study": run.study, "notebook": "05_mobilenet", "model_sha256": checksum}
    deployment |= {"classes": classes, "side": 16, "temperature": 1.5, "threshold": 0.25}
    write_json(run.folder.parent / "13_prediction" / "deployment.json", deployment)
    return run.folder.parent


@pytest.mark.needs(*PACKAGES)
def test_the_files_answer_like_the_model_and_say_what_they_are(results):
    table = export_study("demo").set_index("runtime")
    folder = results / "export"
    assert table["file"].tolist() == ["model.keras", ONNX, LITERT, INT8]
    assert table["largest_difference"].tolist()[:3] == pytest.approx([0, 0, 0], abs=1e-5)
    assert table["agreement"].tolist()[:3] == [1, 1, 1] and table.loc["LiteRT, int8", "agreement"] > 0.8
    assert (folder / INT8).stat().st_size < (folder / LITERT).stat().st_size
    assert np.allclose(pd.read_csv(folder / PARITY)["balanced_accuracy"], table["balanced_accuracy"])
    check_onnx(results)
    for name in (LITERT, INT8):
        check_litert(results, folder / name)


def check_onnx(results):
    import onnxruntime

    session = onnxruntime.InferenceSession(results / "export" / ONNX)
    assert {output.name for output in session.get_outputs()} == set(OUTPUTS)
    (images,) = session.get_inputs()
    assert (images.name, images.shape, images.type) == ("image", ["images", 16, 16, 3], "tensor(uint8)")
    given = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    found = dict(zip(OUTPUTS, session.run(OUTPUTS, {"image": given}), strict=True))
    model, *_ = study.deployed_model("demo")
    log_probabilities = keras_logits(model)(given)
    offset = found["logits"] - log_probabilities  # the same for all classes of an image
    assert np.allclose(offset, offset[:, :1], atol=1e-4)
    check_metadata(results, session.get_modelmeta().custom_metadata_map, decoded=json.loads)


def check_litert(results, path):
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels.txt").decode().split() == CODES
        check_metadata(results, json.loads(archive.read("about.json")), decoded=lambda value: value)


def check_metadata(results, about, decoded):
    deployment = json.loads((results / "13_prediction" / "deployment.json").read_text())
    assert decoded(about["deployment"]) == deployment and decoded(about["labels"]) == CODES
    assert about["keras_sha256"] == deployment["model_sha256"] and about["disclaimer"] == DISCLAIMER
    assert "16, 16, 3" in about["input"] and "logits" in decoded(about["outputs"])


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(study, "PACKAGES", ("onnx_of_another_name",))
    with pytest.raises(
        StudyError, match="onnx_of_another_name. Run `python -m pip install -r requirements-export.txt`"
    ):
        export_study("demo")


@pytest.mark.needs(*PACKAGES)
def test_a_study_without_a_deployment_or_with_an_older_one_is_refused(results, capsys):
    path = results / "13_prediction" / "deployment.json"
    write_json(path, json.loads(path.read_text()) | {"model_sha256": "0" * 64})
    with pytest.raises(StudyError, match="the deployment of an earlier model. Run `make 13_prediction STUDY=demo`"):
        export_study("demo")
    path.unlink()
    assert main(["--study", "demo"]) == 1 and "deployment.json: no such file" in capsys.readouterr().err


def test_another_split_than_the_record_names_is_refused(results):
    _, record, _ = study.deployed_model("demo")
    with pytest.raises(StudyError, match="split.csv: not the split of MobileNet. Run 05_mobilenet again"):
        study.images_and_truth(record | {"split": record["split"] | {"test": 1}})
