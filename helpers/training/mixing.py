"""MixUp and CutMix: how the images of a batch are mixed."""

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from helpers.models.recipe import MIXING


@dataclass(frozen=True)
class Mixture:
    """How the images of a batch are mixed, each with the image at its place in `partners`, int64 [n].

    coefficient: weight of an image's own pixels outside of `box`, see `mix_images`; label_weight: weight of its label.
    """

    partners: np.ndarray
    coefficient: float
    box: tuple[int, int, int, int]
    label_weight: float

    def per_image(self) -> dict[str, np.ndarray]:
        """`coefficient` float32 [n] and `box` int32 [n, 4], as `compiled.Mixed` takes them."""
        count = len(self.partners)
        boxes = np.tile(np.int32(self.box), (count, 1))
        return {"coefficient": np.full(count, self.coefficient, np.float32), "box": boxes}

    def mix_targets(self, targets: np.ndarray) -> np.ndarray:
        """The targets float32 [n, k] in the proportion in which the images are mixed."""
        return np.float32(self.label_weight) * targets + np.float32(1 - self.label_weight) * targets[self.partners]


def draw_mixture(mixing: str, count: int, side: int, *, random: np.random.Generator) -> Mixture:
    """Which images of a batch of `count` are mixed, and how.

    mixing: `mixup` averages two images with weights (Zhang et al., ICLR 2018), `cutmix` copies a rectangle of one into
    the other, at the same place (Yun et al., ICCV 2019). The proportion, one per batch, is drawn from Beta(alpha,
    alpha) with the papers' alpha for ImageNet; with `cutmix` it is the share of pixels that an image keeps.
    """
    proportion = random.beta(MIXING[mixing], MIXING[mixing])
    partners = random.permutation(count)
    if mixing == "mixup":
        return Mixture(partners, proportion, (0, 0, 0, 0), proportion)
    centre, half = random.integers(0, side, 2), side * np.sqrt(1 - proportion) / 2
    edges = [np.clip([c - half, c + half], 0, side).astype(int) for c in centre]
    area = np.prod([after - first for first, after in edges])
    return Mixture(partners, 1.0, tuple(int(edge) for pair in edges for edge in pair), 1 - area / side**2)


def mix(
    images: np.ndarray, targets: np.ndarray, mixing: str, *, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A batch as training sees it: images uint8 [n, side, side, 3] and targets float32 [n, k], see `draw_mixture`."""
    mixture = draw_mixture(mixing, len(images), images.shape[1], random=random)
    mixed = mix_images(images, images[mixture.partners], **mixture.per_image())
    return keras.ops.convert_to_numpy(mixed), mixture.mix_targets(targets)


def mix_images(images, partners, *, coefficient, box):
    """Images mixed with their partners, uint8 [n, side, side, 3]; inside its box an image shows only its partner.

    coefficient: float32 [n], weight of an image outside of its box; box: int32 [n, 4], first row, row after the last,
    first column, column after the last.
    """
    position = ops.arange(images.shape[1], dtype="int32")[None]
    top, bottom, left, right = (box[:, edge, None] for edge in range(4))
    rows, columns = (position >= top) & (position < bottom), (position >= left) & (position < right)
    inside = (rows[:, :, None] & columns[:, None, :])[..., None]
    kept = ops.where(inside, 0.0, coefficient[:, None, None, None])
    blend = kept * ops.cast(images, "float32") + (1 - kept) * ops.cast(partners, "float32")
    return ops.cast(ops.round(blend), "uint8")
