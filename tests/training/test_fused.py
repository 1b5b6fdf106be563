"""The fused layers and optimiser compute what those of Keras do, and give way to them in another version of Keras."""

from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from tiny import PARTS, RECIPE, small_cnn

from helpers.training import compiled, fused
from helpers.training.fit import fit
from helpers.training.fused import CosineRate, FusedAdamW, FusedNormalization, RestartableAdamW, adamw

on_tensorflow = pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="TensorFlow's kernels")


def test_the_rate_is_the_cosine_of_keras_with_warm_up():
    optimizer = adamw(weight_decay=0.0, ema=0.0)
    optimizer.build([keras.Variable(0.0)])
    optimizer.restart(peak=0.3, steps=50)
    stock = keras.optimizers.schedules.CosineDecay(0.0, 45, warmup_target=0.3, warmup_steps=5)
    rate = optimizer._learning_rate
    assert isinstance(rate, CosineRate)
    assert np.allclose([float(rate(step)) for step in range(60)], [float(stock(step)) for step in range(60)], atol=1e-6)


@pytest.mark.jax
def test_a_restarted_optimizer_is_a_new_one():
    ends = []
    optimizer, weight = adamw(weight_decay=0.01, ema=0.9), keras.Variable(1.0)
    optimizer.build([weight])
    for _ in range(2):
        weight.assign(1.0)
        optimizer.restart(peak=0.1, steps=10)
        for gradient in (1.0, -0.5, 2.0):
            optimizer.apply([keras.ops.convert_to_tensor(gradient)])
        ends.append(float(weight))
    assert ends[0] == ends[1] != 1.0


@pytest.mark.jax
def test_its_steps_are_those_of_the_adamw_of_keras():
    random, ends = np.random.default_rng(0), []
    start = [random.normal(size=shape).astype("float32") for shape in ((3, 2), (2,))]
    gradients = [[random.normal(size=one.shape).astype("float32") for one in start] for _ in range(5)]
    stock_rate = keras.optimizers.schedules.CosineDecay(0.0, 9, warmup_target=0.1, warmup_steps=1)
    fast = adamw(0.05, 0.0)
    fast.restart(peak=0.1, steps=10)
    for optimizer in (fast, keras.optimizers.AdamW(stock_rate, weight_decay=0.05)):
        weights = [keras.Variable(value) for value in start]
        optimizer.build(weights)
        optimizer.exclude_from_weight_decay([weights[1]])
        for step in gradients:
            optimizer.apply([keras.ops.convert_to_tensor(one) for one in step])
        ends.append([keras.ops.convert_to_numpy(weight) for weight in weights])
    assert all(np.allclose(*pair, atol=1e-6) for pair in zip(*ends, strict=True))
    assert not np.allclose(ends[0][0], start[0], atol=0.05)


def hide(monkeypatch, name):
    """Let Keras have an AdamW that lacks one attribute, as another version may."""
    rest = dict.fromkeys(set(fused.PRIVATE) - {name}, "there")
    monkeypatch.setattr(keras.optimizers, "AdamW", lambda: SimpleNamespace(build=lambda _: None, **rest))


@on_tensorflow
@pytest.mark.parametrize("name", fused.PRIVATE)
def test_without_a_private_method_the_optimizer_is_that_of_keras(name, monkeypatch):
    assert type(adamw(0.0, 0.0)) is FusedAdamW
    hide(monkeypatch, name)
    with pytest.warns(UserWarning, match=f"Keras {keras.__version__} has no {name} in AdamW"):
        assert type(adamw(0.0, 0.0)) is RestartableAdamW


@on_tensorflow
def test_without_private_methods_a_network_trains_to_the_same_losses(monkeypatch):
    recipe, losses = replace(RECIPE, epochs=2), []
    losses.append(fit(small_cnn(), PARTS, recipe=recipe).history["loss"])
    monkeypatch.setattr(compiled, "_networks", {})
    hide(monkeypatch, "_backend_update_step")
    with pytest.warns(UserWarning, match="slower"):
        losses.append(fit(small_cnn(), PARTS, recipe=recipe).history["loss"])
    assert np.allclose(*losses, rtol=1e-4)


@on_tensorflow
@pytest.mark.parametrize("gpus", [[], ["made up"]])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("trainable", [True, False])
def test_the_fused_normalisation_is_that_of_keras(trainable, policy, gpus, monkeypatch):
    """Outputs, gradients and moving averages over three steps, then inference."""
    monkeypatch.setattr(fused, "tensorflow_gpus", lambda: gpus)
    random = np.random.default_rng(0)
    maps, weights = random.normal(1, 2, (3, 4, 4, 5)).astype("float32"), random.normal(size=5).astype("float32")
    close = 2e-4 if policy == "float32" else 2e-2
    kinds = keras.layers.BatchNormalization, FusedNormalization
    stock, fast = (normalise(kind(momentum=0.7, trainable=trainable, dtype=policy), maps, weights) for kind in kinds)
    assert all(np.allclose(*pair, rtol=close, atol=close) for pair in zip(stock, fast, strict=True))


def normalise(layer, maps, weights):
    """What a layer computes in three steps of training, its variables then, and what it computes at inference."""
    import tensorflow as tf

    layer.build((None, 4, 4, 5))
    layer.gamma.assign(weights)
    layer.beta.assign(weights[::-1])
    values = []
    for step in range(3):
        x = tf.constant(maps + step)
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x, training=True) ** 3)
        values += [loss, *tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])]
    return [tf.cast(value, "float32") for value in (*values, *layer.variables, layer(maps))]
