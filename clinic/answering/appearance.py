"""Whether an image looks like those that a model learnt from: what does not gets no answer.

The distance is that of Mahalanobis, as Lee et al. (NeurIPS 2018) use it to find what a network never saw: here of the
MEASURES of an image together with the mean activations of a layer in the middle of the network. 13_prediction compares
it with other rules. A fault of colour may be too small for it and still change answers. So the same numbers are also
projected onto the directions in which known faults move them; an image that lies far out in one of them gets a warning.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from helpers.study import StudyError

UNLIKE = 0.02  # share of the validation images that get no answer, since they look unlike the training images
ODD_COLOURS = 0.02  # share of the validation images that get a warning about their colours

Look = tuple[np.ndarray, np.ndarray]  # of n images: measures float [n, m] and features float [n, d - m]


@dataclass(frozen=True)
class Appearance:
    """How the training images look: the mean of their d numbers and the inverse root of the covariance.

    The numbers are the MEASURES, followed by the features of the network. mean, whitening, faults: float32 in base64, d
    numbers, the lower triangle of d x d, and a unit vector of d whitened numbers for each fault of colour. farthest:
    the distance up to which an image gets an answer. farthest_colours: how far it may lie in the direction of a fault
    without a warning.
    """

    mean: str
    whitening: str
    faults: str
    farthest: float
    farthest_colours: float

    def distances(self, measured: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distances float64 [n] in all, and in the direction of the nearest fault of colour.

        measured: [n, m], features: [n, d - m].
        """
        whitened = self.whiten(measured, features)
        return np.linalg.norm(whitened, axis=1), np.einsum("nd,kd->nk", whitened, self._arrays[2]).max(axis=1)

    def whiten(self, measured: np.ndarray, features: np.ndarray) -> np.ndarray:
        """The numbers of n images with the covariance of noise, float64 [n, d]; the first m are of the measures."""
        mean, whitening, _ = self._arrays
        # Not `@`: the threads of its library would take the cores from the network.
        return np.einsum("nd,kd->nk", np.hstack([measured, features]) - mean, whitening)

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        mean, triangle, faults = (
            np.frombuffer(base64.b64decode(text), "<f4").astype(np.float64)
            for text in (self.mean, self.whitening, self.faults)
        )
        whitening = np.zeros((len(mean), len(mean)))
        whitening[np.tril_indices(len(mean))] = triangle
        return mean, whitening, faults.reshape(-1, len(mean))

    def check(self) -> None:
        """Raise ValueError unless all numbers are there and finite, and the limits positive."""
        limits = self.farthest, self.farthest_colours
        arrays = (*self._arrays, limits)
        if not (min(limits) > 0 and all(np.size(array) and np.isfinite(array).all() for array in arrays)):
            raise ValueError("the appearance of its images is not complete")


def learn_appearance(training: Look, validation: Look, spoilt: Sequence[Look], *, unlike: float = UNLIKE) -> Appearance:
    """The appearance of images: mean, covariance and the directions of faults from training, limits from validation.

    spoilt: training images with one fault of colour each. unlike: share of the validation images beyond the limit. The
    covariance is shrunk (Ledoit and Wolf, J. Multivariate Anal. 2004). Raises StudyError for fewer training images than
    numbers.
    """
    from sklearn.covariance import ledoit_wolf  # slow to load, and measuring does not need it

    numbers = np.hstack(training).astype(np.float64)
    count, size = numbers.shape
    if count < size:
        raise StudyError(f"{count} training images are too few to know how they look: it takes {size}.")
    # Standardise first. Otherwise the large numbers of the colours would dominate the shrinkage.
    unit = numbers.std(axis=0) + 1e-6
    whitening = np.linalg.inv(np.linalg.cholesky(ledoit_wolf(numbers / unit)[0])) / unit
    learnt = Appearance(_encode(numbers.mean(axis=0)), _encode(whitening[np.tril_indices(size)]), "", 0.0, 0.0)
    faults = np.stack([learnt.whiten(*one).mean(axis=0) for one in spoilt])
    learnt = replace(learnt, faults=_encode(faults / np.linalg.norm(faults, axis=1, keepdims=True)))
    limits = map(np.quantile, learnt.distances(*validation), (1 - unlike, 1 - ODD_COLOURS))
    return replace(learnt, **dict(zip(("farthest", "farthest_colours"), map(float, limits), strict=True)))


def _encode(values: np.ndarray) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()
