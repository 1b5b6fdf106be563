"""The loss that a recipe asks for, and class weights for imbalanced data."""

import keras
import numpy as np

from helpers.models.recipe import Recipe


def class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """Weights float32 [classes], inversely proportional to the class frequencies, with mean 1 over the images."""
    counts = np.bincount(labels, minlength=classes)
    return (len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))).astype(np.float32)


def training_loss(recipe: Recipe, weights: np.ndarray) -> keras.losses.Loss:
    """Cross-entropy, with logit adjustment or as focal loss (Lin et al., ICCV 2017) if the recipe asks for it.

    weights: of the classes, float32 [classes]; the focal loss takes them as its alpha.
    """
    if recipe.imbalance == "logit_adjustment":
        return AdjustedCrossentropy(weights, recipe.label_smoothing)
    if recipe.imbalance == "focal":
        alpha = weights.tolist()
        return keras.losses.CategoricalFocalCrossentropy(alpha, gamma=2.0, label_smoothing=recipe.label_smoothing)
    return keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)


class AdjustedCrossentropy(keras.losses.Loss):
    """Cross-entropy with logit adjustment (Menon et al., ICLR 2021, equation 10, tau = 1).

    Before the network's probabilities are compared with the truth, they are divided by the class weights float32
    [classes] and scaled to sum to one. This gives rare classes the odds that they have in training. The network itself
    learns to answer as if all classes were equally common, and no image counts more than another.
    """

    def __init__(self, weights: np.ndarray, label_smoothing: float):
        super().__init__()
        self.log_weights, self.label_smoothing = np.log(weights), label_smoothing

    def call(self, y_true, y_pred):
        adjusted = keras.ops.log(keras.ops.maximum(y_pred, keras.config.epsilon())) - self.log_weights
        return keras.losses.categorical_crossentropy(y_true, adjusted, True, self.label_smoothing)

    def get_config(self):
        return {**super().get_config(), "log_weights": self.log_weights.tolist(), "smoothing": self.label_smoothing}
