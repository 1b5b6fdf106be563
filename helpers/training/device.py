"""Batches shared among several devices."""

import keras

from helpers.study import StudyError

SMALLEST_BATCH = 32  # for prediction; a multiple of the number of devices


def share_batches(devices: int) -> None:
    """Split every batch among several devices, each with a copy of the network.

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
