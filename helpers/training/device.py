"""Images on the device, and how much of its memory they may take."""

import os
import subprocess

import keras
import numpy as np

from helpers.study import StudyError

MEMORY_SHARE = 0.25  # share of the device's memory that images may take; the rest is for training
SMALLEST_BATCH = 32  # for prediction; a multiple of the number of devices
_placed: dict[str, tuple[np.ndarray, keras.Variable]] = {}  # at most one entry, "images"


def share_batches(devices: int) -> None:
    """Split every batch among several devices, each with a copy of the network and of the images.

    devices: their number, or 0 for all. Loss, gradients and batch normalisation are computed over the whole batch.
    Raises StudyError under a backend other than JAX (Keras 3.15 splits batches only with JAX), if there are fewer
    devices, or if their number does not divide SMALLEST_BATCH.
    """
    if devices == 1:
        return
    if keras.config.backend() != "jax":
        raise StudyError(f"devices is {devices}: sharing batches among devices needs KERAS_BACKEND=jax.")
    known = keras.distribution.list_devices()
    if devices > len(known):
        raise StudyError(f"devices is {devices}, but this machine has {len(known)}. Set devices to 0 to use all.")
    used = known[: devices or len(known)]
    if SMALLEST_BATCH % len(used):
        raise StudyError(f"{len(used)} devices cannot share batches of {SMALLEST_BATCH} evenly: choose 2, 4 or 8.")
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=used, auto_shard_dataset=False))


def place_images(pixels: np.ndarray) -> keras.Variable | None:
    """Copy images uint8 [N, side, side, 3] to a variable on the device, or return None if they do not fit.

    The device holds one array at a time. Images that need more than MEMORY_SHARE of its memory do not fit: they are fed
    from the host, batch by batch.
    """
    if device_images(pixels) is None and pixels.nbytes <= MEMORY_SHARE * device_memory():
        variable = keras.Variable(pixels, trainable=False, dtype="uint8", name="images")
        _placed["images"] = pixels, variable
    return device_images(pixels)


def device_images(pixels: np.ndarray) -> keras.Variable | None:
    """The variable that holds this very array on the device, or None."""
    array, variable = _placed.get("images", (None, None))
    return variable if array is pixels else None


def device_memory() -> int:
    """Bytes of memory of the GPU that Keras uses, or of the machine if there is none."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
        return int(listed.split()[0]) * 2**20
    except (OSError, subprocess.SubprocessError, IndexError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
