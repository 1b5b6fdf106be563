"""What the logits of a network mean by the limits of its deployment: probabilities, malignancy, abstention."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp, softmax

from clinic.answering.deployment import Deployment
from clinic.reading.pictures import Picture
from helpers.study import StudyError

MARKED = "its file says that text is burned into the image"


@dataclass(frozen=True)
class Answer:
    """What the model says of one image.

    probabilities, calibrated: float64 [classes], as they are, of which the highest is the answer, and calibrated by
    the deployment's temperature and biases; malignancy, calibrated_malignancy: the sum of either over the malignant
    classes; the first is a score, on which the operating point was set, and only the second is to be told as a
    probability; energy: of the logits; silent: whether the model gives no answer, since the energy is below its limit;
    suspicious: whether malignancy reaches the operating point, None where the model is silent; warnings: what is
    doubtful about the image.
    """

    probabilities: np.ndarray
    calibrated: np.ndarray
    malignancy: float
    calibrated_malignancy: float
    energy: float
    silent: bool
    suspicious: bool | None
    warnings: tuple[str, ...] = ()


def answer(deployment: Deployment, logits: np.ndarray, pictures: Sequence[Picture]) -> list[Answer]:
    """What logits float [n, classes] mean for n pictures, by the limits of the deployment. Raises StudyError."""
    if not np.isfinite(logits).all():
        raise StudyError(f"{deployment.name}: its answers are no finite numbers, so its file is not what it should be.")
    malignant = np.array([one.malignant for one in deployment.classes])
    probabilities = softmax(logits, axis=1)
    calibrated = softmax(logits / deployment.temperature + np.array(deployment.biases), axis=1)
    scores, energies = probabilities[:, malignant].sum(axis=1), logsumexp(logits, axis=1)
    silent, reached = energies < deployment.silence, scores >= deployment.threshold
    columns = (
        probabilities,
        calibrated,
        scores.tolist(),
        calibrated[:, malignant].sum(axis=1).tolist(),
        energies.tolist(),
        silent.tolist(),
        np.where(silent, None, reached).tolist(),
        warnings(deployment, pictures),
    )
    return [Answer(*own) for own in zip(*columns, strict=True)]


def warnings(deployment: Deployment, pictures: Sequence[Picture]) -> list[tuple[str, ...]]:
    """What is doubtful about each picture, in words."""
    if not pictures:
        return []
    measured, sizes = [own.measures for own in pictures], [(own.width, own.height) for own in pictures]
    doubts = deployment.profile.doubts(np.array(measured), sizes, deployment.side)
    return [(*own, MARKED) if shown.marked else own for own, shown in zip(doubts, pictures, strict=True)]
