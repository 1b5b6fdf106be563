"""The benchmark's arithmetic, and one round of it at its smallest."""

import sys

import keras
import numpy as np
import pandas as pd
import pytest

from helpers.study import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import throughput  # noqa: E402, benchmarks are no package
from test_training import bright_or_dark, small_cnn  # noqa: E402


def test_speeds_are_medians_and_shares_of_the_ceiling():
    given = {"study": iter([90.0, 50.0, 80.0]), "one batch": iter([100.0, 160.0, 90.0])}
    ways = {way: (lambda own=speeds: next(own), lambda: 7.0) for way, speeds in given.items()}
    rows = {(row["way"], row["what"]): row for row in throughput._rounds(ways, 3)}
    training = rows["study", "training"]
    assert (training["median"], training["low"], training["high"]) == (80.0, 50.0, 90.0)
    assert training["share_of_ceiling"] == 0.8 and rows["study", "prediction"]["share_of_ceiling"] == 1.0


def test_the_study_and_its_ceiling_are_measured():
    samples = bright_or_dark(64)
    ways = {
        "study": throughput.study_speeds(small_cnn, samples, 8),
        "one batch": throughput.bare_speeds(small_cnn, samples, 8),
    }
    for speeds in ways.values():
        assert all(np.isfinite(speed()) and speed() > 0 for speed in speeds)


def test_a_bare_step_trains():
    """Its loss falls on the one batch that it sees, well below what chance gives it."""
    keras.utils.set_random_seed(0)
    samples = bright_or_dark(64)
    reader, data, large = throughput._bare_reader(small_cnn, samples, 8)
    train, _ = throughput._bare_steps(reader, data, large)
    losses = [float(np.asarray(train())) for _ in range(200)]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("study", ["demo", "ham10000", "ham10000_cpu", "isic2019", "isic2019_cpu"])
def test_networks_are_those_of_the_study(study):
    """And their weights, which are published with its results, take less than 16 MB each."""
    networks = throughput.networks(study, 8)
    assert list(networks) == ["CNN", "CNN-LSTM", "MobileNet"]
    for build in networks.values():
        model = build()
        assert model.output_shape == (None, 8) and 4 * model.count_params() < 16e6


def test_too_few_images_to_measure_are_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["throughput.py", "--images", "100"])
    with pytest.raises(SystemExit):
        throughput.main()
    assert "128 or more" in capsys.readouterr().err


def test_all_ways_are_measured_under_jax(under_jax, tmp_path):
    """The stock recipe too, whose pictures TensorFlow reads; PyTorch where it is there."""
    command = ["benchmarks/throughput.py", "--study", "demo", "--images", "128", "--rounds", "1"]
    under_jax(*command, "--out", str(tmp_path))
    table = pd.read_csv(tmp_path / "throughput.csv")
    assert set(table["backend"]) == {"jax"} and set(table["way"]) >= {"study", "stock", "one batch"}
    assert (table["median"] > 0).all() and (tmp_path / "throughput.png").stat().st_size > 0
    assert table.groupby("network").size().eq(2 * table["way"].nunique()).loc["MobileNet"]
