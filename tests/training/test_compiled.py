import os
from dataclasses import replace

import keras
import numpy as np
import pytest
from tiny import RECIPE, bright_or_dark, small_cnn

from helpers.backend import set_seed
from helpers.data.samples import Samples
from helpers.models.head import Common, Lstm
from helpers.models.networks import Convolutions, cnn
from helpers.study import StudyError
from helpers.training import compiled, device, fused
from helpers.training.batches import Batches
from helpers.training.compiled import Reader, shared_network
from helpers.training.device import on_device, place, share_batches
from helpers.training.fit import fit
from helpers.training.fused import CosineRate, Optimizer
from helpers.training.predict import predict

TRAIN = bright_or_dark()  # its images are put on the device once, as those of a study are


@pytest.fixture(autouse=True)
def nothing_compiled(monkeypatch):
    monkeypatch.setattr(compiled, "_networks", {})
    monkeypatch.setattr(device, "_placed", {})


@pytest.fixture
def compilations(monkeypatch) -> list:
    """Grows with each step that is compiled for training."""
    done, compile_ = [], Reader.compile
    monkeypatch.setattr(Reader, "compile", lambda self, *a, **k: done.append(1) or compile_(self, *a, **k))
    return done


def trained(recipe=RECIPE, **options) -> np.ndarray:
    keras.utils.clear_session()
    set_seed(recipe.seed)
    model = small_cnn(**options)
    fit(model, TRAIN, bright_or_dark(seed=1), replace(recipe, epochs=2))
    return predict(model, bright_or_dark(seed=2))


def test_a_training_does_not_depend_on_those_before_it(compilations):
    """Another seed, rate, length, augmentation and imbalance in between leave nothing behind in the shared step."""
    everything = {"augmentation": {"symmetries": 1.0, "noise": 0.0}, "seed": 1}
    first = trained(**everything)
    other = replace(RECIPE, learning_rate=1e-3, seed=2, imbalance="balanced_batches")
    between = trained(other, augmentation={"symmetries": 0.0, "noise": 1.0}, seed=2)
    again = trained(**everything)
    assert len(compilations) == 1
    assert np.array_equal(first, again) and not np.allclose(first, between)


@pytest.mark.parametrize("mixing", ["none", "mixup"])
def test_what_a_backend_reads_ahead_is_what_keras_asks_for(monkeypatch, mixing):
    """Batch by batch and epoch by epoch, whether they are handed over or asked for one by one."""
    read_ahead = trained(replace(RECIPE, mixing=mixing))
    monkeypatch.setattr(Batches, "for_fit", lambda self: {"x": self})
    assert np.array_equal(trained(replace(RECIPE, mixing=mixing)), read_ahead)


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="TensorFlow's datasets")
def test_datasets_do_not_tune_themselves():
    """The end of one that does may wait for the thread that does it."""
    batch = (np.zeros((2, 3), np.int32),)
    data = compiled.untuned(lambda: iter([batch] * 3), batch)
    assert data.options().autotune.enabled is False and [len(batch[0]) for batch in data] == [2, 2, 2]


@pytest.mark.parametrize(
    "change",
    [{"label_smoothing": 0.1}, {"ema": 0.9}, {"weight_decay": 0.1}, {"trainable": "head"}, {"imbalance": "focal"}],
    ids=str,
)
def test_what_is_part_of_the_step_is_compiled_anew(compilations, change):
    plain, changed = trained(), trained(replace(RECIPE, **change))
    assert len(compilations) == 2 and not np.array_equal(plain, changed)


def test_another_architecture_is_another_network():
    one, two, three = small_cnn(), small_cnn(dropout=0.1), small_cnn(seed=5)
    networks = []
    for model in (one, two, three):
        keras.utils.clear_session()
        networks.append(shared_network(small_cnn(dropout=0.1)) if model is two else shared_network(small_cnn(seed=5)))
    assert networks[0] is networks[2] and networks[0] is not networks[1]


def test_a_model_keeps_its_own_values():
    """The network is shared, the models are not."""
    keras.utils.clear_session()
    set_seed(0)
    one = small_cnn()
    before = one.get_weights()
    keras.utils.clear_session()
    two = small_cnn()
    fit(two, bright_or_dark(), bright_or_dark(seed=1), replace(RECIPE, epochs=1))
    assert shared_network(one) is shared_network(two)
    assert all(np.array_equal(a, b) for a, b in zip(before, one.get_weights(), strict=True))
    samples = bright_or_dark(seed=2)
    for model in (one, two):
        own = model.predict(samples.pixels, verbose=0)
        assert np.allclose(predict(model, samples), own, atol=1e-6)


def test_from_the_device_and_from_the_host_the_same_model(monkeypatch):
    set_seed(0)
    out, where = [], []
    for share in (device.DEVICE_SHARE, 0.0):
        monkeypatch.setattr(device, "DEVICE_SHARE", share)
        monkeypatch.setattr(device, "_placed", {})
        keras.utils.clear_session()
        set_seed(0)
        model, samples = small_cnn(), bright_or_dark()
        recipe = replace(RECIPE, epochs=2, mixing="mixup", ema=0.9)
        where.append(fit(model, samples, bright_or_dark(seed=1), recipe).training["images"])
        out.append(predict(model, samples))
    assert where == ["device", "host"] and np.allclose(out[0], out[1], atol=1e-5)


def test_a_network_that_reads_sequences_trains():
    """With the order drawn anew for each batch, which a backend has to do inside of its compiled step."""
    model = cnn(Common(16, 2, [4]), Convolutions([4]), Lstm("snake", 4, order="fresh"))
    fitted = fit(model, TRAIN, bright_or_dark(seed=1), replace(RECIPE, epochs=1))
    assert np.isfinite(fitted.history["loss"]).all() and np.isfinite(predict(model, TRAIN)).all()


def test_a_network_trains_in_half_precision():
    """It learns to tell bright from dark, and answers in single precision."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = small_cnn(augmentation={"symmetries": 1.0, "noise": 1.0})
    finally:
        keras.config.set_dtype_policy("float32")
    fitted = fit(model, TRAIN, bright_or_dark(seed=1), RECIPE)
    assert {layer.compute_dtype for layer in model.layers} == {"bfloat16", "float32"}
    assert fitted.history["val_balanced_accuracy"].max() > 0.9 and predict(model, TRAIN).dtype == np.float32


def test_only_the_very_images_are_taken_from_the_device():
    samples = bright_or_dark()
    assert on_device(samples.pixels) is None
    variable = place(samples.pixels)
    assert place(samples.pixels) is variable and on_device(samples.pixels.copy()) is None
    assert np.array_equal(keras.ops.convert_to_numpy(variable), samples.pixels)
    place(bright_or_dark(seed=1).pixels)
    assert on_device(samples.pixels) is None


def test_memory_of_the_machine_without_a_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert device.device_memory() == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 16384\n")
    tool.chmod(0o755)
    assert device.device_memory() == 16 * 2**30


def test_the_rate_is_keras_own_cosine_with_warm_up():
    optimizer = Optimizer(weight_decay=0.0, ema=0.0)
    optimizer.build([keras.Variable(0.0)])
    optimizer.restart(peak=0.3, warm_up=5, steps=50)
    theirs = keras.optimizers.schedules.CosineDecay(0.0, 45, warmup_target=0.3, warmup_steps=5)
    rate = optimizer._learning_rate
    assert isinstance(rate, CosineRate)
    assert np.allclose(
        [float(rate(step)) for step in range(60)], [float(theirs(step)) for step in range(60)], atol=1e-6
    )


def test_a_restarted_optimizer_is_a_new_one():
    steps = []
    optimizer, weight = Optimizer(weight_decay=0.01, ema=0.9), keras.Variable(1.0)
    optimizer.build([weight])
    for _ in range(2):
        weight.assign(1.0)
        optimizer.restart(peak=0.1, warm_up=1, steps=10)
        for gradient in (1.0, -0.5, 2.0):
            optimizer.apply([keras.ops.convert_to_tensor(gradient)])
        steps.append(float(weight))
    assert steps[0] == steps[1] != 1.0


def test_its_steps_are_those_of_keras_adamw():
    random, ends = np.random.default_rng(0), []
    start = [random.normal(size=shape).astype("float32") for shape in ((3, 2), (2,))]
    gradients = [[random.normal(size=one.shape).astype("float32") for one in start] for _ in range(5)]
    own, plain = Optimizer(0.05, 0.0), CosineRate()
    own.restart(peak=0.1, warm_up=2, steps=10)
    for variable, value in ((plain.peak, 0.1), (plain.warm_up, 2), (plain.steps, 10)):
        variable.assign(value)
    for optimizer in (own, keras.optimizers.AdamW(plain, weight_decay=0.05)):
        weights = [keras.Variable(value) for value in start]
        optimizer.build(weights)
        optimizer.exclude_from_weight_decay([weights[1]])
        for step in gradients:
            optimizer.apply([keras.ops.convert_to_tensor(one) for one in step])
        ends.append([keras.ops.convert_to_numpy(weight) for weight in weights])
    assert all(np.allclose(*pair, atol=1e-6) for pair in zip(*ends, strict=True))
    assert not np.allclose(ends[0][0], start[0], atol=0.05)


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="TensorFlow's way of tracing")
def test_a_step_is_traced_once(monkeypatch):
    traced, train_step = [], Reader.train_step
    monkeypatch.setattr(Reader, "train_step", lambda self, data: traced.append(1) or train_step(self, data))
    trained()
    assert len(traced) == 1


def test_the_same_under_jax(tests_under_jax):
    """Those of the tests above in which a backend could differ."""
    tests_under_jax(
        test_a_training_does_not_depend_on_those_before_it,
        test_a_model_keeps_its_own_values,
        test_from_the_device_and_from_the_host_the_same_model,
        test_a_network_that_reads_sequences_trains,
        test_a_network_trains_in_half_precision,
        test_only_the_very_images_are_taken_from_the_device,
        test_a_restarted_optimizer_is_a_new_one,
        test_its_steps_are_those_of_keras_adamw,
        test_few_images_and_many_get_one_answer_each,
    )


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="TensorFlow's kernel")
@pytest.mark.parametrize("gpus", [[], ["made up"]])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("trainable", [True, False])
def test_the_fused_normalisation_is_that_of_keras(trainable, policy, gpus, monkeypatch):
    """Outputs, gradients and moving averages over three steps, then inference."""
    import tensorflow as tf

    random = np.random.default_rng(0)
    maps, weights = random.normal(1, 2, (2, 3, 4, 4, 5)).astype("float32")[0], random.normal(size=5).astype("float32")
    monkeypatch.setattr(compiled, "tensorflow_gpus", lambda: gpus)
    close = 2e-4 if policy == "float32" else 2e-2
    seen = []
    for kind in (keras.layers.BatchNormalization, fused.FusedNormalization):
        layer = kind(momentum=0.7, trainable=trainable, dtype=policy)
        layer.build((None, 4, 4, 5))
        layer.gamma.assign(weights)
        layer.beta.assign(weights[::-1])
        for step in range(3):
            x = tf.constant(maps + step)
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss = tf.reduce_sum(layer(x, training=True) ** 3)
            seen.append([loss, *tape.gradient(loss, [x, layer.gamma.value, layer.beta.value])])
        seen[-1] += [layer(maps), *layer.variables]
    for keras_own, fused_own in zip(seen[:3], seen[3:], strict=True):
        for expected, value in zip(keras_own, fused_own, strict=True):
            assert np.allclose(tf.cast(expected, "float32"), tf.cast(value, "float32"), rtol=close, atol=close)


def test_more_devices_than_there_are():
    error = "needs KERAS_BACKEND=jax" if keras.config.backend() != "jax" else "devices is 64, and there"
    with pytest.raises(StudyError, match=error):
        share_batches(64)
    share_batches(1)
    assert keras.distribution.distribution() is None


def test_few_images_and_many_get_one_answer_each():
    model, samples = small_cnn(), bright_or_dark(300)
    own = model.predict(samples.pixels, verbose=0)
    for count in (1, 31, 33, 128, 129, 300):
        answers = predict(model, Samples(samples.pixels, samples.rows[:count], samples.labels[:count]))
        assert answers.shape == (count, 2) and np.allclose(answers, own[:count], atol=1e-6)


TWO_DEVICES = """
import sys
sys.path.insert(0, "tests")
from test_compiled import TRAIN, bright_or_dark, fit, np, replace, set_seed, small_cnn, share_batches, RECIPE
share_batches(int(sys.argv[1]))
set_seed(0)
model = small_cnn()
fitted = fit(model, TRAIN, bright_or_dark(seed=1), replace(RECIPE, epochs=2))
print("losses", *fitted.history["loss"], *fitted.history["val_loss"], np.abs(model.trainable_weights[0]).sum())
"""


def test_two_devices_give_the_loss_of_one(under_jax):
    losses = []
    for devices in ("1", "2"):
        said = under_jax("-c", TWO_DEVICES, devices, XLA_FLAGS="--xla_force_host_platform_device_count=2")
        (line,) = [line for line in said.splitlines() if line.startswith("losses")]
        losses.append([float(value) for value in line.split()[1:]])
    assert np.allclose(*losses, rtol=1e-4) and len(losses[0]) == 5
