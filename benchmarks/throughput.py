"""How fast the study trains and predicts, compared with stock Keras, PyTorch, and the upper limit of the machine.

`make bench` measures the CNN, the CNN-LSTM and MobileNet of a study, on data/ham10000 or the folder in DATA_DIR, or on
the demo if neither exists. One process measures all ways in turn, with the same images and batch size. The table is
written to benchmarks/throughput.csv, with the figure beside it. The ways:

study           helpers.training: batches gathered from the pixel cache
stock           image_dataset_from_directory on the JPEG files, and plain `fit`; needs TensorFlow to read the files
PyTorch         MobileNet in PyTorch, with a DataLoader on the JPEG files and one process per core; needs torch. It only
                mirrors images, while the study uses more augmentations
one batch       the study's compiled step on one batch that stays on the device: the upper limit ("ceiling")
PyTorch, one    the same in PyTorch

The study's speed is that of a training epoch, without the evaluation on validation after it. KERAS_BACKEND=jax measures
JAX instead; `--out FOLDER` writes its results to another folder.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from helpers import plots
from helpers.backend import device_name, set_seed
from helpers.data.lesions import dataset_folder, load_lesions, originals_folder
from helpers.data.pixels import build_cache
from helpers.data.samples import Samples
from helpers.models.networks import KINDS, build_network
from helpers.models.recipe import Recipe
from helpers.records import atomic_path, write_csv
from helpers.running.jobs import SHARING, visible_gpus
from helpers.running.runner import study_parameters
from helpers.study import ROOT, StudyError, declared_parameters
from helpers.training.batches import BATCH_FOR_PREDICTION
from helpers.training.compiled import Mixed, shared_network
from helpers.training.fit import fit
from helpers.training.fused import adamw
from helpers.training.predict import predict

Speed = Callable[[], float]  # measures once, in images per second
STEPS = 30  # steps on one batch in a round
FEW = 2000  # images used without a GPU


def lesions_to_measure() -> tuple[str, pd.DataFrame]:
    """HAM10000 if it is available, otherwise the demo."""
    try:
        return "ham10000", load_lesions("ham10000", originals_folder("ham10000"))
    except StudyError:
        return "demo", load_lesions("demo", originals_folder("demo"))


def link_by_class(lesions: pd.DataFrame, folder: Path) -> Path:
    """Link the files into one folder per class, as image_dataset_from_directory expects; returns `folder`."""
    for label, path in zip(lesions["label"], lesions["path"], strict=True):
        link = folder / label / Path(path).name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(Path(path).resolve())
    return folder


def parameters(study: str) -> dict:
    """The parameters of the CNN-LSTM and MobileNet notebooks, with the study's values."""
    declared = {}
    for notebook in ("04_cnn_lstm", "05_mobilenet"):
        declared |= declared_parameters(ROOT / "notebooks" / f"{notebook}.ipynb")
        declared |= study_parameters(study, notebook, {})
    return declared


def networks(study: str, classes: int) -> dict[str, Callable[[], keras.Model]]:
    """Functions that build the study's three diagnosis networks with random weights, by name."""
    p = parameters(study) | {"pretrained": "none"}
    return {name: partial(build_network, kind, p, classes) for kind, name in KINDS.items()}


def study_speeds(build: Callable[[], keras.Model], samples: Samples, batch: int) -> tuple[Speed, Speed]:
    """Training with `training.fit`, by its median epoch, and prediction with `training.predict`."""
    model, recipe = build(), Recipe(3, batch, 1e-3, 1e-4, "none", 3, 0)
    some = np.r_[np.unique(samples.labels, return_index=True)[1], np.arange(batch)]  # one of each class at least
    few = Samples(samples.pixels, samples.rows[some], samples.labels[some])
    fit(model, {"train": few, "validation": few}, recipe=recipe)  # compiles training; the next line compiles prediction
    predict(model, samples)

    def prediction() -> float:
        started = time.perf_counter()
        predict(model, samples)
        return len(samples) / (time.perf_counter() - started)

    return lambda: fit(model, {"train": samples, "validation": few}, recipe=recipe).training[
        "images_per_second"
    ], prediction


def bare_speeds(build: Callable[[], keras.Model], samples: Samples, batch: int) -> tuple[Speed, Speed]:
    """The same compiled steps, repeated on one batch that stays on the device."""
    train, forward = _bare_steps(*_bare_trainer(build, samples, batch))
    return partial(_timed, train, batch), partial(_timed, forward, BATCH_FOR_PREDICTION)


def _bare_trainer(build: Callable[[], keras.Model], samples: Samples, batch: int) -> tuple[Mixed, tuple, dict]:
    """The network ready for training, one batch for training and one for prediction, both on the device."""
    network = shared_network(build()).network
    trainer, optimizer = Mixed(network), adamw(1e-4, 0.0)
    optimizer.build(network.trainable_variables)
    trainer.compile(optimizer, keras.losses.CategoricalCrossentropy(), metrics=["accuracy"], weighted_metrics=[])
    optimizer.restart(1e-2, 1_000)
    images, large = (
        keras.ops.convert_to_tensor(samples.pixels[np.resize(samples.rows, size)])
        for size in (batch, BATCH_FOR_PREDICTION)
    )
    targets = np.eye(network.output_shape[-1], dtype=np.float32)[samples.labels[:batch]]
    data = {"image": images}, keras.ops.convert_to_tensor(targets), keras.ops.ones(batch)
    trainer(data[0])
    return trainer, data, {"image": large}


def _bare_steps(trainer: Mixed, data: tuple, large: dict) -> tuple[Callable, Callable]:
    """A training step and a prediction. The value that each returns is available only when the step is done."""
    if keras.config.backend() == "jax":
        import jax

        step, forward = jax.jit(trainer.train_step, donate_argnums=0), jax.jit(trainer.predict_step)
        parts = {"trainable_variables": True, "non_trainable_variables": True}
        state = [trainer._get_jax_state(**parts, optimizer_variables=True, metrics_variables=True)]
        fixed = jax.tree.map(lambda value: value.copy(), trainer._get_jax_state(**parts))

        def train():
            logs, state[0] = step(state[0], data)
            return logs["loss"]

        return train, lambda: forward(fixed, (large,))[0]
    import tensorflow

    @partial(tensorflow.function, jit_compile=trainer.jit_compile)
    def train():
        return trainer.train_step(data)["loss"]

    return train, tensorflow.function(partial(trainer, large, training=False), jit_compile=trainer.jit_compile)


def _timed(step: Callable, batch: int) -> float:
    for _ in range(2):  # both may compile, since in the first step JAX creates variables
        np.asarray(step())
    started = time.perf_counter()
    for _ in range(STEPS):
        last = step()
    np.asarray(last)  # steps run asynchronously; this waits for the last one
    return STEPS * batch / (time.perf_counter() - started)


def stock_speeds(build: Callable[[], keras.Model], folder: Path, *, side: int, batch: int) -> tuple[Speed, Speed]:
    """`image_dataset_from_directory` with plain `fit` and `predict`, as in Keras' own examples."""
    import tensorflow

    images, model = sum(1 for _ in folder.glob("*/*")), build()
    model.compile("adamw", "categorical_crossentropy", metrics=["accuracy"])
    options = {"image_size": (side, side), "crop_to_aspect_ratio": True, "label_mode": "categorical", "seed": 0}

    def to_bytes(pictures, labels):
        """Keras reads pictures as float32; the networks take uint8."""
        return tensorflow.cast(tensorflow.round(pictures), tensorflow.uint8), labels

    def measured(work: Callable, size: int) -> Speed:
        read = keras.utils.image_dataset_from_directory(folder, batch_size=size, verbose=False, **options)
        # Whole batches only: a smaller last batch would be compiled during the measurement.
        data, counted = read.map(to_bytes).take(images // size).prefetch(2), images // size * size
        work(data.take(2), verbose=0)

        def speed() -> float:
            started = time.perf_counter()
            work(data, verbose=0)
            return counted / (time.perf_counter() - started)

        return speed

    return measured(partial(model.fit, shuffle=False), batch), measured(model.predict, BATCH_FOR_PREDICTION)


def measure(study: str, images: int | None, rounds: int) -> Iterator[pd.DataFrame]:
    """The speeds of all ways, see `_rounds`. Yields the table so far after each network.

    images: how many to use; None means FEW, or all if there is a GPU.
    """
    p, rows = parameters(study), []
    keras.config.set_dtype_policy(p["precision"])
    dataset, lesions = lesions_to_measure()
    images = images or (len(lesions) if visible_gpus() else FEW)
    lesions = lesions.sample(min(images, len(lesions)), random_state=0)
    setting = {"dataset": dataset, "images": len(lesions), "study": study, "side": p["side"], "batch": p["batch_size"]}
    setting |= {"precision": p["precision"], "backend": keras.config.backend(), "device": device_name()}
    with tempfile.TemporaryDirectory(dir=dataset_folder("demo").parent) as folder:
        cache = build_cache(lesions, p["side"], Path(folder) / "cache")
        labels = pd.factorize(lesions["label"])[0].astype(np.int64)
        samples = Samples(cache.pixels, np.arange(len(labels)), labels)
        classes = link_by_class(lesions, Path(folder) / "classes")
        for name, build in networks(study, int(labels.max()) + 1).items():
            set_seed(0)
            ways = {"study": study_speeds(build, samples, p["batch_size"])}
            ways["one batch"] = bare_speeds(build, samples, p["batch_size"])
            ways |= other_speeds(name, build, classes, p=p)
            rows += [{"network": name, **row, **setting} for row in _rounds(ways, rounds)]
            yield pd.DataFrame(rows)


def other_speeds(name: str, build: Callable[[], keras.Model], folder: Path, *, p: dict) -> dict[str, tuple]:
    """The ways other than the study's, as far as their packages are installed."""
    ways = {}
    if find_spec("tensorflow"):
        ways["stock"] = stock_speeds(build, folder, side=p["side"], batch=p["batch_size"])
    if find_spec("torch") and name == "MobileNet":
        from torch_mobilenet import torch_speeds

        settings = {"side": p["side"], "alpha": p["alpha"], "batch": p["batch_size"], "precision": p["precision"]}
        ways |= torch_speeds(folder, **settings)
    return ways


def _rounds(ways: dict[str, tuple[Speed, Speed]], rounds: int) -> list[dict]:
    """Median, minimum and maximum of each way, and its share of the ceiling.

    Each round measures every way once. Other programs on the machine can only slow a round down, so the share compares
    the fastest rounds.
    """
    seen = {(way, what): [] for way in ways for what in ("training", "prediction")}
    for _ in range(rounds):
        for way, speeds in ways.items():
            for what, speed in zip(("training", "prediction"), speeds, strict=True):
                seen[way, what].append(speed())
    rows = []
    for (way, what), speeds in seen.items():
        values = {"median": np.median(speeds), "low": min(speeds), "high": max(speeds)}
        row = {"what": what, "way": way, **{key: round(float(value), 1) for key, value in values.items()}}
        share = max(speeds) / max(seen["one batch", what])
        rows.append(row | {"share_of_ceiling": round(float(share), 3), "rounds": rounds})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", default="demo", help="study whose sizes and precision are used")
    parser.add_argument("--images", type=int, help=f"number of images; by default {FEW}, or all with a GPU")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks")
    options = parser.parse_args()
    if options.images is not None and options.images < BATCH_FOR_PREDICTION:
        parser.error(f"--images is {options.images}; it has to be {BATCH_FOR_PREDICTION} or more")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.update(SHARING)  # PyTorch needs some of the GPU's memory too
    for table in measure(options.study, options.images, options.rounds):
        write_csv(options.out / "throughput.csv", table)
        with atomic_path(options.out / "throughput.png") as temporary:
            plots.throughput(table).savefig(temporary, dpi=150, bbox_inches="tight", facecolor="white")
        latest = table[table["network"] == table["network"].iloc[-1]]
        print(latest[["network", "what", "way", "median", "low", "high", "share_of_ceiling"]].to_string(index=False))
    print(f"The table and its figure: {options.out}/throughput.csv, throughput.png")


if __name__ == "__main__":
    main()
