"""A model as a clinic installs it: its file, its classes, and all limits that were set on validation."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from clinic.answering.appearance import Appearance
from clinic.reading.pictures import ImageFormat
from helpers.data.lesions import Diagnosis
from helpers.records import file_sha256, write_json
from helpers.study import StudyError, results_folder

if TYPE_CHECKING:  # reading a deployment does not need a backend
    import keras

PUBLISHED = "ham10000_cpu"  # the study whose deployment is used if none is named
NOTEBOOK, FILE = "13_prediction", "deployment.json"
DIFFERENCE = "error rate, abstentions minus answers"
ABSTENTION = ("coverage", "error rate without abstention", "error rate of answers", "error rate of abstentions")
ABSTENTION = (*ABSTENTION, DIFFERENCE)
PREVALENCE, IF_SUSPICIOUS, IF_NOT = "prevalence", "malignant if suspicious", "malignant if not suspicious"
MALIGNANT = ("sensitivity", "specificity", "abstained", "missed", IF_SUSPICIOUS, IF_NOT, PREVALENCE)
LFS, HDF5 = b"version https://git-lfs", b"\x89HDF\r\n"  # how other files begin that are taken for models


@dataclass(frozen=True)
class Deployment:
    """What a clinic needs to know about a model besides its file.

    name, study, notebook: where its run record is. version: of the code that trained it. model_sha256: of its file.
    classes: in the order of its outputs. temperature, biases: the logits are divided by the first, then the biases are
    added, one per class, to calibrate them. threshold: an image counts as suspicious from this malignancy score on.
    abstention_threshold: the model abstains below this energy. side, colour_constancy: of the images that it takes.
    appearance: how these look; the model abstains from others. missing_images: how many of the publisher's images the
    study lacked.

    Measured on test, each as {"value", "low", "high", "images"}: abstention: by ABSTENTION. malignant: by MALIGNANT, as
    in `preparation.measure_abstention`.
    """

    name: str
    study: str
    notebook: str
    version: str
    model_sha256: str
    classes: tuple[Diagnosis, ...]
    temperature: float
    biases: tuple[float, ...]
    threshold: float
    abstention_threshold: float
    abstention: dict[str, dict]
    malignant: dict[str, dict]
    side: int
    colour_constancy: str
    appearance: Appearance
    missing_images: int = 0

    @property
    def codes(self) -> list[str]:
        """The codes of the classes."""
        return [one.code for one in self.classes]

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of everything in the deployment, by which results name it."""
        return _checksum(asdict(self))

    def image_format(self, preview: int = 0) -> ImageFormat:
        """The format of the model's images, with a preview of `preview` pixels per side."""
        return ImageFormat(self.side, self.colour_constancy, preview)


def write_deployment(deployment: Deployment, path: Path) -> None:
    """Write a deployment with its checksum as json, atomically."""
    write_json(path, asdict(deployment) | {"checksum": deployment.checksum})


def read_deployment(path: Path) -> Deployment:
    """Read what `write_deployment` wrote.

    Raises StudyError if the file is missing, is something else, was changed, or has a number that cannot be.
    """
    if not Path(path).is_file():
        raise StudyError(f"{path}: no such file. Run the notebook {NOTEBOOK} of the study, which writes it.")
    remedy = f"Restore the file, or run {NOTEBOOK} of the study again."
    try:
        content = json.loads(Path(path).read_text())
        stated = content.pop("checksum")
        deployment = _parsed(content)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StudyError(f"{path}: not a deployment of this version. {remedy}") from error
    try:
        _check(deployment)
    except (ValueError, TypeError, KeyError) as error:
        raise StudyError(f"{path}: {error} in a deployment. {remedy}") from error
    if stated != deployment.checksum:
        raise StudyError(f"{path}: the deployment was changed after it had been written. {remedy}")
    return deployment


def find_deployment(study: str) -> tuple[Deployment, Path]:
    """The deployment of a study and the file of its model. Raises StudyError if the study has none."""
    deployment = read_deployment(results_folder(study) / NOTEBOOK / FILE)
    return deployment, results_folder(study) / deployment.notebook / "model.keras"


def load(deployment: Deployment, file: Path) -> "keras.Model":
    """The model of a deployment.

    A model file can hold code. So it has to be a .keras file with the checksum of the deployment, and Keras loads it
    in safe mode, which runs no code from it. A copy is checked and loaded, so that nobody can change the file in
    between. Raises StudyError.
    """
    if not Path(file).is_file():
        raise StudyError(f"{file}: no such file. Run {deployment.notebook} of the study {deployment.study}.")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copyfile(file, Path(folder) / "model.keras"))
        if (found := file_sha256(copy)) != deployment.model_sha256:
            raise StudyError(
                f"{file}: {_kind(copy)}. Its SHA-256 {found} is not the {deployment.model_sha256} of its deployment. "
                f"Restore the file. To use another model, run {NOTEBOOK} of its study, which sets its limits."
            )
        return _load(copy, deployment)


def software_version() -> str:
    """The version of this program."""
    try:
        return version("skin-lesion-study")
    except PackageNotFoundError:
        return "unknown"


def _checksum(content: Mapping) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _parsed(content: dict) -> Deployment:
    """The deployment in a file's content. Raises ValueError, TypeError or KeyError if it is something else."""
    content["classes"] = tuple(Diagnosis(**one) for one in content["classes"])
    content["appearance"] = Appearance(**content["appearance"])
    content["biases"] = tuple(map(float, content["biases"]))
    return Deployment(**content)


def _check(deployment: Deployment) -> None:
    """Raise ValueError, TypeError or KeyError, which say what is wrong, for numbers or classes that cannot be."""
    rules = {
        "a temperature that is not above 0": isfinite(deployment.temperature) and deployment.temperature > 0,
        "another number of biases than of classes": len(deployment.biases) == len(deployment.classes),
        "a bias that is not a number": all(map(isfinite, deployment.biases)),
        "an operating point that is not between 0 and 1": 0 < deployment.threshold < 1,
        "an abstention threshold that is not a number": isfinite(deployment.abstention_threshold),
        "classes that share a code": len(set(deployment.codes)) == len(deployment.codes),
        "classes that are all malignant or all benign": len({one.malignant for one in deployment.classes}) == 2,
        "a size of images that cannot be": 0 < deployment.side <= 4096,
    }
    for fault, passed in rules.items():
        if not passed:
            raise ValueError(fault)
    _check_figures(deployment.abstention, ABSTENTION)
    _check_figures(deployment.malignant, MALIGNANT)
    deployment.appearance.check()
    deployment.image_format()


def _check_figures(figures: dict, names: Sequence[str]) -> None:
    """Raise KeyError, TypeError or ValueError unless each name has a share with its interval, or None for undefined."""
    for name in names:
        low, value, high = (figures[name][key] for key in ("low", "value", "high"))
        if value is not None and not -1 <= low <= value <= high <= 1:
            raise ValueError(f"a share that cannot be ({name})")


def _kind(file: Path) -> str:
    """What a file is that is not the expected model."""
    with file.open("rb") as opened:
        start = opened.read(len(LFS))
    if start == LFS:
        return "a pointer of Git LFS and not the model itself, which `git lfs pull` fetches"
    if start.startswith(HDF5):
        return "an HDF5 file, which can hold code and is not loaded"
    return "another model" if start.startswith(b"PK") else "not a model file of Keras (.keras)"


def _load(file: Path, deployment: Deployment) -> "keras.Model":
    """The model in a file. Raises StudyError if Keras refuses it, or if its inputs or outputs have another shape."""
    import keras

    import helpers.models.networks  # noqa: F401, registers the layers of saved models

    try:
        model = keras.saving.load_model(file, safe_mode=True, compile=False)
    except Exception as error:  # a bad file can make Keras raise anything
        raise StudyError(f"The model file cannot be loaded in safe mode: {_cause(file, error)}.") from error
    expected = (None, deployment.side, deployment.side, 3), (None, len(deployment.classes))
    # A model may have several shapes, or none.
    shapes = tuple(getattr(model, name, None) for name in ("input_shape", "output_shape"))
    if shapes != expected:
        raise StudyError(
            f"The model takes {shapes[0]} and gives {shapes[1]}. Its deployment needs {expected[0]} and {expected[1]}."
        )
    return model


def _cause(file: Path, error: Exception) -> str:
    """Why Keras does not load a file: code in it, a layer that is not known, or another version of Keras."""
    import zipfile

    import keras

    try:
        with zipfile.ZipFile(file) as opened:
            config, metadata = (json.loads(opened.read(f"{name}.json")) for name in ("config", "metadata"))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return "it is not a complete .keras file"
    if '"Lambda"' in json.dumps(config):
        return "it has a Lambda layer, which holds code"
    if (saved := str(metadata.get("keras_version"))) != keras.__version__:
        return f"it was saved by Keras {saved}, and this is Keras {keras.__version__}"
    return f"it has a layer that this program does not know, or a broken one ({type(error).__name__})"
