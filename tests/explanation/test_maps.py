"""Maps of networks compared with what can be worked out by hand: closed forms, finite differences, made-up answers."""

from functools import cache

import keras
import numpy as np
import pytest
from closed_form import class_activation
from keras import layers, ops

from helpers.backend import set_seed
from helpers.explanation.faithfulness import rank_correlation
from helpers.explanation.gradients import cut_at
from helpers.explanation.maps import (
    answers,
    class_probabilities,
    grad_cam,
    integrated_gradients,
    last_feature_map,
    occlusion,
    plain_skin,
    randomise_layers,
    resize,
)
from helpers.models.head import Common, Lstm
from helpers.models.mobilenet import Backbone, mobilenet
from helpers.models.networks import Convolutions, cnn
from helpers.study import StudyError

CLASSES = np.array([0, 3, 2, 2, 1])
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)


NETWORKS = {
    "cnn": lambda: cnn(Common(32, 4, [6]), Convolutions([4, 8])),
    "cnn_lstm": lambda: cnn(Common(32, 4, [6], augmentation=[]), Convolutions([4, 6]), Lstm(units=5)),
    "mobilenet": lambda: mobilenet(Common(32, 4), Backbone(0.25)),
}


@cache
def network(name: str) -> keras.Model:
    """With weights as if it had learnt: biases and means other than 0. Tests do not change it."""
    set_seed(1)
    model = NETWORKS[name]()
    random = np.random.default_rng(2)
    for layer in model.layers:
        if isinstance(layer, layers.Dense):
            layer.bias.assign(random.normal(0, 0.3, layer.bias.shape))
        if isinstance(layer, layers.BatchNormalization):
            layer.moving_mean.assign(random.normal(0, 0.1, layer.moving_mean.shape))
    return model


def linear_model() -> keras.Model:
    """A network with logits that are linear in the pixels: their mean by colour, times weights."""
    images = keras.Input((32, 32, 3), dtype="uint8")
    mean = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 127.5, offset=-1)(images))
    return keras.Model(images, layers.Dense(4, activation="softmax")(mean), name="linear")


@pytest.mark.parametrize("name", ["cnn", "mobilenet"])
def test_grad_cam_is_the_closed_form_where_a_head_averages_its_map(name):
    model = network(name)
    found, closed = grad_cam(model, IMAGES, CLASSES), class_activation(model, IMAGES, CLASSES)
    assert closed.min() < 0 and found.max() > 0
    assert np.allclose(found, np.maximum(closed, 0), atol=1e-5 * np.abs(closed).max())
    assert found.shape[1:] == last_feature_map(model).output.shape[1:3]


def test_the_closed_form_sums_to_the_logits_less_their_biases():
    model = network("mobilenet")  # with a single dense layer
    sums = [class_activation(model, IMAGES, np.full(5, code)).sum(axis=(1, 2)) for code in range(4)]
    logits = np.transpose(sums) + model.layers[-1].get_weights()[1]
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(chances, ops.convert_to_numpy(model(IMAGES)), atol=1e-5)


@pytest.mark.jax
def test_gradients_are_those_of_finite_differences():
    cut = cut_at(network("cnn_lstm"), last_feature_map)
    values = cut.values(IMAGES)
    way = np.random.default_rng(4).normal(size=values.shape).astype(np.float32)
    ahead, behind = (cut.gradients(values + sign * 1e-3 * way, CLASSES)[0] for sign in (1, -1))
    slope = (cut.gradients(values, CLASSES)[1] * way).sum(axis=(1, 2, 3))
    assert np.allclose((ahead - behind) / 2e-3, slope, atol=0.02 * np.abs(slope).max())


@pytest.mark.jax
def test_changed_weights_are_seen():
    model = keras.models.clone_model(network("cnn"))
    before = grad_cam(model, IMAGES, CLASSES)
    kernel = model.get_layer("head_softmax").kernel
    kernel.assign(-kernel)
    assert not np.allclose(before, grad_cam(model, IMAGES, CLASSES))


@pytest.mark.jax
def test_more_images_than_fit_in_a_block_are_explained_one_by_one(monkeypatch):
    whole = grad_cam(network("cnn"), IMAGES, CLASSES)
    monkeypatch.setattr("helpers.explanation.gradients.BLOCK", 2)
    assert np.allclose(whole, grad_cam(network("cnn"), IMAGES, CLASSES), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "cells", "layer"),
    [
        ("cnn", 1, "relu_1_0"),
        ("mobilenet", 1, "head_norm"),
        ("mobilenet", 2, "conv_pw_11_relu"),  # and not the layer after it that only pads
        ("mobilenet", 4, "conv_pw_5_relu"),
    ],
)
def test_the_last_map_with_enough_cells_is_found_in_the_network(name, cells, layer):
    found = last_feature_map(network(name), cells)
    assert found.name.startswith(layer) and min(found.output.shape[1:3]) >= cells


@pytest.mark.jax
def test_integrated_gradients_of_a_linear_network_are_exact_in_one_step():
    model = linear_model()
    found, gained = integrated_gradients(model, IMAGES, CLASSES, steps=1)
    kernel = model.layers[-1].get_weights()[0].T[CLASSES]
    change = (IMAGES.astype(float) - plain_skin(IMAGES)) / 127.5 / 32**2
    assert np.allclose(found, np.einsum("nhwc,nc->nhw", change, kernel), atol=1e-7)
    assert np.allclose(found.sum(axis=(1, 2)), gained, atol=1e-4)


@pytest.mark.parametrize("name", ["cnn", "cnn_lstm"])
def test_integrated_gradients_sum_to_the_change_of_the_logit(name):
    model = network(name)
    found, gained = integrated_gradients(model, IMAGES, CLASSES, steps=64)
    hidden = keras.Model(model.inputs, model.layers[-1].input)
    kernel, bias = model.layers[-1].get_weights()
    image, plain = (
        (ops.convert_to_numpy(hidden(pictures)) @ kernel + bias)[np.arange(5), CLASSES]
        for pictures in (IMAGES, plain_skin(IMAGES))
    )
    assert np.allclose(gained, image - plain, atol=1e-4) and np.abs(gained).max() > 1e-3
    assert np.allclose(found.sum(axis=(1, 2)), gained, atol=0.05 * np.abs(gained).max())


def test_networks_that_cannot_be_explained():
    images = keras.Input((32, 32, 3), dtype="uint8")
    mean = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(images))
    unscaled = keras.Model(images, layers.Dense(4, activation="softmax")(mean), name="unscaled")
    bare = keras.Model(images, layers.Dense(4)(mean), name="bare")
    with pytest.raises(StudyError, match="unscaled: .* layer Rescaling, and it has none"):
        integrated_gradients(unscaled, IMAGES, CLASSES, steps=2)
    with pytest.raises(StudyError, match="bare: its last layer is not a dense layer with softmax"):
        grad_cam(bare, IMAGES, CLASSES)
    with pytest.raises(StudyError, match="no layer gives a map .* of 99 cells"):
        last_feature_map(network("cnn"), 99)


def brightness_of_a_patch(images: np.ndarray) -> np.ndarray:
    """Made-up answer: the brighter rows 8 to 16 and columns 16 to 24, the more probable class 1."""
    bright = images[:, 8:16, 16:24].mean(axis=(1, 2, 3)) / 255
    return np.stack([1 - bright, bright], axis=1)


def test_occlusion_finds_the_patch_that_an_answer_looks_at():
    images = np.full((2, 32, 32, 3), 100, np.uint8)
    images[:, 8:16, 16:24] = 250
    inside, far = np.zeros((32, 32), bool), np.ones((32, 32), bool)
    inside[8:16, 16:24] = True
    far[1:23, 9:31] = False  # beyond the reach of a square that touches the patch
    found = occlusion(brightness_of_a_patch, images, np.array([1, 0]), patch=8, stride=4)
    assert found.shape == (2, 32, 32) and np.allclose(found[:, far], 0)
    assert found[0][inside].min() > 0 > found[1][inside].max()
    assert inside[np.unravel_index(found[0].argmax(), (32, 32))]
    exact = occlusion(brightness_of_a_patch, images, np.array([1, 0]), patch=8, stride=8)
    assert np.allclose(exact[0], np.where(inside, 150 / 255, 0))


def test_squares_reach_the_edges_whatever_their_step():
    images = np.full((1, 32, 32, 3), 100, np.uint8)
    images[:, -1, -1] = 200
    corner = lambda seen: np.stack([seen[:, -1, -1, 0] / 255, 1 - seen[:, -1, -1, 0] / 255], axis=1)  # noqa: E731
    assert occlusion(corner, images, np.array([0]), patch=7, stride=6)[0, -1, -1] > 0.3


@pytest.mark.parametrize(("patch", "stride"), [(33, 4), (4, 5), (4, 0)])
def test_squares_that_do_not_fit(patch, stride):
    with pytest.raises(StudyError, match="1 <= stride <= patch <= 32 pixels"):
        occlusion(brightness_of_a_patch, IMAGES, CLASSES, patch=patch, stride=stride)


def test_variants_are_asked_about_together_and_kept_apart(monkeypatch):
    asked = []

    def answer(images):
        asked.append(len(images))
        return images[:, 0, 0, :2] / 255

    variants = [np.full((3, 4, 4, 3), 10 * number, np.uint8) for number in range(5)]
    monkeypatch.setattr("helpers.explanation.maps.IMAGES_PER_QUESTION", 7)
    found = class_probabilities(answer, variants, np.array([0, 1, 0]))
    assert asked == [6, 6, 3] and np.allclose(found * 255, 10 * np.arange(5)[:, None] * np.ones(3))


@pytest.mark.jax
def test_an_answer_is_what_the_network_predicts():
    model = network("cnn")
    assert np.allclose(answers(model)(IMAGES), ops.convert_to_numpy(model(IMAGES)), atol=1e-5)


def test_enlarged_maps():
    maps = np.array([[[0.0, 1.0], [2.0, 3.0]]])
    assert np.allclose(resize(maps, 2), maps) and np.allclose(resize(np.full((1, 3, 3), 7.0), 8), 7)
    large = resize(maps, 8)[0]
    assert large.shape == (8, 8) and (large[0, 0], large[0, -1], large[-1, 0], large[-1, -1]) == (0, 1, 2, 3)
    assert np.allclose(large.mean(), 1.5) and (np.diff(large, axis=1) >= 0).all()


@pytest.mark.jax
def test_new_weights_change_the_map_from_the_last_layer_on():
    model = network("cnn")
    maps, first, last = {}, {}, {}
    for share, changed in zip((0, 0.5, 1), randomise_layers(model, (0, 0.5, 1), 5), strict=True):
        maps[share] = grad_cam(changed, IMAGES, CLASSES)
        learnt = [layer for layer in changed.layers if isinstance(layer, layers.Conv2D | layers.Dense)]
        first[share], last[share] = (layer.get_weights()[0] for layer in (learnt[0], learnt[-1]))
    trained = grad_cam(model, IMAGES, CLASSES)
    assert np.allclose(maps[0], trained, atol=1e-6)
    assert np.array_equal(first[0], first[0.5]) and not np.array_equal(first[0], first[1])
    assert not np.array_equal(last[0], last[0.5]) and np.array_equal(last[0.5], last[1])
    assert np.nanmean(rank_correlation(trained, maps[1])) < 0.7
