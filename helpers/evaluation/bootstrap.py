"""The bootstrap behind every interval: lesions are drawn with replacement, each with all its images."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

LEVEL = 0.95  # confidence level of every interval


@dataclass(frozen=True)
class Bootstrap:
    """The number of resamples behind an interval, and the seed for drawing them."""

    resamples: int = 2000
    seed: int = 0

    @classmethod
    def of(cls, parameters: Mapping) -> "Bootstrap":
        """The bootstrap of a run, from its parameters."""
        return cls(parameters["resamples"], parameters["seed"])

    def weights(self, lesions: np.ndarray) -> np.ndarray:
        """How often each of n images counts, uint8 [1 + resamples, n]: once each in row 0, then one row per resample.

        lesions: [n], the lesion of each image. All images of a lesion are drawn together (cluster bootstrap, Davison
        and Hinkley 1997, section 3.8). The same lesions and seed give the same resamples, so models can be compared.
        """
        _, lesion = np.unique(np.asarray(lesions).astype(str), return_inverse=True)
        return _draw(self, lesion.tobytes())

    def independent(self) -> "Bootstrap":
        """A bootstrap with a different seed, for a second set of lesions."""
        return replace(self, seed=self.seed + 1)


STANDARD = Bootstrap()


@lru_cache(maxsize=4)  # most figures of a study are of the same lesions
def _draw(bootstrap: Bootstrap, lesion: bytes) -> np.ndarray:
    """`Bootstrap.weights`, not to be written to; lesion: bytes of intp [n], the number of the lesion of each image."""
    lesion, random = np.frombuffer(lesion, np.intp), np.random.default_rng(bootstrap.seed)
    count = lesion.max(initial=-1) + 1
    # In memory all weights of an image lie side by side, which makes it fast to sort images.
    weights = np.ones((len(lesion), 1 + bootstrap.resamples), np.uint8).T
    for row in weights[1:]:
        row[:] = np.bincount(random.integers(count, size=count), minlength=count)[lesion]
    weights.flags.writeable = False
    return weights


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval of resampled values, float [b], ignoring NaN. (NaN, NaN) if all are NaN."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return np.nan, np.nan
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def estimate(values: np.ndarray) -> dict[str, float | None]:
    """A value and its 95 % interval as {"value", "low", "high"}, ready for JSON: None where undefined.

    values: float [1 + resamples], the value itself and then its resamples, in the order of `Bootstrap.weights`.
    """
    if np.isnan(values[0]):
        return {"value": None, "low": None, "high": None}
    low, high = interval(values[1:])
    return {"value": float(values[0])} | ({"low": None, "high": None} if np.isnan(low) else {"low": low, "high": high})


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole as float64, and NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
