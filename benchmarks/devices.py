"""How much each device (a technique in `helpers.training`) speeds up training: one switched off, against all on.

`make bench` measures the CNN and MobileNet at the sizes below on random images, which train as fast as real ones. Each
round measures every setting once. The gain is the speed with the device divided by the speed without it, minus one,
as the median over the rounds. `gain_in_processor_time` is the same for processor time per image, which other programs
on the machine disturb less. The table is written to benchmarks/devices.csv. TensorFlow is required.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import keras
import numpy as np
import pandas as pd

from helpers.backend import device_name
from helpers.data.samples import Samples
from helpers.models.head import Common
from helpers.models.mobilenet import Backbone, mobilenet
from helpers.models.networks import Convolutions, cnn
from helpers.models.recipe import Recipe
from helpers.records import write_csv
from helpers.study import ROOT
from helpers.training import compiled
from helpers.training.batches import Batches
from helpers.training.fit import fit
from helpers.training.fused import RestartableAdamW

SIDE, CLASSES, STEPS = 112, 7, 20
RECIPE = Recipe(epochs=1, batch_size=32, learning_rate=1e-3, weight_decay=1e-4, imbalance="none", patience=1, seed=0)
NETWORKS = {
    "CNN": lambda: cnn(Common(SIDE, CLASSES, [64]), Convolutions([16, 32, 64, 96], stride=2)),
    "MobileNet": lambda: mobilenet(Common(SIDE, CLASSES), Backbone(alpha=0.75, pretrained="none")),
}


# How each device is switched off: the object, the name of its attribute, and the replacement.
SWITCHES = {
    "fused batch normalisation": (compiled, "fast_layer", lambda layer: type(layer).from_config(layer.get_config())),
    "fused Adam": (compiled, "adamw", RestartableAdamW),
    "no autotuning of tf.data": (Batches, "fit_arguments", lambda batches: {"x": batches}),
}
SHARED = "one compiled network"


@contextmanager
def active(networks: dict, switch: tuple | None = None) -> Iterator[None]:
    """All devices on, or one switched off; `networks` holds what was compiled so."""
    with ExitStack() as stack:
        for patched in ((compiled, "_networks", networks), *([switch] if switch else [])):
            stack.enter_context(patch.object(*patched))
        yield


def images_per_second(model: keras.Model, samples: Samples, whole: bool = False) -> tuple[float, float]:
    """Images per second in an epoch of training, and per second of processor time.

    whole: measure the whole call of `fit`, including compiling.
    """
    started, processor = time.perf_counter(), time.process_time()
    few = Samples(samples.pixels, samples.rows[:CLASSES], samples.labels[:CLASSES])
    fitted = fit(model, {"train": samples, "validation": few}, recipe=RECIPE)
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    return len(samples) / (seconds if whole else fitted.history["seconds"].median()), len(samples) / processor


def measure(build: Callable[[], keras.Model], steps: int, rounds: int) -> list[dict]:
    """One row per device: median speeds in images per second without it and with it, and its gain."""
    count = steps * RECIPE.batch_size
    pixels = np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)
    samples = Samples(pixels, np.arange(count), np.arange(count) % CLASSES)
    model, networks = build(), {name: {} for name in (None, *SWITCHES)}
    speeds = {name: [] for name in (*networks, SHARED, f"with {SHARED}")}
    for _number in range(rounds + 1):
        for name, compiled_so in networks.items():
            with active(compiled_so, SWITCHES.get(name)):
                speeds[name].append(images_per_second(model, samples))
        for name, compiled_so in ((SHARED, {}), (f"with {SHARED}", networks[None])):
            with active(compiled_so):
                speeds[name].append(images_per_second(model, samples, whole=True))
    on = dict.fromkeys(SWITCHES, None) | {SHARED: f"with {SHARED}"}
    return [row(name, speeds[name][1:], speeds[on[name]][1:]) for name in on]  # the first round compiles


def row(name: str, off: list[tuple[float, float]], on: list[tuple[float, float]]) -> dict:
    """The median speeds without and with a device, and the median gain over the rounds."""
    off, on = np.array(off), np.array(on)
    gains = np.median(on / off, axis=0) - 1
    values = {"off": np.median(off[:, 0]), "on": np.median(on[:, 0])}
    values |= {"gain": gains[0], "gain_in_processor_time": gains[1]}
    return {"device": name} | {key: round(float(value), 2) for key, value in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS, help="steps per epoch")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    rows = []
    for name, build in NETWORKS.items():
        rows += [{"network": name} | one for one in measure(build, options.steps, options.rounds)]
        about = {"side": SIDE, "batch": RECIPE.batch_size, "steps": options.steps, "rounds": options.rounds}
        table = pd.DataFrame(rows).assign(**about, machine=device_name())
        write_csv(ROOT / "benchmarks" / "devices.csv", table)
        print(table.to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
