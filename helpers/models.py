"""The networks of the study and their augmentation block: Keras models that take uint8 images."""

import keras
from keras import layers, ops

from helpers.study import StudyError

AUGMENTATIONS = ("none", "symmetries")


@keras.saving.register_keras_serializable(package="skin")
class RandomSymmetry(layers.Layer):
    """Turns and mirrors each image of a batch by one of the eight symmetries of the square, in training only.

    A dermatoscopic image has no up or down: each of the eight is as likely a photograph as the original.
    Input and output: [n, side, side, channels], any dtype.
    """

    def __init__(self, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, images, training=False):
        if not training:
            return images
        toss = keras.random.randint((3, ops.shape(images)[0], 1, 1, 1), 0, 2, seed=self.generator) == 1
        images = ops.where(toss[0], ops.flip(images, axis=1), images)
        images = ops.where(toss[1], ops.flip(images, axis=2), images)
        return ops.where(toss[2], ops.transpose(images, (0, 2, 1, 3)), images)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


def augment(images, augmentation: str, seed: int):
    """The augmentation block applied to a Keras tensor of images. Raises StudyError for an unknown augmentation."""
    if augmentation not in AUGMENTATIONS:
        raise StudyError(f"augmentation {augmentation!r}: choose one of {', '.join(AUGMENTATIONS)}.")
    return images if augmentation == "none" else RandomSymmetry(seed, name="augmentation")(images)


def convolution_block(features, filters: int, depth: int):
    """`depth` times 3 x 3 convolution, batch normalisation and ReLU, then 2 x 2 max pooling."""
    for _ in range(depth):
        features = layers.Conv2D(filters, 3, padding="same", use_bias=False)(features)
        # Keras keeps 0.99 of the moving averages a step: too slow for the few steps that a small study has.
        features = layers.BatchNormalization(momentum=0.9)(features)
        features = layers.ReLU()(features)
    return layers.MaxPooling2D()(features)


def cnn(
    side: int,
    classes: int,
    filters: list[int],
    depth: int = 1,
    dense_units: int = 128,
    dropout: float = 0.4,
    augmentation: str = "symmetries",
    seed: int = 0,
) -> keras.Model:
    """A plain convolutional network: uint8 [n, side, side, 3] to probabilities float32 [n, classes].

    One block of `depth` convolutions and a pooling for each entry of `filters` (the first block has a single
    convolution: at full resolution a second one costs the most and brings the least), then global average pooling, a
    dense layer and softmax, with dropout before both. Raises StudyError if the image is too small for the blocks.
    """
    if side < 2 ** len(filters):
        raise StudyError(f"{len(filters)} poolings need images of {2 ** len(filters)} px or more; side is {side}.")
    images = keras.Input((side, side, 3), dtype="uint8", name="image")
    features = layers.Rescaling(1 / 127.5, offset=-1)(augment(images, augmentation, seed))
    for block, width in enumerate(filters):
        features = convolution_block(features, width, depth if block else 1)
    features = layers.Dropout(dropout, seed=seed)(layers.GlobalAveragePooling2D()(features))
    features = layers.Dense(dense_units, activation="relu")(features)
    features = layers.Dropout(dropout, seed=seed + 1)(features)
    # Softmax in float32 whatever the precision policy: rounded probabilities would not sum to one.
    return keras.Model(images, layers.Dense(classes, activation="softmax", dtype="float32")(features), name="cnn")
