"""Augmentation that lives inside a model: layers that change images in training and hand them through at inference.

They take uint8 [n, side, side, 3] and give uint8 or float32 in 0 to 255. Every backend of Keras runs them. Those of
Keras itself do not serve, as of 3.15: RandomFlip ties its two flips together and so makes half turns only,
GaussianNoise refuses more than one grey level, RandomBrightness rounds bytes down, rotation and zoom are resampled one
after the other, and the layers for colour and erasing take about ten times as long as those below.
"""

import math

import keras
import numpy as np
from keras import layers, ops

from helpers.backend import tensorflow_gpus
from helpers.study import StudyError

ZOOM = 1.25  # at most this many times larger or smaller
BRIGHTNESS = 0.15  # share of the range 0 to 255 that is added or taken away, at most
NOISE = 10.0  # standard deviation, grey levels of 255
HUE = 12.0  # degrees about the grey axis, either way
COLOUR_GAIN = 0.2  # saturation, contrast and the gain of each channel lie within 1 ± this
ERASED_AREA = (0.02, 0.33)  # share of the image (Zhong et al. 2020)
ERASED_ASPECT = 3.3  # width to height, at most, or height to width (Zhong et al. 2020)
ERASING_CHANCE = 0.5  # per image (Zhong et al. 2020)
GEOMETRY = ("flip", "rotation", "zoom")
CLASSIC = (*GEOMETRY, "brightness", "noise")  # the set most often used together


class GivenSeed(keras.random.SeedGenerator):
    """A seed that was drawn before: inside a condition no generator may move on."""

    def __init__(self, value):
        self.value = value

    def next(self, ordered=True):
        return self.value


class RandomLayer(layers.Layer):
    """A layer that is `changed` in training and the identity at inference. Reproducible by its seed.

    strength: how far it goes, one number or several, as multiples of what this module's constants and docstrings say;
    1 is as they say, 0 leaves the images as they are at no cost. It is a variable: layers that differ in strength and
    seed alone are compiled once. They compute in float32 whatever the precision policy: bfloat16 would round the upper
    grey levels to whole numbers.
    """

    keeps_bytes = False  # whether `changed` gives the type that it got, or float32

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
        numbers = self.drawn(images)
        kept = images if self.keeps_bytes else ops.cast(images, "float32")
        return ops.cond(ops.any(self.amount > 0), lambda: self.changed(images, *numbers), lambda: kept)

    def drawn(self, images) -> tuple:
        """The random numbers that `changed` needs."""
        raise NotImplementedError

    def changed(self, images, *numbers):
        """The images as they are in training, same shape, uint8 or float32 in 0 to 255."""
        raise NotImplementedError

    def uniform(self, images, low: float, high: float, shape: tuple[int, ...] = ()):
        """Uniform random numbers, float32 [n, *shape], for a batch of n images."""
        return keras.random.uniform((ops.shape(images)[0], *shape), low, high, seed=self.generator)

    def save_own_variables(self, store):
        """Nothing: the strength is in the configuration."""

    def load_own_variables(self, store):
        """Nothing, see `save_own_variables`."""

    def get_config(self):
        return {**super().get_config(), "strength": self.strength, "seed": self.seed}


@keras.saving.register_keras_serializable(package="skin")
class RandomSymmetry(RandomLayer):
    """Turns and mirrors each image by one of the eight symmetries of the square, without touching a pixel's value.

    A dermatoscopic image has no up or down: each of the eight is as likely a photograph as the original. At a strength
    below 1 each of the two mirrorings and the transposition is made more rarely than in half of the images.
    """

    keeps_bytes = True

    def drawn(self, images):
        return tuple(self.uniform(images, 0, 2, (1, 1)) for _ in range(3))

    def changed(self, images, across, down, transposed):
        # One gather of pixels: the place that each comes from is linear in its row and column, image by image.
        side, channels = images.shape[1], images.shape[3]
        across, down, transposed = (number < self.amount for number in (across, down, transposed))
        of_rows, of_columns = ops.where(across, -side, side), ops.where(down, -1, 1)
        first = ops.where(across, (side - 1) * side, 0) + ops.where(down, side - 1, 0)
        by_row, by_column = (ops.where(transposed, *pair) for pair in ((of_columns, of_rows), (of_rows, of_columns)))
        line, image = ops.arange(side), ops.arange(ops.shape(images)[0])
        start = first + side * side * image[:, None, None]
        source = start + by_row * line[None, :, None] + by_column * line[None, None, :]
        pixels = ops.reshape(images, (-1, channels))
        if not tensorflow_gpus():
            return ops.take(pixels, source, axis=0)
        # TensorFlow gathers no bytes on a GPU, and would send the batch to the host and back. Halves hold all of them.
        return ops.cast(ops.take(ops.cast(pixels, "float16"), source, axis=0), images.dtype)


@keras.saving.register_keras_serializable(package="skin")
class RandomAffine(RandomLayer):
    """GEOMETRY in one bilinear resampling, which costs as much for one as for all three.

    strength: of flip, rotation and zoom. flip: each axis is mirrored in half of the images. rotation: by up to half a
    turn either way, every angle equally likely. zoom: up to ZOOM times larger or smaller, evenly in the logarithm.
    Beyond its edge the image is continued by its reflection, so that no black corner tells what was done.
    """

    def __init__(self, strength: tuple[float, float, float] = (1.0, 1.0, 1.0), seed: int = 0, **kwargs):
        super().__init__(tuple(strength), seed, **kwargs)
        self.supports_jit = keras.config.backend() != "tensorflow"  # whose resampling XLA cannot compile

    def drawn(self, images):
        angle = self.uniform(images, -math.pi, math.pi)
        zoom = self.uniform(images, -math.log(ZOOM), math.log(ZOOM))
        return angle, zoom, self.uniform(images, 0, 2), self.uniform(images, 0, 2)

    def changed(self, images, angle, zoom, across, down):
        flip, rotation, zooming = (self.amount[place] for place in range(3))
        across, down = (ops.where(number < flip, -1.0, 1.0) for number in (across, down))
        angle, scale = rotation * angle, ops.exp(zooming * zoom)
        cosine, sine = scale * ops.cos(angle), scale * ops.sin(angle)
        return _resampled(ops.cast(images, "float32"), (cosine * across, -sine * down), (sine * across, cosine * down))


def _resampled(images, x_of, y_of):
    """Images float32 [n, side, side, 3] seen through 2 x 2 matrices about their centre; x_of, y_of: rows, pairs of [n].

    The pixel at p from the centre is taken from where the matrix sends p.
    """
    centre = (images.shape[1] - 1) / 2
    rows = [[*row, centre - centre * (row[0] + row[1])] for row in (x_of, y_of)]
    nothing = ops.zeros_like(x_of[0])
    transform = ops.stack([*rows[0], *rows[1], nothing, nothing], axis=1)
    return ops.image.affine_transform(images, transform, interpolation="bilinear", fill_mode="reflect")


@keras.saving.register_keras_serializable(package="skin")
class RandomColour(RandomLayer):
    """Jitter of hue, saturation, contrast and the gain of each channel, as one 3 x 3 matrix an image.

    Contrast is about mid-grey. The hue turns about the grey axis by up to HUE degrees (Rodrigues' formula), the rest
    is multiplied by 1 ± COLOUR_GAIN, the gains by half as much: another lamp, another camera, another gel.
    """

    def drawn(self, images):
        angle = self.uniform(images, -math.radians(HUE), math.radians(HUE), (1, 1))
        saturation, contrast = (self.uniform(images, -COLOUR_GAIN, COLOUR_GAIN, (1, 1)) for _ in range(2))
        return angle, saturation, contrast, self.uniform(images, -COLOUR_GAIN / 2, COLOUR_GAIN / 2, (1, 3))

    def changed(self, images, angle, saturation, contrast, gain):
        images, angle = ops.cast(images, "float32"), self.amount * angle
        saturation, contrast, gain = (1 + self.amount * change for change in (saturation, contrast, gain))
        grey = ops.ones((3, 3)) / 3
        crossed = ops.convert_to_tensor([[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]]) / math.sqrt(3)
        turned = ops.cos(angle) * (ops.eye(3) - grey) + ops.sin(angle) * crossed
        matrix = (grey + saturation * turned) * contrast * gain
        flat = ops.reshape(images, (-1, images.shape[1] * images.shape[2], 3))
        blend = ops.matmul(flat, matrix) + 127.5 * (1 - contrast)
        return ops.clip(ops.reshape(blend, (-1, *images.shape[1:])), 0, 255)


@keras.saving.register_keras_serializable(package="skin")
class RandomBrightness(RandomLayer):
    """Adds one number to all pixels of an image, up to BRIGHTNESS of the range either way."""

    def drawn(self, images):
        return (self.uniform(images, -255 * BRIGHTNESS, 255 * BRIGHTNESS, (1, 1, 1)),)

    def changed(self, images, shift):
        return ops.clip(ops.cast(images, "float32") + self.amount * shift, 0, 255)


@keras.saving.register_keras_serializable(package="skin")
class RandomNoise(RandomLayer):
    """Gaussian noise of standard deviation NOISE on each pixel and channel.

    The second half of a batch gets the noise of the first half with the other sign, which saves a third of the time;
    the noise of each image is Gaussian all the same.
    """

    def drawn(self, images):
        return (self.generator.next(),)  # a number for each pixel is worth drawing only where it is used

    def changed(self, images, seed):
        count = ops.shape(images)[0]
        half = keras.random.normal(((count + 1) // 2, *images.shape[1:]), stddev=NOISE, seed=GivenSeed(seed))
        noise = ops.concatenate([half, -half])[:count]
        return ops.clip(ops.cast(images, "float32") + self.amount * noise, 0, 255)


@keras.saving.register_keras_serializable(package="skin")
class RandomErasing(RandomLayer):
    """Puts a rectangle of one random colour on half of the images, as a ruler or a sticker would.

    Zhong et al., Random Erasing Data Augmentation, AAAI 2020: their chance, areas and aspect ratios. They fill the
    rectangle with noise; one colour is cheaper and is their constant-fill variant with the colour left to chance.
    strength: of the chance.
    """

    keeps_bytes = True

    def drawn(self, images):
        aspect = ops.exp(self.uniform(images, -math.log(ERASED_ASPECT), math.log(ERASED_ASPECT), (1,)))
        area = self.uniform(images, *ERASED_AREA, (1,))
        left, top = (self.uniform(images, 0, 1, (1,)) for _ in range(2))
        return aspect, area, left, top, self.uniform(images, 0, 255, (1, 1, 3)), self.uniform(images, 0, 1, (1, 1, 1))

    def changed(self, images, aspect, area, left, top, colour, chance):
        side = images.shape[1]
        width, height = (ops.minimum(ops.sqrt(area * ratio), 1.0) for ratio in (aspect, 1 / aspect))
        place = (ops.arange(side, dtype="float32")[None] + 0.5) / side
        left, top = left * (1 - width), top * (1 - height)
        columns = (place >= left) & (place < left + width)
        rows = (place >= top) & (place < top + height)
        erased = (columns[:, None, :] & rows[:, :, None])[..., None]
        chosen = chance < ERASING_CHANCE * self.amount
        return ops.where(erased & chosen, ops.cast(colour, images.dtype), images)


# In the order in which they are applied: where the camera stood, then the light, its sensor, and what lay in its way.
AUGMENTATIONS = {
    "symmetries": RandomSymmetry,
    **dict.fromkeys(GEOMETRY, RandomAffine),
    "colour": RandomColour,
    "brightness": RandomBrightness,
    "noise": RandomNoise,
    "erasing": RandomErasing,
}


def augment(images, names: list[str] | tuple[str, ...] | dict[str, float], seed: int):
    """The augmentations of these names (keys of AUGMENTATIONS), in the order in which that lists them, whatever yours.

    images: a Keras tensor, uint8 [n, side, side, 3]. names: also with the strength of each, see `RandomLayer`, as a
    dictionary or as `name:strength`; one of strength 0 has its layer all the same, so that networks which differ in
    strengths are compiled once. Without any the images are given back. Each kind draws from its own random numbers.
    Raises StudyError for an unknown name and for a strength that is no number of 0 or more.
    """
    strengths = dict(names) if isinstance(names, dict) else dict(_name_and_strength(entry) for entry in names)
    names = list(strengths)
    unknown = [name for name in names if name not in AUGMENTATIONS]
    if unknown:
        raise StudyError(f"augmentation {unknown[0]!r}: choose from {', '.join(AUGMENTATIONS)}, or [] for none.")
    geometry = [name for name in GEOMETRY if name in names]
    for place, (name, layer) in enumerate(AUGMENTATIONS.items()):
        if name in names and name not in geometry[1:]:
            together = tuple(strengths.get(one, 0.0) for one in GEOMETRY)
            strength = together if name in GEOMETRY else strengths[name]
            images = layer(strength, seed + 1000 * place, name=name)(images)
    return images


def _name_and_strength(entry: str) -> tuple[str, float]:
    name, _, strength = entry.partition(":")
    try:
        amount = float(strength or 1.0)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < math.inf:
        raise StudyError(f"augmentation {entry!r}: the strength after the colon has to be a number of 0 or more.")
    return name, amount
