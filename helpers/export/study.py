"""Exports the network that 13_prediction of a study deployed, and compares the files with it."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from helpers.backend import device_name
from helpers.data.lesions import CREDIT, classes, dataset_folder, read_lesions
from helpers.data.pixels import open_cache
from helpers.data.samples import part_samples
from helpers.data.split import read_split
from helpers.evaluation.bootstrap import Bootstrap
from helpers.evaluation.predictions import Predictions
from helpers.export import CHECKSUMS, FOLDER, INT8, LITERT, ONNX, PARITY
from helpers.export.files import attach, write_litert, write_onnx
from helpers.export.network import ACTIVATION, FEATURE_MAP, FEATURES, LOGITS, MIDDLE, convolutions, exported_network
from helpers.export.parity import compare
from helpers.export.quantisation import write_int8
from helpers.export.runtimes import keras_logits, litert_logits, onnx_logits
from helpers.models.published import load_model, model_file
from helpers.reading import read_json
from helpers.records import describe_split, file_sha256, write_csv, write_text
from helpers.study import DISCLAIMER, StudyError, results_folder

PACKAGES = ("onnx", "tf2onnx", "onnxruntime", "ai_edge_litert", "ai_edge_quantizer")
DEPLOYMENT = Path("13_prediction", "deployment.json")
MEANING = {
    LOGITS: "[images, classes], before the softmax, in the order of the labels",
    FEATURES: "[images, features], the input of the last layer",
    MIDDLE: "[images, channels], the mean activations in the middle of the network, for the rule of abstention",
    FEATURE_MAP: "[images, height, width, channels], the last one",
    ACTIVATION: "[images, height, width, classes], the share of each cell in each logit",
}


def export_study(study: str) -> pd.DataFrame:
    """Write the files of a study's deployment to results/<study>/export/ with their checksums, and return parity.csv.

    Raises StudyError if the study has no deployment, if its model is another one, if its images are not there, or if
    packages of requirements-export.txt are missing.
    """
    _check_environment()
    model, record, deployment = deployed_model(study)
    images, test = images_and_truth(record)
    folder = results_folder(study) / FOLDER
    write_files(folder, model, describe(deployment, record), images=images["validation"])
    runtimes = {
        "Keras": keras_logits(model),
        "ONNX Runtime": onnx_logits(folder / ONNX),
        "LiteRT": litert_logits(folder / LITERT),
        "LiteRT, int8": litert_logits(folder / INT8),
    }
    bootstrap = Bootstrap.of(record["parameters"])
    table = compare(runtimes, images["test"], test, bootstrap=bootstrap)
    files = [model_file(record), folder / ONNX, folder / LITERT, folder / INT8]
    table.insert(1, "file", [path.name for path in files])
    table.insert(2, "megabytes", [path.stat().st_size / 1e6 for path in files])
    table["device"] = device_name()
    write_csv(folder / PARITY, table)
    return table


def deployed_model(study: str) -> tuple[keras.Model, dict, dict]:
    """The model that 13_prediction of a study deployed, its run record, and its deployment. Raises StudyError."""
    path, remedy = results_folder(study) / DEPLOYMENT, f"Run `make 13_prediction STUDY={study}`."
    deployment = read_json(path, remedy)
    model, record = load_model(deployment["name"], study, deployment["notebook"])
    if record["model_sha256"] != deployment["model_sha256"]:
        raise StudyError(f"{path}: the deployment of an earlier model. {remedy}")
    return model, record, deployment


def images_and_truth(record: Mapping) -> tuple[dict[str, np.ndarray], Predictions]:
    """The images of validation and test, uint8 [n, side, side, 3] by part, and labels and lesions of test.

    record: of the model. The probabilities are all equal. Raises StudyError if the images are not cached or the split
    is not the record's.
    """
    p, folder = record["parameters"], dataset_folder(record["parameters"]["dataset"]) / "cache"
    path = results_folder(record["study"]) / "split.csv"
    split = read_split(path, read_lesions(folder / "lesions.csv"))
    if describe_split(split) != record["split"]:
        raise StudyError(f"{path}: not the split of {record['name']}. Run {record['notebook']} again.")
    cache, known = open_cache(folder, p["side"], p["colour_constancy"]), classes(p["dataset"], record["task"])
    codes = [one.code for one in known]
    samples = {part: part_samples(split, cache, codes, part=part) for part in ("validation", "test")}
    lesions = split.loc[split["part"] == "test", "lesion_id"].to_numpy()
    equal = np.full((len(lesions), len(codes)), 1 / len(codes))
    malignant = tuple(one.malignant for one in known)
    truth = Predictions(samples["test"].labels, equal, lesions, tuple(codes), malignant)
    return {part: one.pixels[one.rows] for part, one in samples.items()}, truth


def describe(deployment: Mapping, record: Mapping) -> dict:
    """What a user of an exported file has to know, by name."""
    side = deployment["side"]
    return {
        "title": f"{deployment['name']} of the study {deployment['study']}",
        "disclaimer": DISCLAIMER,
        "labels": [one["code"] for one in deployment["classes"]],
        "input": f"uint8 [images, {side}, {side}, 3], RGB, the centre square of each photograph",
        "keras_sha256": deployment["model_sha256"],
        "data": CREDIT[record["parameters"]["dataset"]],
        "deployment": deployment,
    }


def write_files(folder: Path, model: keras.Model, about: Mapping, *, images: np.ndarray) -> None:
    """Write ONNX, LITERT, INT8 and, of the two that are published, CHECKSUMS. images: of validation, for INT8."""
    network = exported_network(model)
    outputs = {"outputs": {name: MEANING[name] for name in network.output}}
    write_onnx(network, folder / ONNX, about | outputs)
    outputs = {"outputs": {LOGITS: MEANING[LOGITS]}}
    write_litert(network, folder / LITERT, about | outputs)
    spared = write_int8(folder / LITERT, folder / INT8, images, convolutions=convolutions(network))
    attach(folder / INT8, about | outputs | {"convolutions in float": spared})
    sums = [f"{file_sha256(folder / name)}  {name}\n" for name in (ONNX, INT8)]
    write_text(folder / CHECKSUMS, "".join(sums))


def _check_environment() -> None:
    if missing := [name for name in PACKAGES if not find_spec(name)]:
        remedy = "Run `python -m pip install -r requirements-export.txt`"
        raise StudyError(f"Packages for the export are not installed: {', '.join(missing)}. {remedy}.")
    if keras.config.backend() != "tensorflow":
        raise StudyError("Keras exports to LiteRT under TensorFlow only. Set KERAS_BACKEND=tensorflow.")
