"""The outputs of the exported network, compared with what the study's own functions compute."""

import keras
import numpy as np
import pytest
from closed_form import class_activation
from keras import layers

from helpers.data.samples import Samples
from helpers.export.network import ACTIVATION, FEATURE_MAP, FEATURES, LOGITS, OUTPUTS, convolutions, exported_network
from helpers.models.head import Common, Lstm
from helpers.models.mobilenet import Backbone, mobilenet
from helpers.models.networks import Convolutions, cnn
from helpers.study import StudyError
from helpers.training.features import features, logits

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
SAMPLES = Samples(IMAGES, np.arange(3), np.zeros(3, int))
COMMON = Common(32, 4, augmentation=["symmetries", "brightness"])
BLOCKS = Convolutions([4, 8])


def answers(model):
    return {name: np.asarray(value) for name, value in exported_network(model).predict(IMAGES, verbose=0).items()}


@pytest.fixture(scope="module")
def network():
    """A MobileNet whose dense layer has biases, as if it had learnt."""
    model = mobilenet(COMMON, Backbone(0.25))
    model.get_layer("head_softmax").bias.assign([0.5, -1, 0, 2])
    return model


def test_the_outputs_are_those_of_the_study(network):
    found = answers(network)
    assert tuple(found) == OUTPUTS
    assert np.allclose(found[LOGITS], logits(network, SAMPLES), atol=1e-4)
    assert np.allclose(found[FEATURES], features(network, SAMPLES), atol=1e-4)
    assert np.allclose(found[FEATURE_MAP].mean(axis=(1, 2)), found[FEATURES], atol=1e-4)


def test_the_shares_of_the_cells_are_the_closed_form_and_sum_to_the_logits(network):
    found = answers(network)
    for label in range(4):
        closed = class_activation(network, IMAGES, np.full(3, label))
        assert np.allclose(found[ACTIVATION][..., label], closed, atol=1e-4)
    sums = found[ACTIVATION].sum(axis=(1, 2)) + [0.5, -1, 0, 2]
    assert np.allclose(sums, found[LOGITS], atol=1e-4)


@pytest.mark.parametrize(
    "build", [lambda: cnn(Common(32, 4, [6]), BLOCKS), lambda: cnn(Common(32, 4), BLOCKS, Lstm(units=5))]
)
def test_a_network_without_a_closed_form_has_no_shares(build):
    model = build()
    found = answers(model)
    assert set(OUTPUTS) - set(found) == {ACTIVATION}
    assert np.allclose(found[LOGITS], logits(model, SAMPLES), atol=1e-4)


def test_a_network_trained_in_bfloat16_is_exported_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = cnn(Common(32, 4), BLOCKS)
    finally:
        keras.config.set_dtype_policy("float32")
    exported = exported_network(model)
    assert {layer.compute_dtype for layer in exported.layers if layer.weights} == {"float32"}
    probabilities = np.asarray(keras.ops.softmax(exported.predict(IMAGES, verbose=0)[LOGITS]))
    assert np.allclose(probabilities, model.predict(IMAGES, verbose=0), atol=0.02)


def test_convolutions_are_named_in_their_order(network):
    names = convolutions(network)
    assert names[:3] == ["conv1", "conv_dw_1", "conv_pw_1"] and names[-1] == "conv_pw_13" and len(names) == 27


def test_another_network_is_refused():
    images = keras.Input((32, 32, 3), dtype="uint8")
    pooled = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 255)(images))
    with pytest.raises(StudyError, match="other: it has no layers head_dropout and head_softmax"):
        exported_network(keras.Model(images, layers.Dense(4)(pooled), name="other"))
