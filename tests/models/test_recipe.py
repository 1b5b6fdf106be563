import keras
import numpy as np
import pytest

from helpers.models.head import Common
from helpers.models.mobilenet import Backbone, mobilenet
from helpers.models.recipe import MIXING, Recipe, recipes, set_trainable
from helpers.study import ROOT, StudyError, declared_parameters

PARAMETERS = declared_parameters(ROOT / "notebooks" / "09_tuning.ipynb") | {
    "head_epochs": 2,
    "unfreeze_from": "conv_pw_12",
    "ema": 0.9,
    "label_smoothing": 0.1,
    "seed": 7,
}
HEAD = {"head_norm", "head_softmax"}
LATE = {"conv_pw_12", "conv_dw_13", "conv_pw_13"}


@pytest.fixture(scope="module")
def model():
    return mobilenet(Common(32, 7), Backbone(0.25))


def test_a_network_without_pretraining_learns_as_a_whole():
    for kind, changes in (("cnn", {}), ("cnn_lstm", {}), ("mobilenet", {"pretrained": "none"})):
        (stage,) = recipes(kind, PARAMETERS | changes, 5)
        assert stage == Recipe(5, 32, 4e-3, 1e-4, "balanced_batches", 5, 7)


def test_a_pretrained_network_is_fine_tuned_in_two_stages():
    head, fine = recipes("mobilenet", PARAMETERS | {"patience": 3}, 5)
    assert head == Recipe(2, 32, 4e-3, 1e-4, "balanced_batches", 3, 7, trainable="head", batch_norm="frozen")
    assert fine == Recipe(5, 32, 7e-4, 1e-4, "balanced_batches", 3, 7, 0.1, 0.9, "conv_pw_12", "adapt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"imbalance": "weights"}, "imbalance 'weights': choose one of none, class_weight"),
        ({"mixing": "blend"}, f"mixing 'blend': choose one of {', '.join(MIXING)}"),
        ({"batch_norm": "off"}, "batch_norm 'off': choose one of adapt, frozen"),
        ({"epochs": 0}, "epochs is 0; it must be above 0"),
        ({"patience": 0}, "patience is 0"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0; it must be 0 or more and below 1"),
        ({"ema": -0.1}, "ema is -0.1"),
    ],
)
def test_a_recipe_that_cannot_be(change, message):
    given = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3, "weight_decay": 0.0, "imbalance": "none"}
    with pytest.raises(StudyError, match=message):
        Recipe(**given | {"patience": 1, "seed": 0} | change)


@pytest.mark.parametrize(
    ("start", "batch_norm", "wanted"),
    [
        ("head", "frozen", HEAD),
        ("conv_pw_12", "frozen", HEAD | LATE),
        ("conv_pw_12", "adapt", HEAD | LATE | {f"{name}_bn" for name in LATE}),
    ],
)
def test_what_is_trained_from_where(model, start, batch_norm, wanted):
    set_trainable(model, start, batch_norm)
    assert {layer.name for layer in model.layers if layer.trainable_weights} == wanted
    set_trainable(model, "all", "adapt")
    assert all(layer.trainable for layer in model.layers)


def test_an_unknown_layer(model):
    with pytest.raises(StudyError, match="no layer 'conv_99'.*conv_pw_1"):
        set_trainable(model, "conv_99", "adapt")


def test_frozen_batch_normalisation_keeps_its_statistics_and_that_of_the_head_does_not(model):
    images = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), np.uint8)
    cut = keras.Model(model.inputs, model.get_layer("head_norm").output)
    for start, batch_norm, moved in (("head", "frozen", False), ("all", "adapt", True)):
        set_trainable(model, start, batch_norm)
        before = model.get_layer("conv1_bn").moving_mean.numpy()
        features = cut(images, training=True)
        assert np.allclose(np.mean(features, axis=(0, 1, 2)), 0, atol=1e-3)
        assert (model.get_layer("conv1_bn").moving_mean.numpy() != before).any() == moved
