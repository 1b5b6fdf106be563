"""MixUp and CutMix: how the images of a batch are mixed."""

from dataclasses import dataclass

import keras
import numpy as np

from helpers.models.recipe import MIXING
from helpers.training.compiled import mix_images


@dataclass(frozen=True)
class Mixture:
    """How the images of a batch are mixed: each with the one at its place in `other`, int64 [n].

    share: of an image's own pixels outside of `box`, see `compiled.mixed`; kept: of its own target.
    """

    other: np.ndarray
    share: float
    box: tuple[int, int, int, int]
    kept: float

    def of_images(self) -> dict[str, np.ndarray]:
        """`share` and `box`, once for each image, as a `compiled.Reader` takes them."""
        count = len(self.other)
        return {"share": np.full(count, self.share, np.float32), "box": np.tile(np.int32(self.box), (count, 1))}

    def of_targets(self, targets: np.ndarray) -> np.ndarray:
        """The targets float32 [n, k] in the proportion in which the images are mixed."""
        return np.float32(self.kept) * targets + np.float32(1 - self.kept) * targets[self.other]


def draw_mixture(mixing: str, count: int, side: int, random: np.random.Generator) -> Mixture:
    """Which images of a batch of `count` are mixed, and how.

    mixing: `mixup` adds two images up (Zhang et al., ICLR 2018), `cutmix` puts a rectangle of one into the other, in
    the same place (Yun et al., ICCV 2019). The proportion, one a batch, is drawn from Beta(alpha, alpha) with the
    papers' alpha for ImageNet; that of `cutmix` is then the share of pixels left.
    """
    share = random.beta(MIXING[mixing], MIXING[mixing])
    other = random.permutation(count)
    if mixing == "mixup":
        return Mixture(other, share, (0, 0, 0, 0), share)
    centre, half = random.integers(0, side, 2), side * np.sqrt(1 - share) / 2
    edges = [np.clip([c - half, c + half], 0, side).astype(int) for c in centre]
    area = np.prod([after - first for first, after in edges])
    return Mixture(other, 1.0, tuple(int(edge) for pair in edges for edge in pair), 1 - area / side**2)


def mix(
    images: np.ndarray, targets: np.ndarray, mixing: str, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A batch as training sees it: images uint8 [n, side, side, 3] and targets float32 [n, k], see `draw_mixture`."""
    mixture = draw_mixture(mixing, len(images), images.shape[1], random)
    seen = mix_images(images, images[mixture.other], **mixture.of_images())
    return keras.ops.convert_to_numpy(seen), mixture.of_targets(targets)
