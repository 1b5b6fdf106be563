"""What can be said of an image without a diagnosis: is it large and sharp enough, and does it look dermatoscopic?

"Dermatoscopic" means like the study's own images in a few numbers of colour and contrast, nothing more clever.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from helpers.study import StudyError

CELLS = 16  # a side, of the small copy that colours are measured on
MEASURES = (
    *(f"mean {colour}" for colour in ("red", "green", "blue")),
    *(f"log deviation of {colour}" for colour in ("red", "green", "blue")),
    "centre less border",
    "log sharpness",
)
LIKE = 0.99  # share of the validation images that count as dermatoscopic, and as sharp


@dataclass(frozen=True)
class Profile:
    """What the images of a study are like: their mean and the inverse root of their covariance, by MEASURES.

    mean: m numbers; whitening: m x m; farthest: distance up to which an image counts as dermatoscopic; blurred: log
    sharpness below which it counts as blurred.
    """

    mean: tuple[float, ...]
    whitening: tuple[tuple[float, ...], ...]
    farthest: float
    blurred: float

    def distance(self, measured: np.ndarray) -> np.ndarray:
        """Mahalanobis distance of float [..., m] from the images of the study, float64 [...]."""
        return np.linalg.norm((measured - np.array(self.mean)) @ np.array(self.whitening).T, axis=-1)

    def warnings(self, measured: np.ndarray, width: int, height: int, side: int) -> tuple[str, ...]:
        """What is doubtful about an image of width x height pixels of which a model looks at side x side."""
        found = {
            f"too small: {width} x {height} px, and the model looks at {side} x {side}": min(width, height) < side,
            "blurred, or without structure": measured[MEASURES.index("log sharpness")] < self.blurred,
            "unlike a dermatoscopic image in colour or contrast": self.distance(measured) > self.farthest,
        }
        return tuple(warning for warning, holds in found.items() if holds)


def measures(square: np.ndarray) -> np.ndarray:
    """MEASURES of an image uint8 [side, side, 3], float64 [m], in units of 0 to 255 or their natural logarithm.

    Colours are measured on a copy of about CELLS x CELLS pixels, so that neither hairs nor noise count; sharpness is
    the variance of the Laplacian (Pech-Pacheco et al., ICPR 2000) of the grey image.
    """
    image = Image.fromarray(square)
    small = np.asarray(image.reduce(max(1, square.shape[0] // CELLS)), np.float64)
    rim = max(1, len(small) // 8)
    centre, border = small[2 * rim : -2 * rim, 2 * rim : -2 * rim], np.concatenate([small[:rim], small[-rim:]])
    grey = np.asarray(image.convert("L"), np.float32)
    laplacian = 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]
    return np.array(
        [
            *small.mean(axis=(0, 1)),
            *np.log1p(small.std(axis=(0, 1))),
            (centre.mean() if centre.size else small.mean()) - border.mean(),
            np.log1p(np.float64(laplacian.var())),
        ]
    )


def learn_profile(training: Sequence[np.ndarray], validation: Sequence[np.ndarray]) -> Profile:
    """The profile of images uint8 [side, side, 3]: what they are like from training, the two limits from validation.

    The covariance is shrunk (Ledoit and Wolf, J. Multivariate Anal. 2004). Raises StudyError for fewer training images
    than twice the MEASURES.
    """
    from sklearn.covariance import ledoit_wolf  # whoever only measures need not wait for it

    if len(training) < 2 * len(MEASURES):
        raise StudyError(f"{len(training)} training images are too few to say what images of the study are like.")
    learnt, held = (np.array([measures(square) for square in part]) for part in (training, validation))
    # In units of each measure's own deviation, or shrinking would let the colours decide how sharp an image may be.
    unit = learnt.std(axis=0) + 1e-6
    root = np.linalg.inv(np.linalg.cholesky(ledoit_wolf(learnt / unit)[0])) / unit
    profile = Profile(tuple(learnt.mean(axis=0).tolist()), tuple(map(tuple, root.tolist())), 0.0, 0.0)
    limits = {
        "farthest": np.quantile(profile.distance(held), LIKE),
        "blurred": np.quantile(held[:, MEASURES.index("log sharpness")], 1 - LIKE),
    }
    return Profile(profile.mean, profile.whitening, **{name: float(limit) for name, limit in limits.items()})
