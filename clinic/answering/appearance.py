"""Whether an image looks like those that a model learnt from: what does not gets no answer.

The distance is that of Mahalanobis, as Lee et al. (NeurIPS 2018) use it to find what a network never saw: here of the
MEASURES of an image together with the mean activations of a layer in the middle of the network. 13_prediction compares
it with other rules.
"""

import base64
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from clinic.reading.quality import MEASURES
from helpers.study import StudyError

UNLIKE = 0.02  # share of the validation images that get no answer, since they look unlike the training images
ODD_COLOURS = 0.01  # share of the validation images that get a warning about their colours


@dataclass(frozen=True)
class Appearance:
    """How the training images look: the mean of their d numbers and the inverse root of the covariance.

    The numbers are the MEASURES, followed by the features of the network. mean, whitening: float32 in base64, d numbers
    and the lower triangle of d x d. farthest: the distance up to which an image gets an answer. farthest_colours: the
    distance by the MEASURES alone up to which it gets no warning.
    """

    mean: str
    whitening: str
    farthest: float
    farthest_colours: float

    def distances(self, measured: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distances float64 [n] by all numbers, and by the MEASURES alone; measured: [n, m], features: [n, d - m]."""
        mean, whitening = self._arrays
        # Not `@`: the threads of its library would take the cores from the network.
        whitened = np.einsum("nd,kd->nk", np.hstack([measured, features]) - mean, whitening)
        # The matrix is triangular, so its first rows whiten the measures by themselves.
        return np.linalg.norm(whitened, axis=1), np.linalg.norm(whitened[:, : len(MEASURES)], axis=1)

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        mean, triangle = (np.frombuffer(base64.b64decode(text), "<f4") for text in (self.mean, self.whitening))
        whitening = np.zeros((len(mean), len(mean)))
        whitening[np.tril_indices(len(mean))] = triangle
        return mean.astype(np.float64), whitening

    def check(self) -> None:
        """Raise ValueError unless all numbers are there and finite, and the limits positive."""
        limits = self.farthest, self.farthest_colours
        if not (min(limits) > 0 and all(np.isfinite(array).all() for array in (*self._arrays, limits))):
            raise ValueError("the appearance of its images is not complete")


def learn_appearance(
    training: tuple[np.ndarray, np.ndarray], validation: tuple[np.ndarray, np.ndarray], unlike: float = UNLIKE
) -> Appearance:
    """The appearance of images: mean and covariance from training, the limits from validation.

    training, validation: measures float [n, m] and features float [n, d - m]. unlike: share of the validation images
    beyond the limit. The covariance is shrunk (Ledoit and Wolf, J. Multivariate Anal. 2004). Raises StudyError for
    fewer training images than numbers.
    """
    from sklearn.covariance import ledoit_wolf  # slow to load, and measuring does not need it

    numbers = np.hstack(training).astype(np.float64)
    count, size = numbers.shape
    if count < size:
        raise StudyError(f"{count} training images are too few to know how they look: it takes {size}.")
    # Standardise first. Otherwise the large numbers of the colours would dominate the shrinkage.
    unit = numbers.std(axis=0) + 1e-6
    whitening = np.linalg.inv(np.linalg.cholesky(ledoit_wolf(numbers / unit)[0])) / unit
    learnt = Appearance(_packed(numbers.mean(axis=0)), _packed(whitening[np.tril_indices(size)]), 0.0, 0.0)
    limits = map(np.quantile, learnt.distances(*validation), (1 - unlike, 1 - ODD_COLOURS))
    return replace(learnt, **dict(zip(("farthest", "farthest_colours"), map(float, limits), strict=True)))


def _packed(values: np.ndarray) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()
