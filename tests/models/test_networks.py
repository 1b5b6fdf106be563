import inspect
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from helpers.backend import set_seed
from helpers.models.head import ORDERS, READINGS, Common, Lstm, MapToSequence
from helpers.models.mobilenet import Backbone, mobilenet
from helpers.models.networks import KINDS, Convolutions, build_network, cnn
from helpers.sentences import show_source
from helpers.study import ROOT, StudyError, declared_parameters

COMMON, BLOCKS, SMALL = Common(32, 7, [8], augmentation=[]), Convolutions([4, 8]), Backbone(0.25)
NETWORKS = {
    "cnn": lambda: cnn(COMMON, Convolutions([4, 8, 8], depth=2)),
    "cnn_lstm": lambda: cnn(COMMON, BLOCKS, Lstm("snake", 6)),
    "cnn_lstm-fixed": lambda: cnn(COMMON, BLOCKS, Lstm("columns", 6, order="fixed")),
    "mobilenet-1": lambda: mobilenet(Common(32, 7), SMALL),
    "mobilenet_lstm": lambda: mobilenet(
        Common(64, 7, [8]), Backbone(0.25, map_layer="conv_pw_11_relu"), Lstm("raster", 6)
    ),
}


def images_for(model, count=3):
    return np.random.default_rng(0).integers(0, 256, (count, *model.input_shape[1:]), np.uint8)


@pytest.mark.parametrize("name", NETWORKS)
def test_bytes_become_probabilities_and_a_saved_network_gives_the_same(name, tmp_path):
    model = NETWORKS[name]()
    answers = ops.convert_to_numpy(model(images_for(model)))
    assert model.input.dtype == "uint8" and answers.shape == (3, 7) and answers.dtype == np.float32
    assert np.allclose(answers.sum(axis=1), 1, atol=1e-5) and (answers >= 0).all()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    (again,) = keras.tree.flatten(loaded(images_for(model)))
    assert np.array_equal(ops.convert_to_numpy(again), answers)


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_of_each_kind_comes_from_the_parameters_of_a_run(kind):
    parameters = declared_parameters(ROOT / "notebooks" / "09_tuning.ipynb") | {"side": 32, "pretrained": "none"}
    models = []
    for _ in range(2):
        set_seed(1)
        models.append(build_network(kind, parameters, 7))
    assert models[0].name == kind and models[0].output_shape == (None, 7)
    pairs = zip(models[0].get_weights(), models[1].get_weights(), strict=True)
    assert all(np.array_equal(first, again) for first, again in pairs)


def test_an_unknown_kind():
    with pytest.raises(StudyError, match="network 'resnet': choose one of cnn, cnn_lstm, mobilenet"):
        build_network("resnet", {}, 7)


def test_depth_adds_convolutions_to_all_blocks_but_the_first():
    layers = cnn(COMMON, Convolutions([4, 8, 8], depth=2)).layers
    assert [layer.filters for layer in layers if isinstance(layer, keras.layers.Conv2D)] == [4, 8, 8, 8, 8]


@pytest.mark.parametrize(("stride", "side"), [(1, 8), (2, 4)])
def test_pooling_lies_between_the_blocks(stride, side):
    model = cnn(COMMON, Convolutions([4, 8, 8], stride=stride))
    assert model.get_layer("head_pool").input.shape[1:] == (side, side, 8)


def test_an_image_too_small_for_its_blocks():
    with pytest.raises(StudyError, match="5 blocks at stride 2 need images of 32 px or more; side is 16"):
        cnn(Common(16, 2), Convolutions([4] * 5, stride=2))


def test_batch_normalisation_follows_within_a_small_study():
    for model in (cnn(COMMON, BLOCKS), mobilenet(Common(32, 7), SMALL)):
        assert {layer.momentum for layer in model.layers if hasattr(layer, "moving_mean")} == {0.9}


@pytest.mark.parametrize(
    ("reading", "path"),
    [
        ("rows", [[0, 1, 2], [3, 4, 5]]),
        ("columns", [[0, 3], [1, 4], [2, 5]]),
        ("raster", [[0], [1], [2], [3], [4], [5]]),
        ("snake", [[0], [1], [2], [5], [4], [3]]),
    ],
)
def test_a_map_of_two_rows_is_read(reading, path):
    grid = np.arange(6, dtype=np.float32).reshape(1, 2, 3, 1)
    assert np.asarray(MapToSequence(reading)(grid))[0].tolist() == path


def orders(layer, count=6, training=True):
    """The order in which the cells of a 5 x 5 map come out, for one batch after another."""
    grid = np.arange(25, dtype=np.float32).reshape(1, 5, 5, 1).repeat(3, axis=0)
    batches = [np.asarray(layer(grid, training=training))[..., 0] for _ in range(count)]
    assert all((batch == batch[0]).all() for batch in batches)  # the same order for all images of a batch
    return [tuple(batch[0].astype(int)) for batch in batches]


def test_shuffled_orders_really_shuffle():
    natural = tuple(range(25))
    assert set(orders(MapToSequence("raster"))) == {natural}
    fixed = tuple(np.random.default_rng(0).permutation(25))  # under every backend
    assert set(orders(MapToSequence("raster", "fixed"))) == {fixed}
    assert set(orders(MapToSequence("raster", "fixed"), training=False)) == {fixed}
    fresh = orders(MapToSequence("raster", "fresh"))
    assert len(set(fresh)) == len(fresh) and all(sorted(order) == list(natural) for order in fresh)
    assert set(orders(MapToSequence("raster", "fresh"), training=False)) == {natural}


@pytest.mark.parametrize(("option", "known"), [({"reading": "spiral"}, READINGS), ({"order": "random"}, ORDERS)])
def test_an_unknown_reading_or_order(option, known):
    with pytest.raises(StudyError, match=", ".join(known)):
        MapToSequence(**option)


def test_the_code_that_a_notebook_shows_is_the_code_that_runs(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    show_source(cnn, MapToSequence.call)
    assert shown[0].data == inspect.getsource(cnn) and shown[0].language == "python"
    assert shown[1].data.startswith("def call(self, features")


def test_a_published_model_loads_in_a_new_process():
    """There nothing but the loading itself has registered the layers of saved models."""
    code = "from helpers.models.published import load_model; print(load_model('CNN', 'ham10000_cpu')[0].output_shape)"
    results = os.environ | {"RESULTS_DIR": str(ROOT / "results")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=results, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "(None, 7)"
