"""Turns logits into answers by the thresholds of a deployment: probabilities, malignancy, abstention."""

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
    """The model's answer for one image.

    probabilities: float64 [classes]; the highest is the answer. calibrated: the same, calibrated by the deployment's
    temperature and biases. malignancy: the sum of `probabilities` over the malignant classes, a score with which the
    operating point is compared. calibrated_malignancy: the same sum of `calibrated`; only this can be read as a
    probability. energy: of the logits. abstained: whether the energy is below the abstention threshold. suspicious:
    whether malignancy reaches the operating point, None if the model abstained. warnings: about the image.
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
    """The warnings about each picture."""
    measured = np.array([picture.measures for picture in pictures])
    sizes = [(picture.width, picture.height) for picture in pictures]
    warnings = deployment.profile.warnings(measured, sizes, deployment.side)
    pairs = zip(pictures, warnings, strict=True)
    return [(*texts, BURNED_IN) if picture.burned_in_text else texts for picture, texts in pairs]
