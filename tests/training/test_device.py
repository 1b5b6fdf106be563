"""Images on the device, and batches shared among several devices."""

import os

import keras
import numpy as np
import pytest
from tiny import bright_or_dark

from helpers.study import StudyError
from helpers.training import device
from helpers.training.device import device_images, place_images, share_batches


def test_only_the_very_images_are_taken_from_the_device(monkeypatch):
    monkeypatch.setattr(device, "_placed", {})
    pixels = bright_or_dark().pixels
    assert device_images(pixels) is None
    variable = place_images(pixels)
    assert place_images(pixels) is variable and device_images(pixels.copy()) is None
    assert np.array_equal(keras.ops.convert_to_numpy(variable), pixels)
    place_images(bright_or_dark(seed=1).pixels)
    assert device_images(pixels) is None


def test_memory_is_that_of_the_gpu_or_of_the_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert device.device_memory() == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 16384\n")
    tool.chmod(0o755)
    assert device.device_memory() == 16 * 2**30


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
from tiny import RECIPE, TRAIN, VALIDATION, small_cnn
from helpers.training.device import share_batches
from helpers.training.fit import fit
model = small_cnn()
share_batches(int(sys.argv[1]))
fitted = fit(model, TRAIN, VALIDATION, recipe=replace(RECIPE, epochs=2))
print("losses", *fitted.history["loss"], *fitted.history["val_loss"], abs(model.get_weights()[0]).sum())
"""


def test_two_devices_give_the_loss_of_one(under_jax):
    losses = []
    for devices in ("1", "2"):
        output = under_jax("-c", TWO_DEVICES, devices, XLA_FLAGS="--xla_force_host_platform_device_count=2")
        (line,) = [line for line in output.splitlines() if line.startswith("losses")]
        losses.append([float(value) for value in line.split()[1:]])
    assert np.allclose(*losses, rtol=1e-4) and len(losses[0]) == 5
