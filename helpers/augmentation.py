"""Augmentation that lives inside a model: layers that change images in training and hand them through at inference.

They take uint8 [n, side, side, 3] and give uint8 or float32 in 0 to 255. Every backend of Keras runs them. Those of
Keras itself do not serve, as of 3.15: RandomFlip ties its two flips together and so makes half turns only,
GaussianNoise refuses more than one grey level, RandomBrightness rounds bytes down, rotation and zoom are resampled one
after the other, and the layers for colour and erasing take about ten times as long as those below.
"""

import math

import keras
from keras import layers, ops

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


class RandomLayer(layers.Layer):
    """A layer that is `changed` in training and the identity at inference. Reproducible by its seed.

    It computes in float32 whatever the precision policy: bfloat16 would round the upper grey levels to whole numbers.
    """

    def __init__(self, seed: int = 0, **kwargs):
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, images, training=False):
        return self.changed(images) if training else images

    def changed(self, images):
        """The images as they are in training, same shape, uint8 or float32 in 0 to 255."""
        raise NotImplementedError

    def draw(self, images, low: float, high: float, shape: tuple[int, ...] = ()):
        """Uniform random numbers, float32 [n, *shape], for a batch of n images."""
        return keras.random.uniform((ops.shape(images)[0], *shape), low, high, seed=self.generator)

    def toss(self, images):
        """Fair coins for a batch of n images, bool [n, 1, 1, 1]."""
        return self.draw(images, 0, 1, (1, 1, 1)) < 0.5

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable(package="skin")
class RandomSymmetry(RandomLayer):
    """Turns and mirrors each image by one of the eight symmetries of the square, without touching a pixel's value.

    A dermatoscopic image has no up or down: each of the eight is as likely a photograph as the original.
    """

    def changed(self, images):
        images = ops.where(self.toss(images), ops.flip(images, axis=1), images)
        images = ops.where(self.toss(images), ops.flip(images, axis=2), images)
        return ops.where(self.toss(images), ops.transpose(images, (0, 2, 1, 3)), images)


@keras.saving.register_keras_serializable(package="skin")
class RandomAffine(RandomLayer):
    """Any of GEOMETRY in one bilinear resampling, which costs as much for one as for all three.

    flip: each axis is mirrored in half of the images. rotation: a quarter turn, and up to 45 degrees more either way:
    every angle is equally likely. zoom: up to ZOOM times larger or smaller, evenly in the logarithm. Beyond its edge
    the image is continued by its reflection, so that no black corner tells what was done.
    """

    def __init__(self, flip: bool = False, rotation: bool = False, zoom: bool = False, seed: int = 0, **kwargs):
        super().__init__(seed, **kwargs)
        self.flip, self.rotation, self.zoom = flip, rotation, zoom
        self.supports_jit = keras.config.backend() != "tensorflow"  # whose resampling XLA cannot compile

    def changed(self, images):
        still = ops.zeros(ops.shape(images)[:1])
        angle = self.draw(images, 0, 2 * math.pi) if self.rotation else still
        scale = ops.exp(self.draw(images, -math.log(ZOOM), math.log(ZOOM))) if self.zoom else still + 1
        across, down = (ops.sign(self.draw(images, -1, 1)) if self.flip else still + 1 for _ in range(2))
        cosine, sine = scale * ops.cos(angle), scale * ops.sin(angle)
        return _resampled(ops.cast(images, "float32"), (cosine * across, -sine * down), (sine * across, cosine * down))

    def get_config(self):
        return {**super().get_config(), "flip": self.flip, "rotation": self.rotation, "zoom": self.zoom}


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

    def changed(self, images):
        images = ops.cast(images, "float32")
        angle = self.draw(images, -math.radians(HUE), math.radians(HUE), (1, 1))
        saturation, contrast = (self.draw(images, 1 - COLOUR_GAIN, 1 + COLOUR_GAIN, (1, 1)) for _ in range(2))
        gain = self.draw(images, 1 - COLOUR_GAIN / 2, 1 + COLOUR_GAIN / 2, (1, 3))
        grey = ops.ones((3, 3)) / 3
        crossed = ops.convert_to_tensor([[0.0, 1.0, -1.0], [-1.0, 0.0, 1.0], [1.0, -1.0, 0.0]]) / math.sqrt(3)
        turned = ops.cos(angle) * (ops.eye(3) - grey) + ops.sin(angle) * crossed
        matrix = (grey + saturation * turned) * contrast * gain
        flat = ops.reshape(images, (-1, images.shape[1] * images.shape[2], 3))
        mixed = ops.matmul(flat, matrix) + 127.5 * (1 - contrast)
        return ops.clip(ops.reshape(mixed, (-1, *images.shape[1:])), 0, 255)


@keras.saving.register_keras_serializable(package="skin")
class RandomBrightness(RandomLayer):
    """Adds one number to all pixels of an image, up to BRIGHTNESS of the range either way."""

    def changed(self, images):
        shift = 255 * self.draw(images, -BRIGHTNESS, BRIGHTNESS, (1, 1, 1))
        return ops.clip(ops.cast(images, "float32") + shift, 0, 255)


@keras.saving.register_keras_serializable(package="skin")
class RandomNoise(RandomLayer):
    """Gaussian noise of standard deviation NOISE on each pixel and channel.

    The second half of a batch gets the noise of the first half with the other sign, which saves a third of the time;
    the noise of each image is Gaussian all the same.
    """

    def changed(self, images):
        count = ops.shape(images)[0]
        half = keras.random.normal(((count + 1) // 2, *images.shape[1:]), stddev=NOISE, seed=self.generator)
        noise = ops.concatenate([half, -half])[:count]
        return ops.clip(ops.cast(images, "float32") + noise, 0, 255)


@keras.saving.register_keras_serializable(package="skin")
class RandomErasing(RandomLayer):
    """Puts a rectangle of one random colour on half of the images, as a ruler or a sticker would.

    Zhong et al., Random Erasing Data Augmentation, AAAI 2020: their chance, areas and aspect ratios. They fill the
    rectangle with noise; one colour is cheaper and is their constant-fill variant with the colour left to chance.
    """

    def changed(self, images):
        side = images.shape[1]
        aspect = ops.exp(self.draw(images, -math.log(ERASED_ASPECT), math.log(ERASED_ASPECT), (1,)))
        area = self.draw(images, *ERASED_AREA, (1,))
        width, height = (ops.minimum(ops.sqrt(area * ratio), 1.0) for ratio in (aspect, 1 / aspect))
        place = (ops.arange(side, dtype="float32")[None] + 0.5) / side
        left, top = (self.draw(images, 0, 1, (1,)) * (1 - length) for length in (width, height))
        columns = (place >= left) & (place < left + width)
        rows = (place >= top) & (place < top + height)
        erased = (columns[:, None, :] & rows[:, :, None])[..., None]
        colour = ops.cast(self.draw(images, 0, 255, (1, 1, 3)), images.dtype)
        chosen = self.draw(images, 0, 1, (1, 1, 1)) < ERASING_CHANCE
        return ops.where(erased & chosen, colour, images)


# In the order in which they are applied: where the camera stood, then the light, its sensor, and what lay in its way.
AUGMENTATIONS = {
    "symmetries": RandomSymmetry,
    **dict.fromkeys(GEOMETRY, RandomAffine),
    "colour": RandomColour,
    "brightness": RandomBrightness,
    "noise": RandomNoise,
    "erasing": RandomErasing,
}


def augment(images, names: list[str], seed: int):
    """The augmentations of these names (keys of AUGMENTATIONS), in the order in which that lists them, whatever yours.

    images: a Keras tensor, uint8 [n, side, side, 3]. An empty list gives the images back. Each kind draws from its own
    random numbers. Raises StudyError for an unknown name.
    """
    unknown = [name for name in names if name not in AUGMENTATIONS]
    if unknown:
        raise StudyError(f"augmentation {unknown[0]!r}: choose from {', '.join(AUGMENTATIONS)}, or [] for none.")
    geometry = {name: True for name in GEOMETRY if name in names}
    for place, (name, layer) in enumerate(AUGMENTATIONS.items()):
        if name in names and name not in list(geometry)[1:]:
            options = geometry if name in geometry else {}
            images = layer(seed=seed + 1000 * place, name=name, **options)(images)
    return images
