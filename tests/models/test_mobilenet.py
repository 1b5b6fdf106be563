import keras
import numpy as np
import pytest

from helpers.models.head import Common
from helpers.models.mobilenet import Backbone, mobilenet, weights_file
from helpers.models.networks import pretrained_sha256
from helpers.records import file_sha256
from helpers.study import StudyError

COMMON = Common(32, 7)


@pytest.fixture(scope="module")
def donor():
    return keras.applications.MobileNet(input_shape=(32, 32, 3), alpha=0.25, include_top=False, weights=None)


@pytest.fixture(scope="module")
def weights(donor, tmp_path_factory):
    """A folder with one file of pretrained weights: those of a MobileNet of a quarter of the width."""
    path = tmp_path_factory.mktemp("weights") / "mobilenet_0.25_224_no_top.weights.h5"
    donor.save_weights(path)
    return path


@pytest.fixture(autouse=True)
def no_folder_of_weights(monkeypatch):
    monkeypatch.delenv("PRETRAINED_DIR", raising=False)


def test_pretrained_weights_come_from_the_named_file(weights, donor):
    model = mobilenet(COMMON, Backbone(0.25, str(weights)))
    for name in ("conv1", "conv_dw_7_bn", "conv_pw_13"):
        pairs = zip(model.get_layer(name).get_weights(), donor.get_layer(name).get_weights(), strict=True)
        assert all(np.array_equal(found, given) for found, given in pairs)
    parameters = {"alpha": 0.25, "pretrained": str(weights)}
    assert pretrained_sha256("mobilenet", parameters) == file_sha256(weights)
    assert pretrained_sha256("mobilenet", parameters | {"pretrained": "none"}) is None
    assert pretrained_sha256("cnn", parameters) is None


def test_a_folder_of_weights_stands_in_for_the_download(weights, monkeypatch):
    monkeypatch.setenv("PRETRAINED_DIR", str(weights.parent))
    assert weights_file(Backbone(0.25, "imagenet")) == weights
    with pytest.raises(StudyError, match="mobilenet_1.0_224_no_top.weights.h5: no such weight file"):
        weights_file(Backbone(1, "imagenet"))


def test_the_download_is_where_keras_has_it(monkeypatch):
    asked, application, alpha = [], keras.applications.MobileNet, 0.75
    record = lambda name, address, **_: asked.append(address) or name  # noqa: E731
    monkeypatch.setattr(keras.utils, "get_file", record)
    weights_file(Backbone(alpha, "imagenet"))
    monkeypatch.setattr(f"{application.__module__}.file_utils.get_file", record)
    with pytest.raises((ValueError, OSError)):  # the made-up file is no weight file
        application(input_shape=(224, 224, 3), alpha=alpha, include_top=False, weights="imagenet")
    assert asked[0] == asked[1] and asked[0].startswith("https://storage.googleapis.com/tensorflow/keras-applications/")


def test_no_network_is_said(monkeypatch):
    def fail(*_, **__):
        raise OSError("unreachable")

    monkeypatch.setattr(keras.utils, "get_file", fail)
    with pytest.raises(StudyError, match="could not be downloaded.*unreachable.*PRETRAINED_DIR"):
        weights_file(Backbone(1.0, "imagenet"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pretrained": "nowhere.h5"}, "nowhere.h5: no such weight file"),
        ({"pretrained": "WEIGHTS", "alpha": 0.5}, "not weights of MobileNet with alpha 0.5"),
        ({"pretrained": "README.md"}, "README.md: not weights of MobileNet"),
        ({"pretrained": "imagenet", "alpha": 0.3}, "alpha is 0.3; ImageNet weights exist for 1.0, 0.75"),
        ({"map_layer": "conv_pw_99"}, "no layer 'conv_pw_99'"),
    ],
)
def test_a_backbone_that_cannot_be(options, message, weights):
    given = {"alpha": 0.25} | options
    if given.get("pretrained") == "WEIGHTS":
        given["pretrained"] = str(weights)
    with pytest.raises(StudyError, match=message):
        mobilenet(COMMON, Backbone(**given))


def test_the_demo_starts_from_weights_that_fit():
    """The notebooks' default: it has learnt, so its moving averages are not those of a fresh network."""
    name = "helpers/models/demo_mobilenet.weights.h5"
    averages = mobilenet(Common(64, 7), Backbone(0.25, name)).get_layer("conv_pw_13_bn").moving_mean
    assert float(keras.ops.max(keras.ops.abs(averages))) > 0
