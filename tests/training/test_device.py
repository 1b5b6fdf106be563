"""Batches shared among several devices."""

import keras
import numpy as np
import pytest

from helpers.study import StudyError
from helpers.training.device import share_batches


def test_more_devices_than_there_are():
    error = "needs KERAS_BACKEND=jax" if keras.config.backend() != "jax" else "devices is 64, but this machine has"
    with pytest.raises(StudyError, match=error):
        share_batches(64)
    share_batches(1)
    assert keras.distribution.distribution() is None


TWO_DEVICES = """
import sys
from dataclasses import replace
sys.path.insert(0, "tests")
from tiny import PARTS, RECIPE, small_cnn
from helpers.training.device import share_batches
from helpers.training.fit import fit
model = small_cnn()
share_batches(int(sys.argv[1]))
fitted = fit(model, PARTS, recipe=replace(RECIPE, epochs=2))
print("losses", *fitted.history["loss"], *fitted.history["val_loss"], abs(model.get_weights()[0]).sum())
"""


def test_two_devices_give_the_loss_of_one(under_jax):
    losses = []
    for devices in ("1", "2"):
        output = under_jax("-c", TWO_DEVICES, devices, XLA_FLAGS="--xla_force_host_platform_device_count=2")
        (line,) = [line for line in output.splitlines() if line.startswith("losses")]
        losses.append([float(value) for value in line.split()[1:]])
    assert np.allclose(*losses, rtol=1e-4) and len(losses[0]) == 5
