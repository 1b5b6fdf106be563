import keras
import numpy as np
import pytest

from helpers.backend import set_seed
from helpers.models.networks import classifier, cnn, cnn_backbone, mobilenet, mobilenet_backbone, pool, set_trainable
from helpers.models.pretrained import weights_file, weights_sha256
from helpers.models.sequence import ORDERS, READINGS, MapToSequence, read_as_sequence
from helpers.records import file_sha256
from helpers.study import StudyError

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)


def cnn_lstm(reading="rows", order="natural", **options):
    def backbone(images):
        return cnn_backbone(images, [4, 8], 1)

    def neck(features):
        return read_as_sequence(features, reading, 6, order=order, **options)

    return classifier(32, 7, backbone, neck, [8], 0.3, [], 0, "cnn_lstm")


NETWORKS = {
    "cnn": lambda: cnn(32, 7, [4, 8, 8], depth=2),
    **{f"cnn_lstm-{reading}": lambda reading=reading: cnn_lstm(reading) for reading in READINGS},
    "cnn_lstm-deep": lambda: cnn_lstm(lstm_layers=2, bidirectional=True),
    "mobilenet-1": lambda: mobilenet(32, 7, 1, 0.25),
    "mobilenet-2": lambda: mobilenet(32, 7, 2, 0.35),
    "mobilenet_lstm": lambda: classifier(
        64, 7, lambda images: mobilenet_backbone(images, 1, 0.25, "none", "conv_pw_11_relu"),
        lambda features: read_as_sequence(features, "snake", 6), [8], 0.3, ["flip"], 0, "cnn_lstm",
    ),
}  # fmt: skip
each_network = pytest.mark.parametrize("name", NETWORKS)


@each_network
def test_bytes_go_in_and_probabilities_come_out(name):
    model = NETWORKS[name]()
    images = np.random.default_rng(0).integers(0, 256, (5, *model.input_shape[1:]), np.uint8)
    out = model.predict(images, verbose=0)
    assert model.input.dtype == "uint8" and out.shape == (5, 7) and out.dtype == np.float32
    assert np.allclose(out.sum(axis=1), 1, atol=1e-5) and (out >= 0).all()


@each_network
def test_a_saved_network_predicts_the_same(name, tmp_path):
    model = NETWORKS[name]()
    images = np.random.default_rng(0).integers(0, 256, (5, *model.input_shape[1:]), np.uint8)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert np.array_equal(model.predict(images, verbose=0), loaded.predict(images, verbose=0))


@pytest.mark.parametrize("name", ["cnn", "cnn_lstm-rows", "mobilenet-1"])
def test_the_same_seed_gives_the_same_weights(name):
    weights = []
    for seed in (1, 1, 2):
        set_seed(seed)
        weights.append(np.concatenate([weight.ravel() for weight in NETWORKS[name]().get_weights()]))
    assert np.array_equal(weights[0], weights[1]) and not np.array_equal(weights[0], weights[2])


def test_depth_adds_convolutions_but_to_the_first_block():
    def convolutions(depth):
        return sum(isinstance(layer, keras.layers.Conv2D) for layer in cnn(32, 7, [4, 8, 8], depth=depth).layers)

    assert convolutions(1) == 3 and convolutions(2) == 5


@pytest.mark.parametrize(("stride", "side"), [(1, 8), (2, 4)])
def test_pooling_lies_between_the_blocks(stride, side):
    model = cnn(32, 7, [4, 8, 8], stride=stride)
    assert model.get_layer("head_pool").input.shape[1:] == (side, side, 8)


def test_an_image_too_small_for_its_blocks():
    with pytest.raises(StudyError, match="5 blocks at stride 2 need images of 32 px or more; side is 16"):
        cnn(16, 2, [4] * 5, stride=2)


def test_the_pooled_head_is_the_mean_of_the_map():
    features = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    assert np.allclose(pool(keras.ops.convert_to_tensor(features)), features.mean(axis=(1, 2)), atol=1e-6)


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
    out = [np.asarray(layer(grid, training=training))[..., 0] for _ in range(count)]
    assert all((batch == batch[0]).all() for batch in out)  # the same order for all images of a batch
    return [tuple(batch[0].astype(int)) for batch in out]


def test_shuffled_orders_really_shuffle():
    natural = tuple(range(25))
    assert set(orders(MapToSequence("raster"))) == {natural}
    (fixed,) = set(orders(MapToSequence("raster", "fixed")))
    assert fixed != natural and fixed == tuple(np.random.default_rng(0).permutation(25))  # under every backend
    assert set(orders(MapToSequence("raster", "fixed"), training=False)) == {fixed}
    fresh = orders(MapToSequence("raster", "fresh"))
    assert len(set(fresh)) == len(fresh) and all(sorted(order) == list(natural) for order in fresh)
    assert set(orders(MapToSequence("raster", "fresh"), training=False)) == {natural}


def test_a_fixed_order_survives_saving(tmp_path):
    model = cnn_lstm("raster", "fixed")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert np.array_equal(model.predict(IMAGES, verbose=0), loaded.predict(IMAGES, verbose=0))
    assert not np.allclose(model.predict(IMAGES, verbose=0), cnn_lstm("raster").predict(IMAGES, verbose=0))


@pytest.mark.parametrize(("option", "known"), [({"reading": "spiral"}, READINGS), ({"order": "random"}, ORDERS)])
def test_an_unknown_reading_or_order(option, known):
    with pytest.raises(StudyError, match=", ".join(known)):
        MapToSequence(**option)


def trainable(model):
    return {layer.name for layer in model.layers if layer.trainable_weights}


def test_what_is_trained_from_where():
    model = mobilenet(32, 7, 1, 0.25)
    everything = trainable(model)
    set_trainable(model, "head", "frozen")
    assert trainable(model) == {"head_norm", "head_softmax"}
    set_trainable(model, "conv_pw_12", "adapt")
    late = trainable(model)
    assert late == {"conv_pw_12", "conv_pw_12_bn", "conv_dw_13", "conv_dw_13_bn", "conv_pw_13", "conv_pw_13_bn"} | {
        "head_norm",
        "head_softmax",
    }
    set_trainable(model, "conv_pw_12", "frozen")
    assert trainable(model) == {name for name in late if not name.endswith("_bn")}
    set_trainable(model, "all", "adapt")
    assert trainable(model) == everything
    with pytest.raises(StudyError, match="no layer 'conv_99'.*conv_pw_1"):
        set_trainable(model, "conv_99", "adapt")


def test_frozen_batch_normalisation_keeps_its_statistics_in_training():
    model = mobilenet(32, 7, 1, 0.25)
    for how, moved in (("frozen", False), ("adapt", True)):
        set_trainable(model, "all", how)
        before = model.get_layer("conv1_bn").moving_mean.numpy()
        model(IMAGES, training=True)
        assert (model.get_layer("conv1_bn").moving_mean.numpy() != before).any() == moved


@pytest.fixture
def weights(tmp_path):
    """Weights of a MobileNet of a quarter of the width, as a file in a folder of such files."""
    path = tmp_path / "mobilenet_0.25_224_no_top.weights.h5"
    keras.applications.MobileNet(input_shape=(32, 32, 3), alpha=0.25, include_top=False, weights=None).save_weights(
        path
    )
    return path


def test_pretrained_weights_come_from_the_named_file(weights, monkeypatch):
    monkeypatch.delenv("PRETRAINED_DIR", raising=False)
    donor = keras.applications.MobileNet(input_shape=(32, 32, 3), alpha=0.25, include_top=False, weights=str(weights))
    model = mobilenet(32, 7, 1, 0.25, str(weights))
    for name in ("conv1", "conv_dw_7_bn", "conv_pw_13"):
        for own, given in zip(model.get_layer(name).get_weights(), donor.get_layer(name).get_weights(), strict=True):
            assert np.array_equal(own, given)
    assert weights_sha256(1, 0.25, str(weights)) == file_sha256(weights)
    assert weights_sha256(1, 0.25, "none") is None


def test_a_folder_of_weights_stands_in_for_the_download(weights, monkeypatch):
    monkeypatch.setenv("PRETRAINED_DIR", str(weights.parent))
    assert weights_file(1, 0.25, "imagenet") == weights
    with pytest.raises(StudyError, match="mobilenet_v2_1.0_224_no_top.weights.h5: no such weight file"):
        weights_file(2, 1, "imagenet")


def test_the_download_is_where_keras_has_it(monkeypatch):
    asked = []
    monkeypatch.delenv("PRETRAINED_DIR", raising=False)
    monkeypatch.setattr(keras.utils, "get_file", lambda name, address, **_: asked.append(address) or name)
    source = "https://storage.googleapis.com/tensorflow/keras-applications/"
    for application, version, alpha in (
        (keras.applications.MobileNet, 1, 0.75),
        (keras.applications.MobileNetV2, 2, 1),
    ):
        weights_file(version, float(alpha), "imagenet")
        module = __import__(application.__module__, fromlist=["file_utils"])
        monkeypatch.setattr(module.file_utils, "get_file", lambda name, address, **_: asked.append(address) or name)
        with pytest.raises((ValueError, OSError)):  # the made-up file is no weight file
            application(input_shape=(224, 224, 3), alpha=alpha, include_top=False, weights="imagenet")
        assert asked[-1] == asked[-2] and asked[-1].startswith(source)


def test_no_network_is_said(monkeypatch):
    def fail(*_, **__):
        raise OSError("unreachable")

    monkeypatch.delenv("PRETRAINED_DIR", raising=False)
    monkeypatch.setattr(keras.utils, "get_file", fail)
    with pytest.raises(StudyError, match="could not be fetched.*unreachable.*PRETRAINED_DIR"):
        weights_file(1, 1.0, "imagenet")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pretrained": "nowhere.h5"}, "nowhere.h5: no such weight file"),
        ({"pretrained": "WEIGHTS", "alpha": 0.5}, "not weights of MobileNet version 1 with alpha 0.5"),
        ({"pretrained": "README.md"}, "README.md: not weights of MobileNet"),
        ({"version": 3}, "version is 3; choose 1 or 2"),
        ({"pretrained": "imagenet", "alpha": 0.3}, "alpha is 0.3; there are ImageNet weights for 1.0, 0.75"),
    ],
)
def test_a_pretraining_that_cannot_be(options, message, weights, monkeypatch):
    monkeypatch.delenv("PRETRAINED_DIR", raising=False)
    given = {"version": 1, "alpha": 0.25} | options
    if given.get("pretrained") == "WEIGHTS":
        given["pretrained"] = str(weights)
    with pytest.raises(StudyError, match=message):
        mobilenet(32, 7, **given)


def test_batch_normalisation_follows_within_a_small_study():
    momenta = {layer.momentum for layer in mobilenet(32, 7, 1, 0.25).layers if hasattr(layer, "moving_mean")}
    assert momenta == {layer.momentum for layer in cnn(32, 7, [4, 8]).layers if hasattr(layer, "moving_mean")} == {0.9}


def test_a_map_that_mobilenet_does_not_have():
    with pytest.raises(StudyError, match="no layer 'conv_pw_99'"):
        mobilenet_backbone(keras.Input((32, 32, 3)), 1, 0.25, "none", "conv_pw_99")


def test_the_demo_starts_from_weights_that_fit():
    """The notebooks' default: its checksum is in the record, and its features differ from random ones."""
    name = "helpers/models/demo_mobilenet.weights.h5"
    learnt = mobilenet(64, 7, 1, 0.25, name)
    assert len(weights_sha256(1, 0.25, name)) == 64
    fresh = mobilenet(64, 7, 1, 0.25, "none")
    trained = learnt.get_layer("conv_pw_13_bn").moving_mean
    assert float(keras.ops.max(keras.ops.abs(trained))) > 0
    assert float(keras.ops.max(keras.ops.abs(fresh.get_layer("conv_pw_13_bn").moving_mean))) == 0


def test_the_head_of_a_mobilenet_normalises_what_the_backbone_gives():
    """It goes on doing so while the backbone's own normalisations are frozen."""
    model = mobilenet(32, 7, alpha=0.25)
    set_trainable(model, "head", "frozen")
    norms = {
        layer.name: layer.trainable for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)
    }
    assert norms.pop("head_norm") and not any(norms.values())
    images = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3)).astype(np.uint8)
    seen = keras.Model(model.inputs, model.get_layer("head_norm").output)(images, training=True)
    assert np.allclose(np.mean(seen, axis=(0, 1, 2)), 0, atol=1e-3)
