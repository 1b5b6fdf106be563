"""Stages on smaller images: which images, and that the network is the one that such images alone would have trained."""

from dataclasses import replace

import numpy as np
import pytest
from tiny import PARTS, RECIPE, TRAIN, small_cnn

from helpers.models.recipe import LAST_RATE, enlarge
from helpers.study import StudyError
from helpers.training.fit import fit, fit_stages
from helpers.training.predict import predict
from helpers.training.resizing import shrink_images


def test_squares_are_averaged():
    image = np.array([[0, 2, 10, 10], [4, 6, 10, 11], [0, 0, 255, 255], [0, 1, 255, 255]], np.uint8)
    small = shrink_images(np.repeat(image[None, :, :, None], 300, axis=0).repeat(3, axis=3), 2)
    assert small.dtype == np.uint8 and small.shape == (300, 2, 2, 3)
    assert (small == np.array([[3, 10], [0, 255]])[None, :, :, None]).all()


def test_a_side_that_cannot_be_divided_is_refused():
    with pytest.raises(StudyError, match="15 pixels wide cannot be shrunk to 1/2"):
        shrink_images(np.zeros((1, 15, 15, 3), np.uint8), 2)


def test_a_stage_on_small_images_trains_the_network_that_small_images_alone_would_train():
    large, small, recipe = small_cnn(side=16), small_cnn(side=8), replace(RECIPE, epochs=2)
    shrunk = shrink_images(TRAIN.pixels, 2), shrink_images(PARTS["validation"].pixels, 2)
    parts = {name: replace(PARTS[name], pixels=pixels) for name, pixels in zip(PARTS, shrunk, strict=True)}
    small.set_weights(large.get_weights())
    histories = [
        fit(large, PARTS, recipe=replace(recipe, shrink=2)).history,
        fit(small, parts, recipe=recipe).history,
    ]
    assert np.allclose(histories[0].val_loss, histories[1].val_loss, atol=1e-6)
    assert all(np.allclose(*pair, atol=1e-6) for pair in zip(large.get_weights(), small.get_weights(), strict=True))
    assert predict(large, PARTS["validation"]).shape == (len(PARTS["validation"]), 2)


def test_the_last_stage_sees_images_of_full_width():
    first, second = replace(RECIPE, epochs=1, trainable="head"), replace(RECIPE, epochs=2)
    assert enlarge([first, second], 0) == [first, second]
    stages = enlarge([first, second], 3)
    settings = [(stage.shrink, stage.epochs, stage.trainable) for stage in stages]
    assert settings == [(2, 1, "head"), (2, 2, "all"), (1, 3, "all")]
    assert stages[-1].learning_rate == LAST_RATE * RECIPE.learning_rate
    assert fit_stages(small_cnn(), PARTS, stages=stages).history.stage.tolist() == [1, 2, 2, 3, 3, 3]
