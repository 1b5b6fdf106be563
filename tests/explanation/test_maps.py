"""Maps of networks against what can be worked out by hand: closed forms, finite differences, made-up answers."""

from functools import cache

import keras
import numpy as np
import pytest
from keras import layers

from helpers.backend import set_seed
from helpers.data.samples import Samples
from helpers.explanation.faithfulness import rank_correlation
from helpers.explanation.maps import (
    answers,
    class_activation,
    class_probabilities,
    grad_cam,
    integrated_gradients,
    last_map,
    occlusion,
    plain,
    randomised,
    resized,
)
from helpers.models.head import Common, Lstm
from helpers.models.mobilenet import Backbone, mobilenet
from helpers.models.networks import Convolutions, cnn
from helpers.study import StudyError
from helpers.training.features import logits

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
CLASSES = np.array([0, 3, 2, 2, 1])


NETWORKS = {
    "cnn": lambda: cnn(Common(32, 4, [6]), Convolutions([4, 8])),
    "cnn_lstm": lambda: cnn(Common(32, 4, [6], augmentation=[]), Convolutions([4, 6]), Lstm(units=5)),
    "mobilenet": lambda: mobilenet(Common(64, 4), Backbone(1, 0.25)),
    "mobilenet-2": lambda: mobilenet(Common(64, 4), Backbone(2, 0.35)),
}


@cache
def network(name: str) -> keras.Model:
    """With weights as if it had learnt: biases and means that are not 0. Not to be changed."""
    set_seed(1)
    model = NETWORKS[name]()
    random = np.random.default_rng(2)
    for layer in model.layers:
        if isinstance(layer, layers.Dense):
            layer.bias.assign(random.normal(0, 0.3, layer.bias.shape))
        if isinstance(layer, layers.BatchNormalization):
            layer.moving_mean.assign(random.normal(0, 0.1, layer.moving_mean.shape))
    return model


def pictures(model: keras.Model) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (5, *model.input_shape[1:]), np.uint8)


def logits_of(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return logits(model, Samples(images, np.arange(len(images)), CLASSES))[np.arange(len(images)), CLASSES]


@pytest.mark.parametrize("name", ["cnn", "mobilenet", "mobilenet-2"])
def test_grad_cam_is_the_closed_form_where_a_head_averages_its_map(name):
    model = network(name)
    images = pictures(model)
    found, closed = grad_cam(model, images, CLASSES), class_activation(model, images, CLASSES)
    assert closed.min() < 0 and found.max() > 0
    assert np.allclose(found, np.maximum(closed, 0), atol=1e-5 * np.abs(closed).max())
    assert found.shape[1:] == last_map(model).output.shape[1:3]


def test_the_closed_form_sums_to_the_logit_but_for_its_bias():
    model = network("mobilenet")
    images = pictures(model)
    sums = class_activation(model, images, CLASSES).sum(axis=(1, 2))
    bias = keras.ops.convert_to_numpy(model.get_layer("head_softmax").bias)[CLASSES]
    assert np.allclose(sums + bias, logits_of(model, images), atol=1e-5)


def test_a_head_that_reads_a_sequence_has_no_closed_form():
    with pytest.raises(StudyError, match="lstm: .*no closed form"):
        class_activation(network("cnn_lstm"), IMAGES, CLASSES)


@pytest.mark.parametrize("name", ["cnn", "cnn_lstm", "mobilenet"])
def test_gradients_are_those_of_finite_differences(name):
    from helpers.explanation import gradients as gradients_module

    model = network(name)
    cut = gradients_module.cut_at(model, last_map)
    values = cut.values(pictures(model))
    way = np.random.default_rng(4).normal(size=values.shape).astype(np.float32)
    ahead, behind = (cut.gradients(values + sign * 1e-2 * way, CLASSES)[0] for sign in (1, -1))
    slope = (cut.gradients(values, CLASSES)[1] * way).sum(axis=(1, 2, 3))
    assert np.allclose((ahead - behind) / 2e-2, slope, atol=0.02 * np.abs(slope).max())


def test_changed_weights_are_seen():
    model = keras.models.clone_model(network("cnn"))
    before = grad_cam(model, IMAGES, CLASSES)
    kernel = model.get_layer("head_softmax").kernel
    kernel.assign(-kernel)
    assert not np.allclose(before, grad_cam(model, IMAGES, CLASSES))


def test_more_images_than_fit_in_a_block_are_explained_one_by_one(monkeypatch):
    model = network("cnn")
    whole = grad_cam(model, IMAGES, CLASSES)
    monkeypatch.setattr("helpers.explanation.gradients.BLOCK", 2)
    assert np.allclose(whole, grad_cam(model, IMAGES, CLASSES), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "cells", "layer"),
    [
        ("cnn", 1, "re_lu"),
        ("mobilenet", 1, "head_norm"),
        ("mobilenet", 3, "conv_pw_11_relu"),  # and not the layer after it that only pads
        ("mobilenet", 8, "conv_pw_5_relu"),
        ("mobilenet-2", 3, "block_13_expand_relu"),
    ],
)
def test_the_last_map_is_found_from_the_network(name, cells, layer):
    found = last_map(network(name), cells)
    assert found.name.startswith(layer) and min(found.output.shape[1:3]) >= cells


def test_a_finer_map_is_explained_on_demand():
    model = network("cnn")
    assert [grad_cam(model, IMAGES, CLASSES, cells).shape[1:] for cells in (1, 17)] == [(16, 16), (32, 32)]


def test_a_network_without_a_map_of_this_size():
    with pytest.raises(StudyError, match="no layer gives a map .* of 99 cells"):
        last_map(network("cnn"), 99)


def linear_model() -> keras.Model:
    """A network whose logits are linear in the pixels: their mean by colour, times weights."""
    images = keras.Input((32, 32, 3), dtype="uint8")
    seen = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 127.5, offset=-1)(images))
    return keras.Model(images, layers.Dense(4, activation="softmax")(seen), name="linear")


def test_integrated_gradients_of_a_linear_network_are_exact_in_one_step():
    model = linear_model()
    found, gained = integrated_gradients(model, IMAGES, CLASSES, 1)
    kernel = keras.ops.convert_to_numpy(model.layers[-1].kernel).T[CLASSES]
    change = (IMAGES.astype(float) - plain(IMAGES)) / 127.5 / 32**2
    assert np.allclose(found, np.einsum("nhwc,nc->nhw", change, kernel), atol=1e-7)
    assert np.allclose(found.sum(axis=(1, 2)), gained, atol=1e-4)


@pytest.mark.parametrize("name", ["cnn", "cnn_lstm"])
def test_integrated_gradients_sum_to_the_change_of_the_logit(name):
    model = network(name)
    found, gained = integrated_gradients(model, IMAGES, CLASSES, 64)
    assert np.allclose(gained, logits_of(model, IMAGES) - logits_of(model, plain(IMAGES)), atol=1e-4)
    assert found.shape == (5, 32, 32) and np.abs(gained).max() > 1e-3
    assert np.allclose(found.sum(axis=(1, 2)), gained, atol=0.05 * np.abs(gained).max())


def test_what_cannot_be_explained_is_said():
    images = keras.Input((32, 32, 3), dtype="uint8")
    seen = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(images))
    without = keras.Model(images, layers.Dense(4, activation="softmax")(seen), name="unscaled")
    with pytest.raises(StudyError, match="unscaled: it has no layer Rescaling"):
        integrated_gradients(without, IMAGES, CLASSES, 2)
    bare = keras.Model(images, layers.Dense(4)(seen), name="bare")
    with pytest.raises(StudyError, match="bare: its last layer is no dense layer with softmax"):
        grad_cam(bare, IMAGES, CLASSES)


def looks_at_a_patch(images: np.ndarray) -> np.ndarray:
    """Made-up answer: class 1 is as probable as rows 8 to 16 and columns 16 to 24 are bright."""
    bright = images[:, 8:16, 16:24].mean(axis=(1, 2, 3)) / 255
    return np.stack([1 - bright, bright], axis=1)


def test_occlusion_finds_the_patch_that_an_answer_looks_at():
    images = np.full((2, 32, 32, 3), 100, np.uint8)
    images[:, 8:16, 16:24] = 250
    found = occlusion(looks_at_a_patch, images, np.array([1, 0]), 8, 4)
    inside = np.zeros((32, 32), bool)
    inside[8:16, 16:24] = True
    far = np.ones((32, 32), bool)
    far[1:23, 9:31] = False  # beyond the reach of a square that touches the patch
    assert found.shape == (2, 32, 32) and np.allclose(found[:, far], 0)
    assert found[0][inside].min() > 0 > found[1][inside].max()
    assert inside[np.unravel_index(found[0].argmax(), (32, 32))]
    exactly = occlusion(looks_at_a_patch, images, np.array([1, 0]), 8, 8)
    assert np.allclose(exactly[0], np.where(inside, 150 / 255, 0))


def test_squares_reach_the_edges_whatever_their_step():
    images = np.full((1, 32, 32, 3), 100, np.uint8)
    corner = lambda seen: np.stack([seen[:, -1, -1, 0] / 255, 1 - seen[:, -1, -1, 0] / 255], axis=1)  # noqa: E731
    images[:, -1, -1] = 200
    assert occlusion(corner, images, np.array([0]), 7, 6)[0, -1, -1] > 0.3


@pytest.mark.parametrize(("patch", "stride"), [(33, 4), (4, 5), (4, 0)])
def test_squares_that_do_not_fit(patch, stride):
    with pytest.raises(StudyError, match="1 <= stride <= patch <= 32 pixels"):
        occlusion(looks_at_a_patch, IMAGES, CLASSES, patch, stride)


def test_variants_are_asked_about_together_and_kept_apart(monkeypatch):
    asked = []

    def answer(images):
        asked.append(len(images))
        return images[:, 0, 0, :2] / 255

    variants = [np.full((3, 4, 4, 3), 10 * number, np.uint8) for number in range(5)]
    monkeypatch.setattr("helpers.explanation.maps.IMAGES_A_QUESTION", 7)
    found = class_probabilities(answer, variants, np.array([0, 1, 0]))
    assert asked == [6, 6, 3] and np.allclose(found * 255, 10 * np.arange(5)[:, None] * np.ones(3))


def test_an_answer_is_what_the_network_predicts():
    model = network("cnn")
    assert np.allclose(answers(model)(IMAGES), model.predict(IMAGES, verbose=0), atol=1e-5)


def test_enlarged_maps():
    maps = np.array([[[0.0, 1.0], [2.0, 3.0]]])
    assert np.allclose(resized(maps, 2), maps) and np.allclose(resized(np.full((1, 3, 3), 7.0), 8), 7)
    big = resized(maps, 8)[0]
    assert big.shape == (8, 8) and (big[0, 0], big[0, -1], big[-1, 0], big[-1, -1]) == (0, 1, 2, 3)
    assert np.allclose(big.mean(), 1.5) and (np.diff(big, axis=1) >= 0).all()


def test_new_weights_change_the_map_from_the_last_layer_on():
    model = network("cnn")
    maps, first, last = {}, {}, {}
    for share, other in zip((0, 0.5, 1), randomised(model, (0, 0.5, 1), 5), strict=True):
        maps[share] = grad_cam(other, IMAGES, CLASSES)
        learnt = [layer for layer in other.layers if isinstance(layer, layers.Conv2D | layers.Dense)]
        first[share], last[share] = (layer.get_weights()[0] for layer in (learnt[0], learnt[-1]))
    trained = grad_cam(model, IMAGES, CLASSES)
    assert np.allclose(maps[0], trained, atol=1e-6)
    assert np.array_equal(first[0], first[0.5]) and not np.array_equal(first[0], first[1])
    assert not np.array_equal(last[0], last[0.5]) and np.array_equal(last[0.5], last[1])
    assert np.nanmean(rank_correlation(trained, maps[1])) < 0.7


ELSEWHERE = """
import sys, numpy as np, keras, helpers.models.networks
from helpers.explanation.maps import answers, class_activation, grad_cam, integrated_gradients, randomised
folder, names = sys.argv[1], sys.argv[2:]
for name in names:
    model, kept = keras.models.load_model(f"{folder}/{name}.keras"), np.load(f"{folder}/{name}.npz")
    asked = model, kept["images"], kept["classes"]
    assert np.allclose(grad_cam(*asked), kept["cam"], atol=1e-3 * kept["cam"].max()), name
    if name in ("cnn", "mobilenet"):
        maps, gained = integrated_gradients(*asked, 2)
        assert np.allclose(gained, kept["gained"], atol=1e-3)
        assert np.allclose(maps, kept["maps"], atol=1e-2 * np.abs(kept["maps"]).max())
        assert np.allclose(grad_cam(*asked), np.maximum(class_activation(*asked), 0), atol=1e-4 * kept["cam"].max())
    assert np.allclose(answers(model)(kept["images"]), kept["answers"], atol=1e-4), name
    close = [np.allclose(grad_cam(other, *asked[1:]), kept["cam"], rtol=1e-2) for other in randomised(model, [0, 1], 0)]
    assert close == [True, False], name
print(keras.config.backend())
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_maps_are_the_same_under_another_backend(backend, tmp_path, request):
    run = request.getfixturevalue(f"under_{backend}")
    names = ["cnn", "cnn_lstm", "mobilenet"]
    for name in names:
        model = network(name)
        model.save(tmp_path / f"{name}.keras")
        images = pictures(model)
        maps, gained = integrated_gradients(model, images, CLASSES, 2)
        about = {"images": images, "classes": CLASSES, "cam": grad_cam(model, images, CLASSES)}
        about["answers"] = answers(model)(images)
        np.savez(tmp_path / f"{name}.npz", **about, maps=maps, gained=gained)
    assert run("-c", ELSEWHERE, str(tmp_path), *names).split() == [backend]
