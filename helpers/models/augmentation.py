"""Augmentation as layers of a model: they change images in training and pass them on unchanged at inference.

They take uint8 [n, side, side, 3] and give uint8 or float32 in 0 to 255, under every backend of Keras. The layers of
Keras itself do not fit, as of 3.15: RandomFlip makes its two flips together or not at all, GaussianNoise takes no
standard deviation above 1, RandomBrightness rounds bytes down, rotation and zoom are resampled one after the other, and
the layers for colour and erasing take about ten times as long.
"""

import math
from collections.abc import Iterable, Mapping

import keras
import numpy as np
from keras import layers, ops

from helpers.backend import tensorflow_gpus
from helpers.study import StudyError

ZOOM = 1.25  # at most this many times larger or smaller
BRIGHTNESS = 0.15  # at most this share of the range 0 to 255 is added or taken away
NOISE = 10.0  # standard deviation, grey levels of 255
HUE = 12.0  # degrees about the grey axis, either way
COLOUR_GAIN = 0.2  # saturation, contrast and the gain of each channel lie within 1 ± this
ERASED_AREA = (0.02, 0.33)  # share of the image (Zhong et al. 2020)
ERASED_ASPECT = 3.3  # at most, of the longer to the shorter side (Zhong et al. 2020)
ERASING_PROBABILITY = 0.5  # per image (Zhong et al. 2020)
GEOMETRY = ("flip", "rotation", "zoom")
CLASSIC = (*GEOMETRY, "brightness", "noise")  # the set most often used together


class FixedSeed(keras.random.SeedGenerator):
    """A seed that was drawn before: inside a condition no generator may advance."""

    def __init__(self, value):
        self.value = value

    def next(self, ordered=True):
        return self.value


class RandomLayer(layers.Layer):
    """A layer that changes its images in training only. Reproducible by its seed.

    strength: how far it goes, one number or several, as multiples of this module's constants; 0 leaves the images
    unchanged, at no cost. It is a variable, so that layers which differ in strength and seed only are compiled once.
    The layers compute in float32 whatever the precision policy: bfloat16 would round the upper grey levels.
    """

    keeps_bytes = False  # whether `change` gives the type that it got, or float32

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
        return ops.cond(ops.any(self.amount > 0), lambda: self.change(images, *numbers), lambda: unchanged)

    def draw(self, images) -> tuple:
        """The random numbers that `change` needs."""
        raise NotImplementedError

    def change(self, images, *numbers):
        """The images for training, of the same shape, uint8 or float32 in 0 to 255."""
        raise NotImplementedError

    def uniform(self, images, low: float, high: float, shape: tuple[int, ...] = ()):
        """Uniform random numbers, float32 [n, *shape], for a batch of n images."""
        return keras.random.uniform((ops.shape(images)[0], *shape), low, high, seed=self.generator)

    def save_own_variables(self, store):
        """Saves nothing: the strength is in the configuration."""

    def load_own_variables(self, store):
        """Loads nothing, see `save_own_variables`."""

    def get_config(self):
        return {**super().get_config(), "strength": self.strength, "seed": self.seed}


@keras.saving.register_keras_serializable(package="skin")
class RandomSymmetry(RandomLayer):
    """Turns and mirrors each image by one of the eight symmetries of the square; no pixel changes its value.

    A dermatoscopic image has no up or down: each of the eight is as likely a photograph as the original. Each of the
    two mirrorings and the transposition is made in half of the images, at a strength below 1 in fewer.
    """

    keeps_bytes = True

    def draw(self, images):
        return tuple(self.uniform(images, 0, 2, (1, 1)) for _ in range(3))

    def change(self, images, across, down, transposed):
        # One gather of pixels: in each image, the place that a pixel comes from is linear in its row and column.
        side, channels = images.shape[1], images.shape[3]
        across, down, transposed = (number < self.amount for number in (across, down, transposed))
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
        # TensorFlow cannot gather bytes on a GPU and would send the batch to the host. float16 holds them exactly.
        return ops.cast(ops.take(ops.cast(pixels, "float16"), source, axis=0), images.dtype)


@keras.saving.register_keras_serializable(package="skin")
class RandomAffine(RandomLayer):
    """GEOMETRY in one bilinear resampling, which costs as much for one of the three as for all.

    strength: of flip, rotation and zoom. flip: each axis is mirrored in half of the images. rotation: by up to half a
    turn either way, every angle equally likely. zoom: up to ZOOM times larger or smaller, uniform in the logarithm.
    The image is reflected at its edges, so that no black corner gives a rotation away.
    """

    def __init__(self, strength: tuple[float, float, float] = (1.0, 1.0, 1.0), seed: int = 0, **kwargs):
        super().__init__(tuple(strength), seed, **kwargs)
        self.supports_jit = keras.config.backend() != "tensorflow"  # XLA cannot compile its resampling

    def draw(self, images):
        angle = self.uniform(images, -math.pi, math.pi)
        zoom = self.uniform(images, -math.log(ZOOM), math.log(ZOOM))
        return angle, zoom, self.uniform(images, 0, 2), self.uniform(images, 0, 2)

    def change(self, images, angle, zoom, across, down):
        flip, rotation, zooming = (self.amount[place] for place in range(3))
        across, down = (ops.where(number < flip, -1.0, 1.0) for number in (across, down))
        angle, scale = rotation * angle, ops.exp(zooming * zoom)
        cosine, sine = scale * ops.cos(angle), scale * ops.sin(angle)
        return resample(ops.cast(images, "float32"), (cosine * across, -sine * down), (sine * across, cosine * down))


def resample(images, x_row, y_row):
    """Images float32 [n, side, side, 3] transformed about their centre by one 2 x 2 matrix each.

    x_row, y_row: the rows of the matrices, pairs of float32 [n]. The matrix sends a pixel of the result, counted from
    the centre, to the place that it is taken from.
    """
    centre = (images.shape[1] - 1) / 2
    rows = [[*row, centre - centre * (row[0] + row[1])] for row in (x_row, y_row)]
    zero = ops.zeros_like(x_row[0])
    transform = ops.stack([*rows[0], *rows[1], zero, zero], axis=1)
    return ops.image.affine_transform(images, transform, interpolation="bilinear", fill_mode="reflect")


@keras.saving.register_keras_serializable(package="skin")
class RandomColour(RandomLayer):
    """Jitter of hue, saturation, contrast and the gain of each channel, as one 3 x 3 matrix per image.

    It stands for another lamp, another camera, another gel. The hue turns about the grey axis by up to HUE degrees
    (Rodrigues' formula). Saturation and contrast, about mid-grey, are multiplied by 1 ± COLOUR_GAIN, the gains by half
    as much.
    """

    def draw(self, images):
        angle = self.uniform(images, -math.radians(HUE), math.radians(HUE), (1, 1))
        saturation, contrast = (self.uniform(images, -COLOUR_GAIN, COLOUR_GAIN, (1, 1)) for _ in range(2))
        return angle, saturation, contrast, self.uniform(images, -COLOUR_GAIN / 2, COLOUR_GAIN / 2, (1, 3))

    def change(self, images, angle, saturation, contrast, gain):
        images, angle = ops.cast(images, "float32"), self.amount * angle
        saturation, contrast, gain = (1 + self.amount * change for change in (saturation, contrast, gain))
        grey = ops.ones((3, 3)) / 3
        cross = ops.convert_to_tensor([[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]]) / math.sqrt(3)
        turn = ops.cos(angle) * (ops.eye(3) - grey) + ops.sin(angle) * cross
        matrix = (grey + saturation * turn) * contrast * gain
        flat = ops.reshape(images, (-1, images.shape[1] * images.shape[2], 3))
        blend = ops.matmul(flat, matrix) + 127.5 * (1 - contrast)
        return ops.clip(ops.reshape(blend, (-1, *images.shape[1:])), 0, 255)


@keras.saving.register_keras_serializable(package="skin")
class RandomBrightness(RandomLayer):
    """Adds one number to all pixels of an image, up to BRIGHTNESS of the range either way."""

    def draw(self, images):
        return (self.uniform(images, -255 * BRIGHTNESS, 255 * BRIGHTNESS, (1, 1, 1)),)

    def change(self, images, shift):
        return ops.clip(ops.cast(images, "float32") + self.amount * shift, 0, 255)


@keras.saving.register_keras_serializable(package="skin")
class RandomNoise(RandomLayer):
    """Gaussian noise of standard deviation NOISE on each pixel and channel.

    The second half of a batch gets the noise of the first half with the sign turned. The noise of each image is still
    Gaussian, and a third of the time is saved.
    """

    def draw(self, images):
        return (self.generator.next(),)  # the noise itself is only drawn where the strength is above 0

    def change(self, images, seed):
        count = ops.shape(images)[0]
        half = keras.random.normal(((count + 1) // 2, *images.shape[1:]), stddev=NOISE, seed=FixedSeed(seed))
        noise = ops.concatenate([half, -half])[:count]
        return ops.clip(ops.cast(images, "float32") + self.amount * noise, 0, 255)


@keras.saving.register_keras_serializable(package="skin")
class RandomErasing(RandomLayer):
    """Covers a rectangle in half of the images with one random colour, as a ruler or a sticker would.

    Probability, areas and aspect ratios are those of Zhong et al., Random Erasing Data Augmentation, AAAI 2020. They
    fill the rectangle with noise; one colour is cheaper. strength: multiplies the probability.
    """

    keeps_bytes = True

    def draw(self, images):
        aspect = ops.exp(self.uniform(images, -math.log(ERASED_ASPECT), math.log(ERASED_ASPECT), (1,)))
        area = self.uniform(images, *ERASED_AREA, (1,))
        left, top = (self.uniform(images, 0, 1, (1,)) for _ in range(2))
        return aspect, area, left, top, self.uniform(images, 0, 255, (1, 1, 3)), self.uniform(images, 0, 1, (1, 1, 1))

    def change(self, images, aspect, area, left, top, colour, chance):
        side = images.shape[1]
        width, height = (ops.minimum(ops.sqrt(area * ratio), 1.0) for ratio in (aspect, 1 / aspect))
        place = (ops.arange(side, dtype="float32")[None] + 0.5) / side
        left, top = left * (1 - width), top * (1 - height)
        columns = (place >= left) & (place < left + width)
        rows = (place >= top) & (place < top + height)
        erased = (columns[:, None, :] & rows[:, :, None])[..., None]
        chosen = chance < ERASING_PROBABILITY * self.amount
        return ops.where(erased & chosen, ops.cast(colour, images.dtype), images)


# In the order in which they are applied: the camera's position, the light, the sensor, and what covers the lesion.
AUGMENTATIONS = {
    "symmetries": RandomSymmetry,
    **dict.fromkeys(GEOMETRY, RandomAffine),
    "colour": RandomColour,
    "brightness": RandomBrightness,
    "noise": RandomNoise,
    "erasing": RandomErasing,
}


def augment(images, names: Iterable[str] | Mapping[str, float], seed: int):
    """The images after the layers of these augmentations, always in the order of AUGMENTATIONS.

    images: a Keras tensor, uint8 [n, side, side, 3]. names: keys of AUGMENTATIONS, with a strength (see `RandomLayer`)
    as a mapping or as `name:strength`. A name of strength 0 gets its layer too, so that networks which differ in
    strengths only are compiled once. Each layer draws from its own random numbers.
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


def _parse_strength(entry: str) -> tuple[str, float]:
    name, _, strength = entry.partition(":")
    try:
        amount = float(strength or 1.0)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < math.inf:
        raise StudyError(f"augmentation {entry!r}: the strength after the colon has to be a number of 0 or more.")
    return name, amount
