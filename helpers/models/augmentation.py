"""Augmentation as layers of a model. They change images in training and leave them unchanged at inference.

They take uint8 [n, side, side, 3] and return uint8 or float32 from 0 to 255, under every Keras backend. The layers of
Keras 3.15 are not suitable: RandomFlip makes both flips or none, GaussianNoise accepts no standard deviation above 1,
RandomBrightness rounds bytes down, rotation and zoom resample the image twice, and the colour and erasing layers take
about ten times as long.
"""

import math
from collections.abc import Callable, Iterable, Mapping

import keras
import numpy as np
from keras import layers, ops

from helpers.backend import tensorflow_gpus
from helpers.study import StudyError

ZOOM = 1.25  # largest factor of zooming in or out
BRIGHTNESS = 0.15  # largest change, as a share of the range 0 to 255
NOISE = 10.0  # standard deviation, in grey levels from 0 to 255
HUE = 12.0  # largest rotation about the grey axis, degrees
COLOUR_GAIN = 0.2  # saturation and contrast are within 1 ± this, channel gains within half of it
ERASED_AREA = (0.02, 0.33)  # share of the image (Zhong et al. 2020)
ERASED_ASPECT = 3.3  # largest ratio of the longer to the shorter side (Zhong et al. 2020)
ERASING_PROBABILITY = 0.5  # per image (Zhong et al. 2020)
GEOMETRY = ("flip", "rotation", "zoom")
CLASSIC = (*GEOMETRY, "brightness", "noise")  # the most common combination


class FixedSeed(keras.random.SeedGenerator):
    """A seed that was drawn before, because no generator may advance inside a condition."""

    def __init__(self, value):
        self.value = value

    def next(self, ordered=True):
        return self.value


class RandomLayer(layers.Layer):
    """A layer that randomly changes its images, in training only and reproducibly by seed.

    strength: one number or several, as multiples of this module's constants. At 0 the images stay unchanged, at no
    cost. It is a variable, so that layers which differ only in strength and seed are compiled once. The layers always
    compute in float32, because bfloat16 would round high grey levels.
    """

    keeps_bytes = False  # whether `change` returns the type of its input; otherwise float32

    def __init__(self, strength: float | tuple[float, ...] = 1.0, seed: int = 0, **kwargs):
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.strength, self.seed = strength, seed
        self.generator = keras.random.SeedGenerator(seed)
        self.amount = self.add_weight(
            np.shape(strength), lambda shape, dtype: ops.convert_to_tensor(strength, dtype), trainable=False
        )

    def call(self, images, training=False):
        if not training:
            return images
        numbers = self.draw(images)
        unchanged = images if self.keeps_bytes else ops.cast(images, "float32")
        return ops.cond(ops.any(self.amount > 0), lambda: self.change(images, numbers), lambda: unchanged)

    def draw(self, images) -> tuple:
        """The random numbers that `change` needs."""
        raise NotImplementedError

    def change(self, images, numbers):
        """The changed images, of the same shape, uint8 or float32 from 0 to 255."""
        raise NotImplementedError

    def uniform(self, images, low: float, high: float, *, shape: tuple[int, ...] = ()):
        """Uniform random numbers, float32 [n, *shape], for a batch of n images."""
        return keras.random.uniform((ops.shape(images)[0], *shape), low, high, seed=self.generator)

    def save_own_variables(self, store):
        """Saves nothing, because the strength is in the configuration."""

    def load_own_variables(self, store):
        """Loads nothing, see `save_own_variables`."""

    def get_config(self):
        return {**super().get_config(), "strength": self.strength, "seed": self.seed}


@keras.saving.register_keras_serializable(package="skin")
class RandomSymmetry(RandomLayer):
    """Rotates and mirrors each image by one of the eight symmetries of the square. Pixel values stay the same.

    A dermatoscopic image has no up or down, so all eight are equally likely photographs. The two flips and the
    transposition are each applied to half of the images, or to fewer at a strength below 1.
    """

    keeps_bytes = True

    def draw(self, images):
        return tuple(self.uniform(images, 0, 2, shape=(1, 1)) for _ in range(3))

    def change(self, images, numbers):
        # One gather is enough, because the source of each pixel is linear in its row and column.
        side, channels = images.shape[1], images.shape[3]
        across, down, transposed = (number < self.amount for number in numbers)
        row_step, column_step = ops.where(across, -side, side), ops.where(down, -1, 1)
        first = ops.where(across, (side - 1) * side, 0) + ops.where(down, side - 1, 0)
        by_row, by_column = (
            ops.where(transposed, *pair) for pair in ((column_step, row_step), (row_step, column_step))
        )
        line, image = ops.arange(side), ops.arange(ops.shape(images)[0])
        start = first + side * side * image[:, None, None]
        source = start + by_row * line[None, :, None] + by_column * line[None, None, :]
        pixels = ops.reshape(images, (-1, channels))
        if not tensorflow_gpus():
            return ops.take(pixels, source, axis=0)
        # TensorFlow cannot gather bytes on a GPU and would copy the batch to the host. float16 represents them exactly.
        return ops.cast(ops.take(ops.cast(pixels, "float16"), source, axis=0), images.dtype)


@keras.saving.register_keras_serializable(package="skin")
class RandomAffine(RandomLayer):
    """All of GEOMETRY in one bilinear resampling, which costs the same for one of the three as for all.

    strength: of flip, rotation and zoom. Each axis is flipped in half of the images. Rotations are uniform over all
    angles. Zoom is up to ZOOM times larger or smaller, uniform on a log scale. Images are reflected at their edges, so
    that no black corner reveals a rotation.
    """

    def __init__(self, strength: tuple[float, float, float] = (1.0, 1.0, 1.0), seed: int = 0, **kwargs):
        super().__init__(tuple(strength), seed, **kwargs)
        self.supports_jit = keras.config.backend() != "tensorflow"  # XLA cannot compile its resampling

    def draw(self, images):
        angle = self.uniform(images, -math.pi, math.pi)
        zoom = self.uniform(images, -math.log(ZOOM), math.log(ZOOM))
        return angle, zoom, self.uniform(images, 0, 2), self.uniform(images, 0, 2)

    def change(self, images, numbers):
        angle, zoom, across, down = numbers
        flip, rotation, zooming = (self.amount[place] for place in range(3))
        across, down = (ops.where(number < flip, -1.0, 1.0) for number in (across, down))
        angle, scale = rotation * angle, ops.exp(zooming * zoom)
        cosine, sine = scale * ops.cos(angle), scale * ops.sin(angle)
        return resample(ops.cast(images, "float32"), (cosine * across, -sine * down), (sine * across, cosine * down))


def resample(images, x_row, y_row):
    """Transform images float32 [n, side, side, 3] about their centre, each by its own 2 x 2 matrix.

    x_row, y_row: the rows of the matrices, pairs of float32 [n]. A matrix maps the position of a pixel in the result,
    relative to the centre, to its position in the input.
    """
    centre = (images.shape[1] - 1) / 2
    rows = [[*row, centre - centre * (row[0] + row[1])] for row in (x_row, y_row)]
    zero = ops.zeros_like(x_row[0])
    transform = ops.stack([*rows[0], *rows[1], zero, zero], axis=1)
    return ops.image.affine_transform(images, transform, interpolation="bilinear", fill_mode="reflect")


@keras.saving.register_keras_serializable(package="skin")
class RandomColour(RandomLayer):
    """Random hue, saturation, contrast and channel gains, as one 3 x 3 matrix per image.

    It imitates other lamps, cameras and gels. The hue rotates about the grey axis by up to HUE degrees (Rodrigues'
    formula). Saturation and contrast (about mid-grey) are multiplied by up to 1 ± COLOUR_GAIN, the channels by up to
    1 ± COLOUR_GAIN / 2.
    """

    def draw(self, images):
        angle = self.uniform(images, -math.radians(HUE), math.radians(HUE), shape=(1, 1))
        saturation, contrast = (self.uniform(images, -COLOUR_GAIN, COLOUR_GAIN, shape=(1, 1)) for _ in range(2))
        return angle, saturation, contrast, self.uniform(images, -COLOUR_GAIN / 2, COLOUR_GAIN / 2, shape=(1, 3))

    def change(self, images, numbers):
        images, angle = ops.cast(images, "float32"), self.amount * numbers[0]
        saturation, contrast, gain = (1 + self.amount * change for change in numbers[1:])
        grey = ops.ones((3, 3)) / 3
        cross = ops.convert_to_tensor([[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]]) / math.sqrt(3)
        turn = ops.cos(angle) * (ops.eye(3) - grey) + ops.sin(angle) * cross
        matrix = (grey + saturation * turn) * contrast * gain
        flat = ops.reshape(images, (-1, images.shape[1] * images.shape[2], 3))
        blend = ops.matmul(flat, matrix) + 127.5 * (1 - contrast)
        return ops.clip(ops.reshape(blend, (-1, *images.shape[1:])), 0, 255)


@keras.saving.register_keras_serializable(package="skin")
class RandomBrightness(RandomLayer):
    """Adds one number to all pixels of an image: at most BRIGHTNESS of the range, positive or negative."""

    def draw(self, images):
        return (self.uniform(images, -255 * BRIGHTNESS, 255 * BRIGHTNESS, shape=(1, 1, 1)),)

    def change(self, images, numbers):
        return ops.clip(ops.cast(images, "float32") + self.amount * numbers[0], 0, 255)


@keras.saving.register_keras_serializable(package="skin")
class RandomNoise(RandomLayer):
    """Gaussian noise of standard deviation NOISE on each pixel and channel.

    The second half of a batch gets the noise of the first half with opposite sign. The noise of each image is still
    Gaussian, and this saves a third of the time.
    """

    def draw(self, images):
        return (self.generator.next(),)  # the noise itself is drawn only if the strength is above 0

    def change(self, images, numbers):
        count = ops.shape(images)[0]
        half = keras.random.normal(((count + 1) // 2, *images.shape[1:]), stddev=NOISE, seed=FixedSeed(numbers[0]))
        noise = ops.concatenate([half, -half])[:count]
        return ops.clip(ops.cast(images, "float32") + self.amount * noise, 0, 255)


@keras.saving.register_keras_serializable(package="skin")
class RandomErasing(RandomLayer):
    """Covers a rectangle with one random colour in half of the images, like a ruler or a sticker.

    Probability, areas and aspect ratios are from Zhong et al., Random Erasing Data Augmentation, AAAI 2020. They fill
    the rectangle with noise; one colour is faster. strength: multiplies the probability.
    """

    keeps_bytes = True

    def draw(self, images):
        aspect = ops.exp(self.uniform(images, -math.log(ERASED_ASPECT), math.log(ERASED_ASPECT), shape=(1,)))
        area = self.uniform(images, *ERASED_AREA, shape=(1,))
        left, top = (self.uniform(images, 0, 1, shape=(1,)) for _ in range(2))
        return (
            aspect,
            area,
            left,
            top,
            self.uniform(images, 0, 255, shape=(1, 1, 3)),
            self.uniform(images, 0, 1, shape=(1, 1, 1)),
        )

    def change(self, images, numbers):
        aspect, area, left, top, colour, chance = numbers
        side = images.shape[1]
        width, height = (ops.minimum(ops.sqrt(area * ratio), 1.0) for ratio in (aspect, 1 / aspect))
        place = (ops.arange(side, dtype="float32")[None] + 0.5) / side
        left, top = left * (1 - width), top * (1 - height)
        columns = (place >= left) & (place < left + width)
        rows = (place >= top) & (place < top + height)
        erased = (columns[:, None, :] & rows[:, :, None])[..., None]
        chosen = chance < ERASING_PROBABILITY * self.amount
        return ops.where(erased & chosen, ops.cast(colour, images.dtype), images)


# In the order of application: camera position, light, sensor, and objects that cover the lesion.
AUGMENTATIONS = {
    "symmetries": RandomSymmetry,
    **dict.fromkeys(GEOMETRY, RandomAffine),
    "colour": RandomColour,
    "brightness": RandomBrightness,
    "noise": RandomNoise,
    "erasing": RandomErasing,
}


def augment(images, names: Iterable[str] | Mapping[str, float], seed: int):
    """Apply the layers of these augmentations, always in the order of AUGMENTATIONS.

    images: a Keras tensor, uint8 [n, side, side, 3]. names: keys of AUGMENTATIONS, with strengths (see `RandomLayer`)
    as a mapping or as `name:strength`. Strength 0 also adds a layer, so that networks which differ only in strength are
    compiled once. Each layer has its own random numbers.
    Raises StudyError for an unknown name, and for a strength that is not a number of 0 or more.
    """
    strengths = dict(names) if isinstance(names, Mapping) else dict(map(_parse_strength, names))
    if unknown := [name for name in strengths if name not in AUGMENTATIONS]:
        raise StudyError(f"augmentation {unknown[0]!r}: choose from {', '.join(AUGMENTATIONS)}, or [] for none.")
    geometry = [name for name in GEOMETRY if name in strengths]
    for place, (name, layer) in enumerate(AUGMENTATIONS.items()):
        if name in strengths and name not in geometry[1:]:
            strength = tuple(strengths.get(one, 0.0) for one in GEOMETRY) if name in GEOMETRY else strengths[name]
            images = layer(strength, seed + 1000 * place, name=name)(images)
    return images


def alteration(names: Iterable[str], side: int, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function that alters images, uint8 [n, side, side, 3], as augmentation does in training. It returns uint8."""
    images = keras.Input((side, side, 3), dtype="uint8")
    altered = keras.Model(images, augment(images, list(names), seed))
    return lambda pixels: np.uint8(np.rint(ops.convert_to_numpy(altered(pixels, training=True))))


def _parse_strength(entry: str) -> tuple[str, float]:
    name, _, strength = entry.partition(":")
    try:
        amount = float(strength or 1.0)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < math.inf:
        raise StudyError(f"augmentation {entry!r}: the strength after the colon must be a number of 0 or more.")
    return name, amount
