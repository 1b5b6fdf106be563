from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
from tiny import RECIPE, bright_or_dark, small_cnn

from helpers.backend import set_seed
from helpers.data.pixels import PixelCache
from helpers.data.samples import Samples, part_samples
from helpers.models.recipe import Recipe
from helpers.study import StudyError
from helpers.training.batches import Batches, class_weights
from helpers.training.fit import _loss, fit, fit_stages, save_model
from helpers.training.predict import predict, predictions_table, symmetries


def test_save_and_load_give_the_same_predictions(tmp_path):
    model, samples = small_cnn(), bright_or_dark()
    fit(model, samples, bright_or_dark(seed=1), replace(RECIPE, epochs=1))
    save_model(model, tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert np.array_equal(predict(model, samples), predict(loaded, samples))
    assert getattr(loaded, "optimizer", None) is None


def test_the_same_seed_gives_the_same_numbers():
    out = []
    for seed in (1, 1, 2):
        set_seed(seed)
        model = small_cnn(seed=seed)
        fit(model, bright_or_dark(), bright_or_dark(seed=1), replace(RECIPE, epochs=2))
        out.append(predict(model, bright_or_dark(seed=2)))
    assert np.array_equal(out[0], out[1]) and not np.allclose(out[0], out[2])


@pytest.mark.parametrize("imbalance", ["none", "class_weight", "balanced_batches", "focal", "logit_adjustment"])
def test_fitting_learns_and_keeps_the_best_epoch(imbalance):
    set_seed(0)
    model, validation = small_cnn(dropout=0.0), bright_or_dark(seed=1)
    fitted = fit(model, bright_or_dark(), validation, Recipe(12, 8, 1e-2, 1e-4, imbalance, 12, 0))
    kept = fitted.history.val_balanced_accuracy.max()
    recalls = [
        (predict(model, validation).argmax(1) == validation.labels)[validation.labels == k].mean() for k in (0, 1)
    ]
    assert kept > 0.9 and np.isclose(np.mean(recalls), kept)
    assert fitted.history.val_balanced_accuracy[fitted.training["best_epoch"] - 1] == kept
    assert fitted.training["weights"] == model.count_params() and fitted.training["images_per_second"] > 0


def test_patience_ends_the_training():
    set_seed(0)
    recipe = Recipe(50, 8, 1e-9, 0.0, "none", 2, 0)  # so slow that no epoch is better than the first
    fitted = fit(small_cnn(), bright_or_dark(), bright_or_dark(seed=1), recipe)
    assert fitted.training == fitted.training | {"epochs": 3, "best_epoch": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"imbalance": "smote"}, "imbalance 'smote'"),
        ({"epochs": 0}, "epochs is 0"),
        ({"learning_rate": -1.0}, "above 0"),
        ({"ema": 1.0}, "ema is 1.0; it has to be 0 or more and below 1"),
        ({"label_smoothing": -0.1}, "label_smoothing is -0.1"),
        ({"mixing": "blend"}, "mixing 'blend'"),
    ],
)
def test_a_senseless_recipe(change, message):
    values = {name: getattr(RECIPE, name) for name in RECIPE.__dataclass_fields__}
    with pytest.raises(StudyError, match=message):
        Recipe(**values | change)


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
    assert images["own"].dtype == np.uint8 and targets.shape == (8, 2) and weights.shape == (8,)
    assert len(batches) == 8
    again = Batches(bright_or_dark(), 2, RECIPE)
    assert (again.order == first).all()


def test_balanced_batches_show_each_class_as_often():
    samples = bright_or_dark(4000, side=1)
    batches = Batches(samples, 2, Recipe(1, 8, 1e-3, 0.0, "balanced_batches", 1, 0))
    assert abs(samples.labels[batches.order].mean() - 0.5) < 0.03 and (batches[0][2] == 1).all()


def test_parts_of_the_split_find_their_pixels():
    cache = PixelCache(np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1), np.array(["a", "b", "c"]))
    split = pd.DataFrame({"image_id": ["c", "a"], "label": ["mel", "nv"], "part": ["test", "test"]})
    samples = part_samples(split, cache, ["mel", "nv"], part="test")
    assert samples.rows.tolist() == [2, 0] and samples.labels.tolist() == [0, 1]
    with pytest.raises(StudyError, match="no images in its train part"):
        part_samples(split, cache, ["mel", "nv"], part="train")
    table = predictions_table(split, "test", np.array([[0.25, 0.75], [1.0, 0.0]]), ["mel", "nv"])
    assert table.to_dict("list") == {
        "image_id": ["c", "a"],
        "part": ["test", "test"],
        "label": ["mel", "nv"],
        "mel": [0.25, 1.0],
        "nv": [0.75, 0.0],
    }


def test_stages_are_one_training():
    set_seed(0)
    model = small_cnn()
    first = Recipe(2, 8, 1e-2, 1e-4, "none", 9, 0, trainable="head", batch_norm="frozen")
    before = model.layers[2].get_weights()
    fit_stages(model, bright_or_dark(), bright_or_dark(seed=1), [first])
    assert all(np.array_equal(a, b) for a, b in zip(before, model.layers[2].get_weights(), strict=True))
    fitted = fit_stages(model, bright_or_dark(), bright_or_dark(seed=1), [first, RECIPE])
    assert (
        fitted.history["epoch"].tolist() == list(range(1, 9)) and fitted.history["stage"].tolist() == [1] * 2 + [2] * 6
    )
    best = 2 + fitted.history["val_balanced_accuracy"][2:].argmax() + 1
    assert fitted.training["epochs"] == 8 and fitted.training["best_epoch"] == best
    assert fitted.training["seconds"] > fitted.history["seconds"].sum() * 0.9


def test_the_average_of_the_weights_is_what_is_judged_and_kept():
    """A rate so high that single steps jump about: the average is another network than the last step's."""
    samples, out = bright_or_dark(), {}
    for ema in (0.0, 0.9):
        set_seed(0)
        model = small_cnn(dropout=0.0)
        recipe = Recipe(3, 8, 1e-2, 0.0, "none", 9, 0, ema=ema)
        fitted = fit(model, samples, bright_or_dark(seed=1), recipe)
        labels = bright_or_dark(seed=1).labels
        answers = predict(model, bright_or_dark(seed=1)).argmax(1)
        recalls = [(answers[labels == k] == k).mean() for k in (0, 1)]
        assert np.isclose(np.mean(recalls), fitted.history["val_balanced_accuracy"].max())
        out[ema] = keras.ops.convert_to_numpy(model.trainable_weights[0])
    assert not np.allclose(out[0.0], out[0.9])


@pytest.mark.parametrize("imbalance", ["none", "focal"])
def test_label_smoothing_spreads_the_truth(imbalance):
    """Of the truth a share of 0.2 is spread over both classes; the focal loss weighs each part by (1 - p)^2."""
    loss = _loss(replace(RECIPE, label_smoothing=0.2, imbalance=imbalance), np.ones(2, np.float32))
    p, truth = np.array([0.7, 0.3]), np.array([0.9, 0.1])
    parts = -truth * np.log(p) * ((1 - p) ** 2 if imbalance == "focal" else 1)
    assert np.isclose(float(loss(np.array([[1.0, 0.0]]), p[None])), parts.sum(), atol=1e-5)


def test_a_callback_sees_validation_and_can_end_the_training():
    samples, seen = bright_or_dark(), []

    def watch(epoch, logs):
        seen.append(logs["val_balanced_accuracy"])
        if epoch == 1:
            raise InterruptedError

    watched = keras.callbacks.LambdaCallback(on_epoch_end=watch)
    with pytest.raises(InterruptedError):
        fit(small_cnn(), samples, samples, replace(RECIPE, epochs=5), callbacks=[watched])
    assert len(seen) == 2 and all(0 <= one <= 1 for one in seen)


def test_logit_adjustment_judges_the_odds_that_hold_in_training():
    """One class four times as common as the other: its odds in training are four times those that the network gives."""
    weights = np.array([0.625, 2.5], np.float32)
    loss = _loss(replace(RECIPE, imbalance="logit_adjustment"), weights)
    network, training = np.array([[0.5, 0.5]], np.float32), [0.8, 0.2]
    for truth in (0, 1):
        assert np.isclose(float(loss(np.eye(2)[[truth]], network)), -np.log(training[truth]), atol=1e-6)


def test_the_eight_symmetries_are_all_different():
    image = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)
    views = [np.ascontiguousarray(view) for view in symmetries(image)]
    assert len({view.tobytes() for view in views}) == 8 and np.array_equal(views[0], image)


def test_eight_views_are_the_mean_and_do_not_see_how_an_image_lies():
    model, samples = small_cnn(), bright_or_dark(8)
    mean = np.mean(
        [predict(model, Samples(view, samples.rows, samples.labels)) for view in symmetries(samples.pixels)], 0
    )
    turned = Samples(np.rot90(samples.pixels, axes=(1, 2)), samples.rows, samples.labels)
    assert np.allclose(predict(model, samples, 8), mean, atol=1e-6)
    assert np.allclose(predict(model, samples, 8), predict(model, turned, 8), atol=1e-6)
    assert not np.allclose(predict(model, samples), predict(model, turned), atol=1e-6)
    with pytest.raises(StudyError, match="views is 3; it has to be 1 or 8"):
        predict(model, samples, 3)


def test_the_same_training_under_jax(tests_under_jax):
    tests_under_jax(
        test_save_and_load_give_the_same_predictions, test_the_average_of_the_weights_is_what_is_judged_and_kept
    )
