"""What the logits of a network mean by the limits of its deployment: probabilities, malignancy, abstention."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp, softmax

from clinic.answering.deployment import Deployment
from clinic.reading.pictures import Picture
from helpers.study import StudyError

BURNED_IN = "its file says that text is burned into the image"


@dataclass(frozen=True)
class Answer:
    """What the model says of one image.

    probabilities: float64 [classes]; the highest is the answer. calibrated: the same by the deployment's temperature
    and biases. malignancy: probabilities summed over the malignant classes, a score, on which the operating point was
    set. calibrated_malignancy: the same of `calibrated`; only this may be read as a probability. energy: of the logits.
    abstained: whether the energy is below the abstention threshold. suspicious: whether malignancy reaches the
    operating point, None where the model abstained. warnings: what is doubtful about the image.
    """

    probabilities: np.ndarray
    calibrated: np.ndarray
    malignancy: float
    calibrated_malignancy: float
    energy: float
    abstained: bool
    suspicious: bool | None
    warnings: tuple[str, ...] = ()


def answer_pictures(pictures: Sequence[Picture], logits: np.ndarray, deployment: Deployment) -> list[Answer]:
    """The answers for n pictures with logits float [n, classes]. Raises StudyError for logits that are not finite."""
    if not np.isfinite(logits).all():
        raise StudyError(f"{deployment.name} gives numbers that are not finite. Restore its model file.")
    malignant = np.array([one.malignant for one in deployment.classes])
    probabilities = softmax(logits, axis=1)
    calibrated = softmax(logits / deployment.temperature + np.array(deployment.biases), axis=1)
    scores, energies = probabilities[:, malignant].sum(axis=1), logsumexp(logits, axis=1)
    abstained = energies < deployment.abstention_threshold
    columns = (
        probabilities,
        calibrated,
        scores.tolist(),
        calibrated[:, malignant].sum(axis=1).tolist(),
        energies.tolist(),
        abstained.tolist(),
        np.where(abstained, None, scores >= deployment.threshold).tolist(),
        _warnings(pictures, deployment),
    )
    return [Answer(*row) for row in zip(*columns, strict=True)]


def _warnings(pictures: Sequence[Picture], deployment: Deployment) -> list[tuple[str, ...]]:
    """What is doubtful about each picture, in words."""
    measured = np.array([picture.measures for picture in pictures])
    sizes = [(picture.width, picture.height) for picture in pictures]
    warnings = deployment.profile.warnings(measured, sizes, deployment.side)
    pairs = zip(pictures, warnings, strict=True)
    return [(*texts, BURNED_IN) if picture.burned_in_text else texts for picture, texts in pairs]
