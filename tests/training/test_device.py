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
from helpers.training import compiled
from helpers.training.device import share_batches
from helpers.training.fit import fit
for devices in (1, 2):
    compiled._networks.clear()
    share_batches(devices)
    model = small_cnn()
    fitted = fit(model, PARTS, recipe=replace(RECIPE, epochs=2))
    print("losses", *fitted.history["loss"], *fitted.history["val_loss"], abs(model.get_weights()[0]).sum())
"""


def test_two_devices_give_the_loss_of_one(under_jax):
    output = under_jax("-c", TWO_DEVICES, XLA_FLAGS="--xla_force_host_platform_device_count=2")
    lines = [line.split()[1:] for line in output.splitlines() if line.startswith("losses")]
    one, two = ([float(value) for value in line] for line in lines)
    assert np.allclose(one, two, rtol=1e-4) and len(one) == 5
