"""Images on the device, and how much of its memory they may take."""

import os
import subprocess

import keras
import numpy as np

from helpers.study import StudyError

DEVICE_SHARE = 0.25  # of the device's memory that the images may take; the rest is for training
SMALLEST_BATCH = 32  # of few images; a multiple of the number of devices
_placed: dict[str, tuple] = {}  # the images that are on the device, as the array and the variable


def share_batches(devices: int) -> None:
    """Let so many devices share every batch, each with a copy of the network and of the images; 0: all there are.

    The loss and the gradients are those of the whole batch, batch normalisation included. Keras does this with JAX
    only, as of 3.15. Raises StudyError under another backend, if there are fewer devices, or if their number does not
    divide SMALLEST_BATCH.
    """
    if devices == 1:
        return
    if keras.config.backend() != "jax":
        raise StudyError(f"devices is {devices}: sharing batches among devices needs KERAS_BACKEND=jax.")
    known = keras.distribution.list_devices()
    if devices > len(known):
        raise StudyError(f"devices is {devices}, and there {'is' if len(known) == 1 else 'are'} {len(known)}.")
    shared_by = known[: devices or len(known)]
    if SMALLEST_BATCH % len(shared_by):
        raise StudyError(f"{len(shared_by)} devices cannot share batches of {SMALLEST_BATCH} evenly: choose 2, 4 or 8.")
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=shared_by, auto_shard_dataset=False))


def place(pixels: np.ndarray) -> keras.Variable | None:
    """The images uint8 [N, side, side, 3] as a variable on the device, or None where they do not fit.

    One array at a time is kept there. Images that take more than DEVICE_SHARE of its memory do not fit: they are
    fed from the host, batch by batch.
    """
    if on_device(pixels) is None and pixels.nbytes <= DEVICE_SHARE * device_memory():
        variable = keras.Variable(pixels, trainable=False, dtype="uint8", name="images")
        _placed["images"] = pixels, variable
    return on_device(pixels)


def on_device(pixels: np.ndarray) -> keras.Variable | None:
    """The variable that holds these very images on the device, if one does."""
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
