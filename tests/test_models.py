import os
import subprocess
import sys
from importlib.util import find_spec

import keras
import numpy as np
import pandas as pd
import pytest

from helpers.images import PixelCache
from helpers.models import RandomSymmetry, cnn
from helpers.study import ROOT, StudyError, set_seed
from helpers.training import (
    Batches,
    Recipe,
    Samples,
    class_weights,
    fit,
    part_samples,
    predict,
    predictions_table,
    save_model,
)

RECIPE = Recipe(
    epochs=6, batch_size=8, learning_rate=1e-2, weight_decay=1e-4, imbalance="class_weight", patience=6, seed=0
)


def bright_or_dark(count=64, side=16, seed=0):
    """Images of class 1 are brighter than those of class 0; a quarter is of class 1."""
    random = np.random.default_rng(seed)
    labels = (np.arange(count) % 4 == 0).astype(np.int64)
    pixels = random.integers(0, 120, (count, side, side, 3)) + 100 * labels[:, None, None, None]
    return Samples(pixels.astype(np.uint8), np.arange(count), labels)


def small_cnn(**options):
    return cnn(16, 2, [4, 8], dense_units=8, **options)


def test_shapes_and_probabilities():
    model = cnn(32, 7, [4, 8, 8], depth=2)
    out = model.predict(np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8), verbose=0)
    assert model.input.dtype == "uint8" and out.shape == (5, 7) and out.dtype == np.float32
    assert np.allclose(out.sum(axis=1), 1, atol=1e-5) and (out >= 0).all()


def test_depth_adds_convolutions_but_to_the_first_block():
    def convolutions(depth):
        return sum(isinstance(layer, keras.layers.Conv2D) for layer in cnn(32, 7, [4, 8, 8], depth=depth).layers)

    assert convolutions(1) == 3 and convolutions(2) == 5


def test_an_image_too_small_for_its_blocks():
    with pytest.raises(StudyError, match="need images of 32 px or more; side is 16"):
        cnn(16, 2, [4] * 5)


def test_an_unknown_augmentation():
    with pytest.raises(StudyError, match="augmentation 'mirror': choose one of none, symmetries"):
        small_cnn(augmentation="mirror")


def test_symmetries_are_the_eight_of_the_square_and_off_at_inference():
    image = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
    eight = [np.rot90(turned, k, axes=(1, 2)) for turned in (image, image[:, :, ::-1]) for k in range(4)]
    layer = RandomSymmetry(seed=0)
    batch = np.repeat(image, 200, axis=0)
    drawn = {out.tobytes() for out in np.asarray(layer(batch, training=True))}
    assert drawn == {np.ascontiguousarray(one[0]).tobytes() for one in eight}
    assert (np.asarray(layer(batch, training=False)) == batch).all()


def test_augmentation_changes_training_and_leaves_prediction():
    set_seed(0)
    model, images = small_cnn(dropout=0.0), bright_or_dark().pixels[:8]
    plain = keras.Model(model.input, model.get_layer("augmentation").output)
    assert (np.asarray(plain(images, training=False)) == images).all()
    assert (np.asarray(plain(images, training=True)) != images).any()


def test_save_and_load_give_the_same_predictions(tmp_path):
    model, samples = small_cnn(), bright_or_dark()
    fit(model, samples, bright_or_dark(seed=1), RECIPE)
    save_model(model, tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert np.array_equal(predict(model, samples), predict(loaded, samples))
    assert getattr(loaded, "optimizer", None) is None and model.optimizer is not None


def test_the_same_seed_gives_the_same_numbers():
    out = []
    for seed in (1, 1, 2):
        set_seed(seed)
        model = small_cnn(seed=seed)
        fit(model, bright_or_dark(), bright_or_dark(seed=1), RECIPE)
        out.append(predict(model, bright_or_dark(seed=2)))
    assert np.array_equal(out[0], out[1]) and not np.allclose(out[0], out[2])


@pytest.mark.parametrize("imbalance", ["none", "class_weight", "balanced_batches", "focal"])
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
    assert images.dtype == np.uint8 and targets.shape == (8, 2) and weights.shape == (8,)
    assert len(batches) == 8
    again = Batches(bright_or_dark(), 2, RECIPE)
    assert (again.order == first).all()


def test_balanced_batches_show_each_class_as_often():
    samples = bright_or_dark(4000, side=1)
    batches = Batches(samples, 2, Recipe(1, 8, 1e-3, 0.0, "balanced_batches", 1, 0))
    assert abs(samples.labels[batches.order].mean() - 0.5) < 0.03 and len(batches[0]) == 2


def test_parts_of_the_split_find_their_pixels():
    cache = PixelCache(np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1), np.array(["a", "b", "c"]))
    split = pd.DataFrame({"image_id": ["c", "a"], "label": ["mel", "nv"], "part": ["test", "test"]})
    samples = part_samples(split, cache, ["mel", "nv"], "test")
    assert samples.rows.tolist() == [2, 0] and samples.labels.tolist() == [0, 1]
    with pytest.raises(StudyError, match="no images in its train part"):
        part_samples(split, cache, ["mel", "nv"], "train")
    table = predictions_table(split, "test", np.array([[0.25, 0.75], [1.0, 0.0]]), ["mel", "nv"])
    assert table.to_dict("list") == {
        "image_id": ["c", "a"],
        "part": ["test", "test"],
        "label": ["mel", "nv"],
        "mel": [0.25, 1.0],
        "nv": [0.75, 0.0],
    }


@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")
def test_the_same_training_under_jax():
    """The very tests of fitting, saving and augmentation, in a process of its own with the other backend."""
    names = "fitting_learns and class_weight or save_and_load or symmetries or same_seed"
    command = [sys.executable, "-m", "pytest", "-q", __file__, "-k", names, "-p", "no:cacheprovider"]
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout + done.stderr
