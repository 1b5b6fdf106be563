"""Shuffled batches, and the weights and losses that make up for rare classes."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from tiny import RECIPE, bright_or_dark

from helpers.training.batches import Batches, untuned_dataset
from helpers.training.losses import class_weights, training_loss


def test_class_weights_balance_the_classes():
    labels = np.array([0] * 6 + [1] * 2)
    weights = class_weights(labels, 2)
    assert np.allclose(weights, [8 / 12, 8 / 4]) and np.isclose(weights[labels].mean(), 1)
    assert np.isfinite(class_weights(np.zeros(4, int), 3)).all()  # classes without an image


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own():
    batches = Batches(bright_or_dark(), 2, RECIPE)
    first = batches.order.copy()
    batches.on_epoch_end()
    assert sorted(first) == sorted(batches.order) == list(range(64)) and (first != batches.order).any()
    images, targets, weights = batches[0]
    assert images["image"].dtype == np.uint8 and targets.shape == (8, 2) and weights.shape == (8,)
    assert len(batches) == 8
    assert (Batches(bright_or_dark(), 2, RECIPE).order == first).all()


def test_balanced_batches_show_each_class_as_often():
    samples = bright_or_dark(4000, side=1)
    batches = Batches(samples, 2, replace(RECIPE, imbalance="balanced_batches"))
    assert abs(samples.labels[batches.order].mean() - 0.5) < 0.03 and (batches[0][2] == 1).all()


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="TensorFlow's datasets")
@pytest.mark.parametrize("mixing", ["none", "mixup"])
def test_the_dataset_has_the_batches_that_keras_would_ask_for(mixing):
    """Epoch by epoch and batch by batch, with nothing tuned."""
    asked, given = (Batches(bright_or_dark(), 2, replace(RECIPE, mixing=mixing)) for _ in range(2))
    data = given.fit_arguments()["x"]
    assert data.options().autotune.enabled is False
    read = iter(data.as_numpy_iterator())
    for _ in range(2):
        asked.on_epoch_end()  # as Keras does before each epoch
        for batch in map(asked.__getitem__, range(len(asked))):
            assert all(map(np.array_equal, keras.tree.flatten(batch), keras.tree.flatten(next(read))))


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="TensorFlow's datasets")
def test_the_batches_of_a_dataset_may_differ_in_size():
    batches = [(np.zeros((count, 3), np.int32),) for count in (2, 2, 1)]
    assert [len(batch[0]) for batch in untuned_dataset(lambda: iter(batches), batches[0])] == [2, 2, 1]


@pytest.mark.parametrize("imbalance", ["none", "focal"])
def test_label_smoothing_spreads_the_truth(imbalance):
    """Of the truth a share of 0.2 is spread over both classes; the focal loss weighs each part by (1 - p)^2."""
    loss = training_loss(replace(RECIPE, label_smoothing=0.2, imbalance=imbalance), np.ones(2, np.float32))
    p, truth = np.array([0.7, 0.3]), np.array([0.9, 0.1])
    parts = -truth * np.log(p) * ((1 - p) ** 2 if imbalance == "focal" else 1)
    assert np.isclose(float(loss(np.array([[1.0, 0.0]]), p[None])), parts.sum(), atol=1e-5)


def test_logit_adjustment_judges_the_odds_that_hold_in_training():
    """One class four times as common as the other: its odds in training are four times those that the network gives."""
    loss = training_loss(replace(RECIPE, imbalance="logit_adjustment"), np.array([0.625, 2.5], np.float32))
    network, training = np.array([[0.5, 0.5]], np.float32), [0.8, 0.2]
    for truth in (0, 1):
        assert np.isclose(float(loss(np.eye(2)[[truth]], network)), -np.log(training[truth]), atol=1e-6)
