"""All models of one architecture share one compiled network, and none is changed by the others."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from tiny import RECIPE, TRAIN, VALIDATION, bright_or_dark, small_cnn

from helpers.data.samples import Samples
from helpers.training import compiled, device
from helpers.training.compiled import Reader, shared_network
from helpers.training.fit import fit
from helpers.training.predict import predict

SHORT = replace(RECIPE, epochs=2)


@pytest.fixture
def nothing_compiled(monkeypatch):
    monkeypatch.setattr(compiled, "_networks", {})


def train(recipe=SHORT, **options) -> np.ndarray:
    model = small_cnn(**options)
    fit(model, TRAIN, VALIDATION, recipe=recipe)
    return predict(model, VALIDATION)


def test_a_training_does_not_depend_on_those_before_it(nothing_compiled, monkeypatch):
    """Another seed, rate, length, augmentation and imbalance in between leave nothing behind in the one traced step."""
    traced, train_step = [], Reader.train_step
    monkeypatch.setattr(Reader, "train_step", lambda self, *data: traced.append(1) or train_step(self, *data))
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
    plain = network.trainer(RECIPE, TRAIN)
    changes = {"learning_rate": 0.1, "seed": 9, "imbalance": "balanced_batches", "mixing": "mixup", "epochs": 3}
    assert all(network.trainer(replace(RECIPE, **{name: value}), TRAIN) is plain for name, value in changes.items())
    changes = {"label_smoothing": 0.1, "ema": 0.9, "weight_decay": 0.1, "trainable": "head", "imbalance": "focal"}
    others = [network.trainer(replace(RECIPE, **{name: value}), TRAIN) for name, value in changes.items()]
    adjusted = replace(RECIPE, imbalance="logit_adjustment")
    others += [network.trainer(adjusted, replace(TRAIN, labels=labels)) for labels in (TRAIN.labels, 1 - TRAIN.labels)]
    assert len({id(trainer) for trainer in (plain, *others)}) == 8


def test_another_architecture_is_another_network():
    one, other, same = (
        shared_network(small_cnn(dropout=share, seed=seed)) for share, seed in ((0, 0), (0.1, 0), (0, 5))
    )
    assert one is same and one is not other


def test_a_model_keeps_its_own_values():
    """The network is shared, the models are not."""
    one = small_cnn()
    before = one.get_weights()
    other = small_cnn()
    fit(other, TRAIN, VALIDATION, recipe=SHORT)
    assert shared_network(one) is shared_network(other)
    assert all(np.array_equal(*pair) for pair in zip(before, one.get_weights(), strict=True))
    for model in (one, other):
        assert np.allclose(predict(model, VALIDATION), model.predict(VALIDATION.pixels, verbose=0), atol=1e-6)


def test_from_the_device_and_from_the_host_the_same_model(monkeypatch):
    ends, places = [], []
    for share in (device.MEMORY_SHARE, 0.0):
        monkeypatch.setattr(device, "MEMORY_SHARE", share)
        monkeypatch.setattr(device, "_placed", {})
        model = small_cnn()
        places.append(fit(model, TRAIN, VALIDATION, recipe=replace(SHORT, mixing="mixup", ema=0.9)).training["images"])
        ends.append(predict(model, TRAIN))
    assert places == ["device", "host"] and np.allclose(*ends, atol=1e-5)


def test_few_images_and_many_get_one_answer_each():
    model, samples = small_cnn(), bright_or_dark(300)
    expected = model.predict(samples.pixels, verbose=0)
    for count in (1, 33, 129):
        answers = predict(model, Samples(samples.pixels, samples.rows[:count], samples.labels[:count]))
        assert answers.shape == (count, 2) and np.allclose(answers, expected[:count], atol=1e-6)


def test_the_same_under_jax(tests_under_jax):
    tests_under_jax(
        test_a_training_does_not_depend_on_those_before_it,
        test_a_model_keeps_its_own_values,
        test_from_the_device_and_from_the_host_the_same_model,
        test_few_images_and_many_get_one_answer_each,
    )
