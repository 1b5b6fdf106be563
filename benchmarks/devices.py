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
from contextlib import contextmanager
from dataclasses import dataclass, field
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
    "MobileNet": lambda: mobilenet(Common(SIDE, CLASSES), Backbone(version=1, alpha=0.75, pretrained="none")),
}


def copy_layer(layer: keras.Layer) -> keras.Layer:
    """A copy of a layer, as `fused.fast_layer` makes it if there is no faster type."""
    return type(layer).from_config(layer.get_config())


# How each device is switched off: the object, the name of its attribute, and the replacement.
SWITCHES = {
    "fused batch normalisation": (compiled, "fast_layer", copy_layer),
    "fused Adam": (compiled, "adamw", RestartableAdamW),
    "no autotuning of tf.data": (Batches, "fit_arguments", lambda batches: {"x": batches}),
}
SHARED = "one compiled network"


@dataclass
class Setting:
    """All devices on, or one switched off. Each setting has its own compiled networks."""

    switch: tuple | None = None
    networks: dict = field(default_factory=dict)

    @contextmanager
    def active(self) -> Iterator[None]:
        with patch.object(compiled, "_networks", self.networks):
            if self.switch is None:
                yield
            else:
                with patch.object(*self.switch):
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
    model, settings = build(), {None: Setting()} | {name: Setting(switch) for name, switch in SWITCHES.items()}
    speeds = {name: [] for name in (*settings, SHARED, f"with {SHARED}")}
    for number in range(rounds + 1):
        for name, setting in settings.items():
            with setting.active():
                speed = images_per_second(model, samples)
            if number:  # the first round compiles
                speeds[name].append(speed)
        if number:
            with settings[None].active():
                speeds[f"with {SHARED}"].append(images_per_second(model, samples, whole=True))
            with Setting().active():
                speeds[SHARED].append(images_per_second(model, samples, whole=True))
    return [row(name, speeds[name], speeds[None]) for name in SWITCHES] + [
        row(SHARED, speeds[SHARED], speeds[f"with {SHARED}"])
    ]


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
