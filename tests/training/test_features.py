import keras
import numpy as np
from scipy.special import softmax
from tiny import small_cnn

from helpers.data.samples import Samples
from helpers.training.features import features, logits


def test_features_are_what_goes_into_the_head():
    images = np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3)).astype(np.uint8)
    model, rows = small_cnn(classes=4), np.array([3, 1, 8])
    pooled = keras.Model(model.inputs, model.get_layer("head_pool").output).predict(images[rows], verbose=0)
    found = features(model, Samples(images, rows, np.zeros(3, int)))
    assert found.shape == (3, 8) and found.dtype == np.float32
    assert np.allclose(found, pooled, atol=1e-5)


def test_softmax_of_the_logits_is_the_answer():
    images, rows = np.random.default_rng(0).integers(0, 256, (9, 16, 16, 3)).astype(np.uint8), np.array([3, 1, 8])
    model = small_cnn(classes=4)
    found = softmax(logits(model, Samples(images, rows, np.zeros(3, int))), axis=1)
    assert np.allclose(found, model.predict(images[rows], verbose=0), atol=1e-5)
