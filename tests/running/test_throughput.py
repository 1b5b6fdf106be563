"""The benchmark's arithmetic, and one round of it at its smallest."""

import sys
from importlib.util import find_spec

import keras
import numpy as np
import pandas as pd
import pytest

from helpers.running.jobs import SHARING
from helpers.study import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import devices  # noqa: E402, benchmarks are no package
import throughput  # noqa: E402
from tiny import bright_or_dark, small_cnn  # noqa: E402

TORCH = ("PyTorch", "PyTorch, one batch") if find_spec("torch") else ()


def test_speeds_are_medians_and_shares_are_those_of_the_fastest():
    given = {"study": iter([90.0, 50.0, 80.0]), "one batch": iter([100.0, 160.0, 90.0])}
    ways = {way: (lambda own=speeds: next(own), lambda: 7.0) for way, speeds in given.items()}
    rows = {(row["way"], row["what"]): row for row in throughput._rounds(ways, 3)}
    training = rows["study", "training"]
    assert (training["median"], training["low"], training["high"]) == (80.0, 50.0, 90.0)
    assert training["share_of_ceiling"] == 0.562 and rows["study", "prediction"]["share_of_ceiling"] == 1.0


@pytest.mark.slow
@pytest.mark.jax
def test_the_study_and_its_ceiling_are_measured():
    samples = bright_or_dark(64)
    ways = {
        "study": throughput.study_speeds(small_cnn, samples, 8),
        "one batch": throughput.bare_speeds(small_cnn, samples, 8),
    }
    for speeds in ways.values():
        assert all(np.isfinite(speed()) and speed() > 0 for speed in speeds)


@pytest.mark.parametrize("study", ["demo", "ham10000", "ham10000_cpu", "isic2019", "isic2019_cpu"])
def test_networks_are_those_of_the_study(study):
    """And their weights, which are published with its results, take less than 16 MB each."""
    networks = throughput.networks(study, 8)
    assert list(networks) == ["CNN", "CNN-LSTM", "MobileNet"]
    for build in networks.values():
        model = build()
        assert model.output_shape == (None, 8) and 4 * model.count_params() < 16e6


@pytest.mark.slow
def test_all_ways_come_into_the_table_and_its_figure(monkeypatch, tmp_path):
    """On the demo's pictures, with a small network in place of MobileNet, and PyTorch's own where it is installed."""
    monkeypatch.setattr(throughput, "networks", lambda _, classes: {"MobileNet": lambda: small_cnn(64, classes, [4])})
    monkeypatch.setattr(throughput, "STEPS", 2)
    for name, value in SHARING.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["throughput.py", "--images", "128", "--rounds", "1", "--out", str(tmp_path)])
    throughput.main()
    table = pd.read_csv(tmp_path / "throughput.csv")
    ways = {"study", "one batch", *({"stock"} if find_spec("tensorflow") else ()), *TORCH}
    assert set(table["way"]) == ways and len(table) == 2 * len(ways) and (table["median"] > 0).all()
    assert set(table["backend"]) == {keras.config.backend()} and (tmp_path / "throughput.png").stat().st_size > 0


def test_the_gain_of_a_device_is_the_median_of_its_pairs():
    """Speeds and images per second of processor time, without the device and with it."""
    row = devices.row("made up", [(10.0, 5.0), (20.0, 5.0), (10.0, 5.0)], [(20.0, 5.0), (50.0, 10.0), (10.0, 6.0)])
    assert row == {"device": "made up", "off": 10.0, "on": 20.0, "gain": 1.0, "gain_in_processor_time": 0.2}


@pytest.mark.slow
@pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="devices of TensorFlow")
def test_every_device_has_a_row_and_is_on_again_afterwards(monkeypatch):
    for name, value in {"SIDE": 16, "CLASSES": 2}.items():
        monkeypatch.setattr(devices, name, value)
    before, kept = [getattr(place, name) for place, name, _ in devices.SWITCHES.values()], "fused Adam"
    with monkeypatch.context() as patch:
        patch.setattr(devices, "SWITCHES", {kept: devices.SWITCHES[kept]})  # the others would only compile more
        rows = devices.measure(small_cnn, 2, 1)
    assert [row["device"] for row in rows] == [kept, devices.SHARED]
    assert all(row["on"] > 0 and row["off"] > 0 for row in rows)
    assert [getattr(place, name) for place, name, _ in devices.SWITCHES.values()] == before
