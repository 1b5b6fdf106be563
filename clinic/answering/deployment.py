"""A model as a clinic installs it: its file, its classes, and all limits that were set on validation."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from math import isfinite
from pathlib import Path

from clinic.answering.appearance import Appearance
from clinic.reading.pictures import ImageFormat
from helpers.data.diagnoses import Diagnosis
from helpers.records import write_json
from helpers.study import StudyError, results_folder

PUBLISHED = "ham10000_cpu"  # the study whose deployment is used if none is named
NOTEBOOK, FILE = "13_prediction", "deployment.json"
DIFFERENCE = "error rate, abstentions minus answers"
ABSTENTION = ("coverage", "error rate without abstention", "error rate of answers", "error rate of abstentions")
ABSTENTION = (*ABSTENTION, DIFFERENCE)
ENERGY, PROBABILITY = "energy", "maximum probability"  # the confidence scores of `helpers.evaluation.abstention`
PREVALENCE, IF_SUSPICIOUS, IF_NOT = "prevalence", "malignant if suspicious", "malignant if not suspicious"
MISSED, MISSED_MELANOMAS = "missed", "missed melanomas"  # called benign, of all malignant images and of the melanomas
MALIGNANT = ("sensitivity", "specificity", "abstained", MISSED, MISSED_MELANOMAS, IF_SUSPICIOUS, IF_NOT, PREVALENCE)


@dataclass(frozen=True)
class Deployment:
    """What a clinic needs to know about a model besides its file.

    name, study, notebook: where its run record is. version: of the code that trained it. model_sha256: of its file.
    classes: in the order of its outputs. temperature, biases: the logits are divided by the first, then the biases are
    added, one per class, to calibrate them. suspicious_from: the operating point, the calibrated probability of
    malignancy from which on an image counts as suspicious; 0.5 at most. confidence, abstention_threshold: the model
    abstains where this score, PROBABILITY or ENERGY, is below the threshold. side, colour_constancy: of the images that
    it takes. appearance: how these look; the model abstains from others. missing_images: how many of the publisher's
    images the study lacked.

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
    suspicious_from: float
    confidence: str
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
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

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
        deployment = _parse(content)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise StudyError(f"{path}: not a deployment of this version. {remedy}") from error
    try:
        _check(deployment)
    except (ValueError, TypeError, KeyError, StudyError) as error:
        raise StudyError(f"{path}: {error} in a deployment. {remedy}") from error
    if stated != deployment.checksum:
        raise StudyError(f"{path}: the deployment was changed after it had been written. {remedy}")
    return deployment


def find_deployment(study: str) -> tuple[Deployment, Path]:
    """The deployment of a study and the Keras file of its model. Raises StudyError if the study has none."""
    deployment = read_deployment(results_folder(study) / NOTEBOOK / FILE)
    return deployment, results_folder(study) / deployment.notebook / "model.keras"


def software_version() -> str:
    """The version of this program."""
    try:
        return version("skin-lesion-study")
    except PackageNotFoundError:
        return "unknown"


def _parse(content: dict) -> Deployment:
    """The deployment in a file's content. Raises ValueError, TypeError or KeyError if it is something else."""
    content["classes"] = tuple(Diagnosis(**one) for one in content["classes"])
    content["appearance"] = Appearance(**content["appearance"])
    content["biases"] = tuple(map(float, content["biases"]))
    return Deployment(**content)


def _check(deployment: Deployment) -> None:
    """Raise one of the errors of `read_deployment`, which says what is wrong, for what cannot be."""
    for one in fields(deployment):
        kinds = (int, float) if one.type is float else (one.type,)
        if one.type in (str, int, float) and type(getattr(deployment, one.name)) not in kinds:
            raise ValueError(f"{one.name} of another type than {one.type.__name__}")
    rules = {
        "a temperature that is not above 0": isfinite(deployment.temperature) and deployment.temperature > 0,
        "another number of biases than of classes": len(deployment.biases) == len(deployment.classes),
        "a bias that is not a number": all(map(isfinite, deployment.biases)),
        # or an image could look benign and be malignant by its probability
        "an operating point that is not between 0 and 0.5": 0 < deployment.suspicious_from <= 0.5,
        "an unknown score of confidence": deployment.confidence in (ENERGY, PROBABILITY),
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
        if (low, value, high) != (None,) * 3 and not -1 <= low <= value <= high <= 1:
            raise ValueError(f"a share that cannot be ({name})")
