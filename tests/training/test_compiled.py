"""All models of one architecture share one compiled network, and none is changed by the others."""

import gc
import weakref
from dataclasses import replace

import keras
import numpy as np
import pytest
from tiny import PARTS, RECIPE, TRAIN, VALIDATION, bright_or_dark, small_cnn

from helpers.data.samples import Samples
from helpers.training import compiled
from helpers.training.compiled import Mixed, shared_network
from helpers.training.fit import fit
from helpers.training.predict import predict

SHORT = replace(RECIPE, epochs=2)


@pytest.fixture
def empty_cache(monkeypatch):
    monkeypatch.setattr(compiled, "_networks", {})


def train(recipe=SHORT, **options) -> np.ndarray:
    model = small_cnn(**options)
    fit(model, PARTS, recipe=recipe)
    return predict(model, VALIDATION)


@pytest.mark.jax
def test_a_training_does_not_depend_on_those_before_it(empty_cache, monkeypatch):
    """Another seed, rate, length, augmentation and imbalance in between leave nothing behind in the one traced step."""
    traced, train_step = [], Mixed.train_step
    monkeypatch.setattr(Mixed, "train_step", lambda self, *data: traced.append(1) or train_step(self, *data))
    everything = {"augmentation": {"symmetries": 1.0, "noise": 0.0}, "seed": 1}
    first = train(**everything)
    other = replace(RECIPE, epochs=1, learning_rate=1e-3, seed=2, imbalance="balanced_batches")
    between = train(other, augmentation={"symmetries": 0.0, "noise": 1.0}, seed=2)
    again = train(**everything)
    assert np.array_equal(first, again) and not np.allclose(first, between)
    assert len(traced) == 1 or keras.config.backend() != "tensorflow"


def test_only_what_is_part_of_the_step_is_compiled_anew():
    """And logit adjustment by other weights of the classes is, since the weights are constants of its loss."""
    network = shared_network(small_cnn())
    trainer = lambda recipe, train=TRAIN: network.trainer(recipe, train)[0]  # noqa: E731
    plain = trainer(RECIPE)
    changes = {"learning_rate": 0.1, "seed": 9, "imbalance": "balanced_batches", "mixing": "mixup", "epochs": 3}
    assert all(trainer(replace(RECIPE, **{name: value})) is plain for name, value in changes.items())
    changes = {"label_smoothing": 0.1, "ema": 0.9, "weight_decay": 0.1, "trainable": "head", "imbalance": "focal"}
    others = [trainer(replace(RECIPE, **{name: value})) for name, value in changes.items()]
    adjusted = replace(RECIPE, imbalance="logit_adjustment")
    others += [trainer(adjusted, replace(TRAIN, labels=labels)) for labels in (TRAIN.labels, 1 - TRAIN.labels)]
    assert len({id(trainer) for trainer in (plain, *others)}) == 8


class Ask(keras.callbacks.Callback):
    """Asks a model of the same architecture, and trains another one on other images, as each epoch ends."""

    def __init__(self, model):
        super().__init__()
        self.asked, self.answers = model, []

    def on_epoch_end(self, epoch, logs=None):
        self.answers.append(predict(self.asked, VALIDATION))
        fit(small_cnn(), PARTS | {"train": bright_or_dark(seed=2)}, recipe=replace(SHORT, epochs=1))


def test_a_callback_may_ask_and_train_another_model():
    """The weights in training stay as they are, and the other model answers with its own."""
    undisturbed, other = train(), small_cnn(seed=4)
    expected = predict(other, VALIDATION)
    model, ask = small_cnn(), Ask(other)
    fit(model, PARTS, recipe=SHORT, callbacks=[ask])
    assert np.array_equal(predict(model, VALIDATION), undisturbed)
    assert len(ask.answers) == 2 and all(np.array_equal(answer, expected) for answer in ask.answers)


def test_networks_used_longest_ago_are_given_up(empty_cache, monkeypatch):
    monkeypatch.setattr(compiled, "MOST_NETWORKS", 2)
    train()
    kept = [weakref.ref(shared_network(small_cnn(filters=(4, width)))) for width in (8, 5, 6)]
    gc.collect()
    assert [network() is None for network in kept] == [True, False, False]


@pytest.mark.jax
def test_a_model_keeps_its_own_values():
    """The network is shared, the models are not."""
    one = small_cnn()
    before = one.get_weights()
    other = small_cnn()
    fit(other, PARTS, recipe=SHORT)
    assert shared_network(one) is shared_network(other)
    assert all(np.array_equal(*pair) for pair in zip(before, one.get_weights(), strict=True))
    for model in (one, other):
        assert np.allclose(predict(model, VALIDATION), model.predict(VALIDATION.pixels, verbose=0), atol=1e-6)


@pytest.mark.jax
def test_few_images_and_many_get_one_answer_each():
    model, samples = small_cnn(), bright_or_dark(300)
    expected = model.predict(samples.pixels, verbose=0)
    for count in (1, 33, 129):
        answers = predict(model, Samples(samples.pixels, samples.rows[:count], samples.labels[:count]))
        assert answers.shape == (count, 2) and np.allclose(answers, expected[:count], atol=1e-6)
