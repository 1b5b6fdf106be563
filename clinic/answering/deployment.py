"""A model as a clinic installs it: which file, what it tells apart, and every limit that was set on validation."""

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clinic.reading.pictures import Wanted
from clinic.reading.quality import Profile
from helpers.data.lesions import Diagnosis
from helpers.evaluation.bootstrap import STANDARD, Bootstrap
from helpers.records import file_sha256, write_json
from helpers.sentences import clear_sign, with_interval, wording
from helpers.study import StudyError, results_folder

if TYPE_CHECKING:  # what is about a model need not wait for a backend to load
    import keras

    from helpers.evaluation.predictions import Predictions

NOTEBOOK, FILE = "12_prediction", "deployment.json"
DIFFERENCE = "wrong, held back minus answered"
FIGURES = ("answered", "wrong if all are answered", "wrong of those answered", "wrong of those held back", DIFFERENCE)
MALIGNANT = ("sensitivity", "specificity", "held back")
EXPLAINED, WAY = Path("11_explanation", "explanation.json"), "Grad-CAM"
TURNED = "rank correlation with the map of the turned image"
# What is measured of maps: in which table of EXPLAINED, and what stands behind the network's name in its row.
MAPS = {
    "share of the mass on the lesion": ("share of the mass, beyond the blob", f", {WAY}"),
    "pointing game": ("pointing game, beyond the blob", f", {WAY}"),
    "insertion minus deletion": ("insertion minus deletion, beyond the blob", ""),
    TURNED: ("stability", ""),
}


@dataclass(frozen=True)
class Deployment:
    """What is to be known of a model beside its file.

    name, study, notebook: where its record is; version: of the code that trained it; model_sha256: of its file;
    classes: what it tells apart, in its order; temperature divides its logits, and biases, one a class, are added
    then, to calibrate it; threshold: from which malignant score on an image counts as suspicious; silence: the energy
    below which it gives no answer; trade: what that costs and brings on test, by FIGURES; malignant: sensitivity and
    specificity among the images that it answers there, and the share of the malignant ones that it holds back, by
    MALIGNANT; maps: what its maps are worth there, by those of MAPS that were measured; each figure is {"value",
    "low", "high"}; side and colour_constancy: of the images it takes; profile: what they are like; missing_images: how
    many images the publisher lists that the study did not have.
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
    silence: float
    trade: dict[str, dict]
    malignant: dict[str, dict]
    maps: dict[str, dict]
    side: int
    colour_constancy: str
    profile: Profile
    missing_images: int = 0

    @property
    def codes(self) -> list[str]:
        """The codes of the classes."""
        return [one.code for one in self.classes]

    def wanted(self, preview: int = 0) -> Wanted:
        """How its images are wanted, with a copy of `preview` pixels a side to be shown."""
        return Wanted(self.side, self.colour_constancy, preview)

    def limit(self) -> str:
        """What the operating point is of, and what it was worth on test, in two sentences."""
        found = {name: with_interval(self.malignant[name], 2) for name in MALIGNANT}
        return (
            f"The operating point is {self.threshold:.4f} of the summed probability of the malignant classes before "
            f"calibration, set on validation. Among the test images that the model answers, it had a sensitivity of "
            f"{found['sensitivity']} and a specificity of {found['specificity']} for malignant lesions; a share of "
            f"{found['held back']} of all malignant ones gets no answer, so is not found either."
        )

    def counted(self) -> str:
        """What counts as malignant, in a sentence."""
        listed = ", ".join(one.name for one in self.classes if one.malignant)
        early = [name for name in ("actinic keratosis", "Bowen's disease") if name in listed]
        word = "are pre-malignant or in situ" if len(early) > 1 else "is pre-malignant"
        return f"Counted as malignant: {listed}" + (f"; {' and '.join(early)} {word}." if early else ".")

    def told(self) -> str:
        """What its silence costs and brings, and on how much of the data it stands."""
        share = {name: with_interval(self.trade[name], 2) for name in FIGURES}
        absent = (
            f" {self.missing_images:,} images that the publisher lists were missing." if self.missing_images else ""
        )
        return (
            f"Measured on test, it answers a share of {share['answered']} of the images. Of its answers "
            f"{share['wrong of those answered']} are wrong; of those that it holds back "
            f"{share['wrong of those held back']} would have been; were all answered, "
            f"{share['wrong if all are answered']} would be. That of those held back minus that of its answers: "
            f"{share[DIFFERENCE]}, {wording(self.trade[DIFFERENCE])}.{absent}"
        )

    def map_told(self) -> str:
        """How far its maps can be believed, in sentences."""
        if not self.maps:
            return f"What its maps ({WAY}) are worth was not measured: do not read them as where the model looked."
        told = {name: f"{with_interval(own, 2)} (n = {own['images']:,})" for name, own in self.maps.items()}
        beyond = {name: own for name, own in self.maps.items() if name != TURNED}
        listed = "; ".join(f"{name} {told[name]}, {wording(own)}" for name, own in beyond.items())
        turned = f" Turned with its image, a map has a {TURNED} of {told[TURNED]}." if TURNED in told else ""
        return (
            f"The maps ({WAY}) were held against a blob in the centre that knows nothing of the image, map minus blob, "
            f"on n test images: {listed}.{turned} {_judged(beyond.values())}"
        )


def write_deployment(deployment: Deployment, path: Path) -> None:
    """Write a deployment as json, atomically."""
    write_json(path, asdict(deployment))


def read_deployment(path: Path) -> Deployment:
    """Read what `write_deployment` wrote. Raises StudyError if it is not there or is something else."""
    if not Path(path).is_file():
        raise StudyError(f"{path}: no such file. Run the notebook {NOTEBOOK} of the study, which writes it.")
    try:
        content = json.loads(Path(path).read_text())
        content["classes"] = tuple(Diagnosis(**one) for one in content["classes"])
        profile = content["profile"]
        known = {"mean": tuple(profile["mean"]), "whitening": tuple(map(tuple, profile["whitening"]))}
        content["profile"] = Profile(**profile | known)
        content["biases"] = tuple(map(float, content["biases"]))
        deployment = Deployment(**content)
        if len(deployment.biases) != len(deployment.classes):
            raise ValueError("a bias is missing")
        deployment.told()
        deployment.limit()
        deployment.map_told()
        deployment.wanted()
        return deployment
    except (ValueError, TypeError, KeyError) as error:
        raise StudyError(f"{path}: not a deployment of this version. Run {NOTEBOOK} of the study again.") from error


def prepare(
    record: Mapping,
    classes: Sequence[Diagnosis],
    profile: Profile,
    chosen: Mapping,
    measured: Mapping[str, dict],
) -> Deployment:
    """The deployment of a model with a run record.

    chosen: temperature, biases and silence, set on validation; measured: by `measure_abstention`; other arguments as of
    `Deployment`.

    What its maps are worth is taken from what 11_explanation of the study left, if that was about the same model.
    Raises StudyError for a record without the checksum of its model.
    """
    if not record.get("model_sha256"):
        raise StudyError(f"The record of {record['name']} has no checksum. Run {record['notebook']} again.")
    commit, plus, changes = (record["environment"]["commit"] or "unknown").partition("+")
    p = record["parameters"]
    return Deployment(
        **{name: record[name] for name in ("name", "study", "notebook", "model_sha256", "threshold")},
        **{name: chosen[name] for name in ("temperature", "silence")},
        biases=tuple(map(float, chosen["biases"])),
        version=commit[:12] + plus + changes,
        classes=tuple(classes),
        trade={name: measured[name] for name in FIGURES},
        malignant={name: measured[name] for name in MALIGNANT},
        maps=measure_maps(record),
        side=p["side"],
        colour_constancy=p["colour_constancy"],
        profile=profile,
        missing_images=record.get("missing_images", 0),
    )


def measure_abstention(
    predictions: "Predictions", energy: np.ndarray, limits: tuple[float, float], *, bootstrap: Bootstrap = STANDARD
) -> dict[str, dict]:
    """What a model's silence costs and brings: FIGURES and MALIGNANT as {"value", "low", "high", "images"}.

    What is undefined is None; images: how many are behind the figure. energy: float [n], of what stands in
    `predictions`; limits: the energy below which it is silent, and the malignant score from which on an image counts as
    suspicious. Raises StudyError if it would answer none of the images.
    """
    from helpers.evaluation.means import mean_differences, proportion
    from helpers.evaluation.scores import measure

    (silence, threshold), p = limits, predictions
    answered, wrong, bad = energy >= silence, ~p.is_right, p.is_malignant
    asked = ((answered, slice(None)), (wrong, slice(None)), (wrong, answered), (wrong, ~answered))
    shares = [proportion(event[rows], p.lesions[rows], bootstrap) for event, rows in asked]
    apart = mean_differences({DIFFERENCE: wrong}, ~answered, p.lesions, bootstrap=bootstrap).astype(object)
    shares.append(apart.where(apart.notna(), None).loc[DIFFERENCE].to_dict())
    options, answers = {"threshold": threshold, "bootstrap": bootstrap}, p.subset(answered)
    found = [measure(answers, f"malignant_{name}", **options) for name in MALIGNANT[:2]]
    found.append(proportion(~answered[bad], p.lesions[bad], bootstrap))
    every = np.ones(len(p), bool)
    behind = (every, every, answered, ~answered, every, answered & bad, answered & ~bad, bad)
    figures = zip((*FIGURES, *MALIGNANT), (*shares, *found), behind, strict=True)
    return {name: figure | {"images": int(rows.sum())} for name, figure, rows in figures}


def measure_maps(record: Mapping) -> dict[str, dict]:
    """What 11_explanation measured of the maps of the model with this record, by MAPS; nothing if of another file."""
    path, name = results_folder(record["study"]) / EXPLAINED, record["name"]
    found = json.loads(path.read_text()) if path.is_file() else {}
    if found.get("model_sha256", {}).get(name) != record["model_sha256"]:
        return {}
    rows = {measure: found.get(table, {}).get(f"{name}{way}") for measure, (table, way) in MAPS.items()}
    return {measure: row for measure, row in rows.items() if row}


def find_deployment(study: str) -> tuple[Deployment, Path]:
    """The deployment of a study and the file of its model. Raises StudyError if the study has none."""
    deployment = read_deployment(results_folder(study) / NOTEBOOK / FILE)
    return deployment, results_folder(study) / deployment.notebook / "model.keras"


def load(deployment: Deployment, file: Path, trust: bool = False) -> tuple["keras.Model", Deployment]:
    """The model of a deployment, and the deployment with the checksum of the file that was loaded.

    A model file can hold code. So it has to be a .keras file with the checksum of the deployment, and is loaded in
    Keras' safe mode, which runs no code from it. trust: take a .keras file with another checksum. What is checked and
    loaded is a copy, which nobody can change in between. Raises StudyError.
    """
    if Path(file).suffix != ".keras":
        raise StudyError(f"{file}: not a .keras file. Other forms can hold code, and are not loaded.")
    if not Path(file).is_file():
        raise StudyError(f"{file}: no such file. Run {deployment.notebook} of the study {deployment.study}.")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copyfile(file, Path(folder) / "model.keras"))
        found = file_sha256(copy)
        if found != deployment.model_sha256 and not trust:
            raise StudyError(
                f"{file}: SHA-256 {found} is not the {deployment.model_sha256} of its deployment. Restore the file, "
                "or, if you know where it comes from, say --trust: its thresholds are then those of another model."
            )
        return _loaded(copy, deployment), replace(deployment, model_sha256=found)


def software_version() -> str:
    """Version of this program."""
    try:
        return version("skin-lesion-study")
    except PackageNotFoundError:
        return "unknown"


def _loaded(file: Path, deployment: Deployment) -> "keras.Model":
    import keras

    import helpers.models.networks  # noqa: F401, registers the layers of saved models

    try:
        model = keras.saving.load_model(file, safe_mode=True, compile=False)
    except Exception as error:  # Keras raises what the file provokes
        raise StudyError(f"The model file cannot be loaded in safe mode ({type(error).__name__}).") from error
    wanted = (None, deployment.side, deployment.side, 3), (None, len(deployment.classes))
    # Not every model has one shape, or any.
    takes, gives = (getattr(model, name, None) for name in ("input_shape", "output_shape"))
    if (takes, gives) != wanted:
        raise StudyError(f"The model takes {takes} and gives {gives}; wanted are {wanted}.")
    return model


def _judged(figures: Iterable[Mapping]) -> str:
    """What it means that maps are ahead of a blob, or not, in a sentence."""
    ahead = [clear_sign(figure) == 1 for figure in figures]
    if ahead and all(ahead):
        return "They are ahead of the blob in all of these."
    if any(ahead):
        return "They are ahead of the blob in some of these only: read them with doubt."
    return "They are ahead of it in none of these: do not read them as where the model looked."
