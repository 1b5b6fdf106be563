"""MixUp and CutMix: the mean level of a mixed image shows how much of each image is in it, and so must its target."""

import keras
import numpy as np
import pytest
from keras import ops

from helpers.data.samples import Samples
from helpers.models.recipe import Recipe
from helpers.training.batches import Batches
from helpers.training.compiled import Mixed
from helpers.training.mixing import mix

LEVELS = 20 * np.arange(8)
IMAGES = np.broadcast_to(np.uint8(LEVELS)[:, None, None, None], (8, 16, 16, 3)).copy()  # image k: level 20 k


def batches(mixing="mixup", imbalance="none", seed=0, images=None):
    """Five batches of noise, a quarter of it of class 1; or one of the given images, each of its own class."""
    recipe = Recipe(1, 8, 1e-3, 0.0, imbalance, 1, seed, mixing=mixing)
    if images is not None:
        return Batches(Samples(images, np.arange(8), np.arange(8)), 8, recipe)
    noise = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), np.uint8)
    return Batches(Samples(noise, np.arange(40), np.arange(40) % 4 // 3), 2, recipe)


@pytest.mark.parametrize("mixing", ["mixup", "cutmix"])
def test_labels_are_mixed_as_the_images_are(mixing):
    given = IMAGES.copy()
    for seed in range(20):
        mixed, targets = mix(given, np.eye(8, dtype=np.float32), mixing, random=np.random.default_rng(seed))
        assert mixed.dtype == np.uint8 and mixed.shape == IMAGES.shape and np.allclose(targets.sum(axis=1), 1)
        assert np.allclose(mixed.mean(axis=(1, 2, 3)), targets @ LEVELS, atol=0.51)
        assert mixing == "mixup" or set(np.unique(mixed)) == set(LEVELS)  # cutmix leaves each pixel to one image
    assert (given == IMAGES).all()


def test_a_network_in_training_sees_what_the_targets_say():
    mixed = Mixed(keras.Sequential([keras.Input((16, 16, 3), dtype="uint8"), keras.layers.Identity()]))
    batch, targets, _ = batches("cutmix", images=IMAGES)[0]
    seen = ops.convert_to_numpy(mixed(batch, training=True))
    assert np.allclose(seen.mean(axis=(1, 2, 3)), targets @ LEVELS, atol=0.51)
    assert not np.array_equal(seen, batch["image"])
    assert np.array_equal(mixed({"image": batch["image"]}), batch["image"])


def test_mixed_batches_are_reproducible_and_differ_from_epoch_to_epoch():
    first, again, other = batches(), batches(), batches(seed=1)
    pairs = zip(keras.tree.flatten(first[1]), keras.tree.flatten(again[1]), strict=True)
    assert all(np.array_equal(one, two) for one, two in pairs)
    before = first[1][1]
    assert np.array_equal(before, first[1][1]) and not np.array_equal(before, other[1][1])
    first.on_epoch_end()
    assert not np.array_equal(before, first[1][1])


def test_a_class_keeps_its_weight_when_it_is_mixed():
    """Weight times target is what a class counts in the loss: over an epoch as much as without mixing."""
    for mixing in ("none", "mixup"):
        epoch = [batches(mixing, "class_weight")[step] for step in range(5)]
        counted = sum((weights[:, None] * targets).sum(axis=0) for _, targets, weights in epoch)
        assert np.allclose(counted, 20, rtol=1e-4)
        assert all(np.allclose(targets.sum(axis=1), 1) for _, targets, _ in epoch)
