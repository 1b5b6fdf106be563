"""A model as a clinic installs it: its file, its classes, and all thresholds that were set on validation."""

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from clinic.reading.pictures import ImageFormat
from clinic.reading.quality import Profile
from helpers.data.lesions import Diagnosis
from helpers.records import file_sha256, write_json
from helpers.study import StudyError, results_folder

if TYPE_CHECKING:  # reading a deployment does not need a backend
    import keras

NOTEBOOK, FILE = "12_prediction", "deployment.json"
DIFFERENCE = "error rate, abstentions minus answers"
ABSTENTION = ("coverage", "error rate without abstention", "error rate of answers", "error rate of abstentions")
ABSTENTION = (*ABSTENTION, DIFFERENCE)
MALIGNANT = ("sensitivity", "specificity", "abstained")
# Names from earlier versions, which published deployments still use.
FORMER = {
    "silence": "abstention_threshold",
    "trade": "abstention",
    "held back": "abstained",
    "answered": "coverage",
    "wrong if all are answered": "error rate without abstention",
    "wrong of those answered": "error rate of answers",
    "wrong of those held back": "error rate of abstentions",
    "wrong, held back minus answered": DIFFERENCE,
}


@dataclass(frozen=True)
class Deployment:
    """What a clinic needs to know about a model besides its file.

    name, study, notebook: where its run record is. version: of the code that trained it. model_sha256: of its file.
    classes: in the order of its outputs. temperature, biases: the logits are divided by the first, then the biases are
    added, one per class, to calibrate them. threshold: an image counts as suspicious from this malignancy score on.
    abstention_threshold: the model abstains below this energy. side, colour_constancy: of the images that it takes.
    profile: what these look like. missing_images: how many of the publisher's images the study lacked.

    Measured on test, each as {"value", "low", "high", "images"}: abstention: by ABSTENTION. malignant: by MALIGNANT,
    sensitivity and specificity on the images that the model answers, and the share of malignant ones on which it
    abstains.
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
    profile: Profile
    missing_images: int = 0

    @property
    def codes(self) -> list[str]:
        """The codes of the classes."""
        return [one.code for one in self.classes]

    def image_format(self, preview: int = 0) -> ImageFormat:
        """The format of the model's images, with a preview of `preview` pixels per side."""
        return ImageFormat(self.side, self.colour_constancy, preview)


def write_deployment(deployment: Deployment, path: Path) -> None:
    """Write a deployment as json, atomically."""
    write_json(path, asdict(deployment))


def read_deployment(path: Path) -> Deployment:
    """Read what `write_deployment` wrote. Raises StudyError if the file is missing or is something else."""
    if not Path(path).is_file():
        raise StudyError(f"{path}: no such file. Run the notebook {NOTEBOOK} of the study, which writes it.")
    try:
        return _parsed(Path(path).read_text())
    except (ValueError, TypeError, KeyError) as error:
        raise StudyError(f"{path}: not a deployment of this version. Run {NOTEBOOK} of the study again.") from error


def find_deployment(study: str) -> tuple[Deployment, Path]:
    """The deployment of a study and the file of its model. Raises StudyError if the study has none."""
    deployment = read_deployment(results_folder(study) / NOTEBOOK / FILE)
    return deployment, results_folder(study) / deployment.notebook / "model.keras"


def load(deployment: Deployment, file: Path, trust: bool = False) -> tuple["keras.Model", Deployment]:
    """The model of a deployment, and the deployment with the checksum of the file that was loaded.

    A model file can hold code. So it has to be a .keras file with the checksum of the deployment, and Keras loads it
    in safe mode, which runs no code from it. trust: take a .keras file with another checksum. A copy is checked and
    loaded, so that nobody can change the file in between. Raises StudyError.
    """
    if Path(file).suffix != ".keras":
        raise StudyError(f"{file}: not a .keras file. Other formats can hold code and are not loaded.")
    if not Path(file).is_file():
        raise StudyError(f"{file}: no such file. Run {deployment.notebook} of the study {deployment.study}.")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copyfile(file, Path(folder) / "model.keras"))
        found = file_sha256(copy)
        if found != deployment.model_sha256 and not trust:
            raise StudyError(
                f"{file}: SHA-256 {found} is not the {deployment.model_sha256} of its deployment. Restore the file. "
                "If you trust where it comes from, add --trust; the thresholds then belong to another model."
            )
        return _load(copy, deployment), replace(deployment, model_sha256=found)


def software_version() -> str:
    """The version of this program."""
    try:
        return version("skin-lesion-study")
    except PackageNotFoundError:
        return "unknown"


def _parsed(text: str) -> Deployment:
    """The deployment in a file's text. Raises ValueError, TypeError or KeyError if it is something else."""
    content = json.loads(text, object_hook=lambda found: {FORMER.get(key, key): value for key, value in found.items()})
    content["classes"] = tuple(Diagnosis(**one) for one in content["classes"])
    content.pop("maps", None)  # measured by earlier versions
    profile = content["profile"]
    arrays = {"mean": tuple(profile["mean"]), "whitening": tuple(map(tuple, profile["whitening"]))}
    content["profile"] = Profile(**profile | arrays)
    content["biases"] = tuple(map(float, content["biases"]))
    deployment = Deployment(**content)
    if len(deployment.biases) != len(deployment.classes):
        raise ValueError("a bias is missing")
    _check_figures(deployment.abstention, ABSTENTION)
    _check_figures(deployment.malignant, MALIGNANT)
    deployment.image_format()
    return deployment


def _check_figures(figures: dict, names: Sequence[str]) -> None:
    """Raise KeyError or TypeError unless there is a figure with its interval for each name."""
    for name in names:
        for key in ("value", "low", "high"):
            _ = figures[name][key] is None or float(figures[name][key])


def _load(file: Path, deployment: Deployment) -> "keras.Model":
    """The model in a file. Raises StudyError if Keras refuses it, or if its inputs or outputs have another shape."""
    import keras

    import helpers.models.networks  # noqa: F401, registers the layers of saved models

    try:
        model = keras.saving.load_model(file, safe_mode=True, compile=False)
    except Exception as error:  # a bad file can make Keras raise anything
        raise StudyError(f"The model file cannot be loaded in safe mode ({type(error).__name__}).") from error
    expected = (None, deployment.side, deployment.side, 3), (None, len(deployment.classes))
    # A model may have several shapes, or none.
    shapes = tuple(getattr(model, name, None) for name in ("input_shape", "output_shape"))
    if shapes != expected:
        raise StudyError(
            f"The model takes {shapes[0]} and gives {shapes[1]}. Its deployment needs {expected[0]} and {expected[1]}."
        )
    return model
