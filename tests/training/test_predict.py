"""Predictions, in one view of each image and in eight, and the features behind them."""

import keras
import numpy as np
import pandas as pd
import pytest
from tiny import TRAIN, small_cnn

from helpers.data.pixels import PixelCache
from helpers.data.samples import Samples, part_samples
from helpers.study import StudyError
from helpers.training.features import features, logits
from helpers.training.predict import predict, predictions_table, symmetries

FEW = Samples(TRAIN.pixels, np.array([3, 1, 8]), np.zeros(3, int))


def test_parts_of_the_split_find_their_pixels():
    cache = PixelCache(np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1), np.array(["a", "b", "c"]))
    split = pd.DataFrame({"image_id": ["c", "a"], "label": ["mel", "nv"], "part": ["test", "test"]})
    samples = part_samples(split, cache, ["mel", "nv"], part="test")
    assert samples.rows.tolist() == [2, 0] and samples.labels.tolist() == [0, 1]
    with pytest.raises(StudyError, match="no images in its train part"):
        part_samples(split, cache, ["mel", "nv"], part="train")
    table = predictions_table(split, "test", np.array([[0.25, 0.75], [1.0, 0.0]]), codes=["mel", "nv"])
    values = [["c", "a"], ["test", "test"], ["mel", "nv"], [0.25, 1.0], [0.75, 0.0]]
    assert table.to_dict("list") == dict(zip(["image_id", "part", "label", "mel", "nv"], values, strict=True))


def test_the_eight_symmetries_are_all_different():
    image = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)
    views = [np.ascontiguousarray(view) for view in symmetries(image)]
    assert len({view.tobytes() for view in views}) == 8 and np.array_equal(views[0], image)


def test_eight_views_are_the_mean_and_do_not_see_how_an_image_lies():
    model = small_cnn()
    pixels, rows = TRAIN.pixels[FEW.rows], np.arange(3)
    samples, *turned = (Samples(view, rows, FEW.labels) for view in symmetries(pixels))
    mean = np.mean([predict(model, view) for view in (samples, *turned)], axis=0)
    assert np.allclose(predict(model, samples, 8), mean, atol=1e-6)
    assert np.allclose(predict(model, samples, 8), predict(model, turned[0], 8), atol=1e-6)
    assert not np.allclose(predict(model, samples), predict(model, turned[0]), atol=1e-6)
    with pytest.raises(StudyError, match="views is 3; it has to be 1 or 8"):
        predict(model, samples, 3)


def test_features_go_into_the_head_and_logits_into_the_softmax():
    model = small_cnn()
    before = keras.Model(model.inputs, model.get_layer("head_pool").output)
    found = features(model, FEW)
    assert found.shape == (3, 8) and found.dtype == np.float32
    assert np.allclose(found, before.predict(FEW.pixels[FEW.rows], verbose=0), atol=1e-5)
    odds = np.exp(logits(model, FEW))
    assert np.allclose(odds / odds.sum(axis=1, keepdims=True), predict(model, FEW), atol=1e-6)
