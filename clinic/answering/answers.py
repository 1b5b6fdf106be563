"""Turns what a network says into answers by the limits of a deployment: probabilities, malignancy, abstention."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from clinic.answering.deployment import ENERGY, Deployment
from clinic.answering.network import Prediction
from clinic.reading.pictures import Picture
from clinic.reading.quality import describe_fault
from helpers.study import StudyError

UNLIKE, UNSURE = "unlike", "unsure"  # why a model abstains
SMALL = "the image is small: {0} x {1} px, where the model takes {2} x {2}"
COLOURS = "the colours are unusual for a dermatoscopic image, so the answer may be wrong"
BURNED_IN = "the file says that text is burned into the image"


@dataclass(frozen=True)
class Answer:
    """The model's answer for one image.

    probabilities: float64 [classes], calibrated by the deployment's temperature and biases; the highest is the answer.
    balanced: the class that would have the highest if all classes were equally frequent. malignancy: the sum of
    `probabilities` over the malignant classes. confidence: the deployment's score of it. distance: from the training
    images, as a share of the farthest one that is answered. reason: why the model abstains: UNLIKE, if the distance is
    above 1, UNSURE, if the confidence is below its limit, or empty. suspicious: whether malignancy reaches the
    operating point. cause: what makes the image unlike the training images, where that is plain, or empty. warnings:
    about the image.
    """

    probabilities: np.ndarray
    balanced: int
    malignancy: float
    confidence: float
    distance: float
    reason: str
    suspicious: bool | None
    cause: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def abstained(self) -> bool:
        """Whether the model abstains; `suspicious` is then None."""
        return bool(self.reason)

    def round(self) -> "Answer":
        """The same answer with probabilities in whole percent, by which nobody finds the image again."""
        numbers = {name: round(getattr(self, name), 2) for name in ("malignancy", "confidence", "distance")}
        return replace(self, probabilities=np.round(self.probabilities, 2), **numbers)


def answer_pictures(pictures: Sequence[Picture], said: Prediction, deployment: Deployment) -> list[Answer]:
    """The answers for n pictures. Raises StudyError for numbers of the network that are not finite."""
    if not all(np.isfinite(values).all() for values in said):
        raise StudyError(f"{deployment.name} gives numbers that are not finite. Restore its model file.")
    measured, look = np.array([picture.measures for picture in pictures]), deployment.appearance
    distances, colours = look.distances(measured, said.features)
    malignant = np.array([one.malignant for one in deployment.classes])
    _, energies = _softmax(said.logits)
    probabilities, _ = _softmax(said.logits / deployment.temperature + np.array(deployment.biases))
    malignancy = probabilities[:, malignant].sum(axis=1)
    confidence = energies if deployment.confidence == ENERGY else probabilities.max(axis=1)
    unsure = confidence < deployment.abstention_threshold
    reasons = np.where(distances > look.farthest, UNLIKE, np.where(unsure, UNSURE, ""))
    odd = (colours > look.farthest_colours) & (reasons == "")  # a warning is about an answer
    numbers = (said.logits.argmax(axis=1), malignancy, confidence, distances / look.farthest, reasons)
    columns = (
        probabilities,
        *(values.tolist() for values in numbers),
        np.where(reasons == "", malignancy >= deployment.suspicious_from, None).tolist(),
        [describe_fault(one) if reason == UNLIKE else "" for one, reason in zip(measured, reasons, strict=True)],
        [_warnings(*pair, deployment.side) for pair in zip(pictures, odd, strict=True)],
    )
    return [Answer(*row) for row in zip(*columns, strict=True)]


def _softmax(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities float64 [n, classes] and energies [n], the logarithms of the summed exponentials of the logits."""
    highest = logits.max(axis=1, keepdims=True)  # or the exponentials could overflow
    shares = np.exp(logits - highest)
    total = shares.sum(axis=1, keepdims=True)
    return shares / total, (np.log(total) + highest)[:, 0]


def _warnings(picture: Picture, odd_colours: bool, side: int) -> tuple[str, ...]:
    small, text = min(picture.width, picture.height) < side, SMALL.format(picture.width, picture.height, side)
    found = ((small, text), (odd_colours, COLOURS), (picture.burned_in_text, BURNED_IN))
    return tuple(words for applies, words in found if applies)
