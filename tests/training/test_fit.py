"""The training loop: what it learns, which epoch it keeps, and the numbers that it gives."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from tiny import PARTS, RECIPE, TRAIN, VALIDATION, small_cnn

from helpers.models.head import Common, Lstm
from helpers.models.networks import Convolutions, cnn
from helpers.models.recipe import Recipe
from helpers.training.experiment import TRAINING_VERSION
from helpers.training.fit import Diverged, Watch, fit, fit_stages, save_model
from helpers.training.predict import predict

# Losses and validation losses of two short trainings, see `test_numbers_change_only_with_the_version`.
GOLDEN = {
    "version": 1,
    "plain": [0.64261, 0.65309, 0.48436, 0.41271],
    "everything": [0.5774, 0.55679, 0.53412, 0.4648],
}


def balanced_accuracy(model):
    correct = predict(model, VALIDATION).argmax(1) == VALIDATION.labels
    return np.mean([correct[VALIDATION.labels == k].mean() for k in (0, 1)])


@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="other backends draw other random numbers")
@pytest.mark.parametrize("case", ["plain", "everything"])
def test_numbers_change_only_with_the_version(case):
    """Two epochs of five steps. If the numbers have to change, raise TRAINING_VERSION, and GOLDEN along with it."""
    recipe = replace(RECIPE, epochs=2)
    if case == "everything":
        recipe = replace(recipe, imbalance="logit_adjustment", mixing="mixup", ema=0.5, label_smoothing=0.1)
    few = replace(TRAIN, rows=TRAIN.rows[:40], labels=TRAIN.labels[:40])
    history = fit(small_cnn(dropout=0.4), PARTS | {"train": few}, recipe=recipe).history
    assert GOLDEN["version"] == TRAINING_VERSION
    assert np.allclose([*history["loss"], *history["val_loss"]], GOLDEN[case], rtol=1e-3)


def test_save_and_load_give_the_same_predictions(tmp_path):
    model = small_cnn()
    fit(model, PARTS, recipe=replace(RECIPE, epochs=1))
    save_model(model, tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert np.array_equal(predict(model, TRAIN), predict(loaded, TRAIN))
    assert getattr(loaded, "optimizer", None) is None


@pytest.mark.parametrize("imbalance", ["class_weight", "balanced_batches", "focal", "logit_adjustment"])
def test_fitting_learns_and_keeps_the_best_epoch(imbalance):
    model = small_cnn(dropout=0.0)
    fitted = fit(model, PARTS, recipe=replace(RECIPE, epochs=12, imbalance=imbalance))
    kept = fitted.history.val_balanced_accuracy.max()
    assert kept > 0.9 and np.isclose(balanced_accuracy(model), kept)
    assert fitted.history.val_balanced_accuracy[fitted.training["best_epoch"] - 1] == kept
    assert fitted.training["weights"] == model.count_params() and fitted.training["images_per_second"] > 0


def test_patience_ends_the_training():
    slow = replace(RECIPE, epochs=50, learning_rate=1e-9, weight_decay=0.0, patience=2)  # no epoch beats the first
    fitted = fit(small_cnn(), PARTS, recipe=slow)
    assert fitted.training == fitted.training | {"epochs": 3, "best_epoch": 1}


def test_stages_are_one_training():
    model = small_cnn()
    head = Recipe(2, 8, 1e-2, 1e-4, "none", 9, 0, trainable="head", batch_norm="frozen")
    before = model.get_weights()
    fit_stages(model, PARTS, stages=[head])
    frozen = len([w for layer in model.layers if not layer.name.startswith("head_") for w in layer.weights])
    same = [np.array_equal(*pair) for pair in zip(before, model.get_weights(), strict=True)]
    assert all(same[:frozen]) and not any(same[frozen:])
    fitted = fit_stages(model, PARTS, stages=[head, replace(RECIPE, epochs=3)])
    history = fitted.history
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5] and history["stage"].tolist() == [1, 1, 2, 2, 2]
    best = 2 + history["val_balanced_accuracy"][2:].argmax() + 1
    assert fitted.training["epochs"] == 5 and fitted.training["best_epoch"] == best


@pytest.mark.jax
def test_the_average_of_the_weights_is_what_is_judged_and_kept():
    """A rate so high that single steps jump about: the average is another network than the last step's."""
    weights = []
    for ema in (0.0, 0.9):
        model = small_cnn(dropout=0.0)
        fitted = fit(model, PARTS, recipe=replace(RECIPE, epochs=3, ema=ema))
        assert np.isclose(balanced_accuracy(model), fitted.history["val_balanced_accuracy"].max())
        weights.append(keras.ops.convert_to_numpy(model.trainable_weights[0]))
    assert not np.allclose(*weights)


@pytest.mark.parametrize("what", ["rate", "weights"])
def test_a_training_that_diverges_says_so(what):
    """Because of a rate far too high, or because a weight is no number to begin with."""
    model = small_cnn()
    if what == "weights":
        model.trainable_weights[0].assign(np.full(model.trainable_weights[0].shape, np.nan))
    recipe = replace(RECIPE, learning_rate=1e38 if what == "rate" else 1e-3)
    with pytest.raises(Diverged, match=r"epoch \d: the loss is .*, training has diverged. Choose a lower"):
        fit(model, PARTS, recipe=recipe)


@pytest.mark.jax
def test_a_network_that_reads_sequences_trains():
    """With the order drawn anew for each batch, which a backend has to do inside of its compiled step."""
    model = cnn(Common(16, 2, [4]), Convolutions([4]), Lstm("snake", 4, order="fresh"))
    fitted = fit(model, PARTS, recipe=replace(RECIPE, epochs=1))
    assert np.isfinite(fitted.history["loss"]).all() and np.isfinite(predict(model, TRAIN)).all()


@pytest.mark.jax
def test_a_network_trains_in_half_precision():
    """It learns to tell bright from dark, and answers in single precision."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = cnn(Common(16, 2, [8], {"symmetries": 1.0, "noise": 1.0}), Convolutions([4, 8]))
    finally:
        keras.config.set_dtype_policy("float32")
    fitted = fit(model, PARTS, recipe=RECIPE)
    assert {layer.compute_dtype for layer in model.layers} == {"bfloat16", "float32"}
    assert fitted.history["val_balanced_accuracy"].max() > 0.9 and predict(model, TRAIN).dtype == np.float32


def test_further_parts_are_scored_after_each_epoch():
    """The validation images, watched under another name, get the scores of validation."""
    model = small_cnn(dropout=0.0)
    watch = Watch(model, {"claimed": VALIDATION})
    history = fit(model, PARTS, recipe=replace(RECIPE, epochs=2), callbacks=[watch]).history
    for score in ("accuracy", "balanced_accuracy"):
        assert np.allclose(history[f"claimed_{score}"], history[f"val_{score}"])
