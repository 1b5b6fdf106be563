"""How fast images reach a model: building the pixel cache, feeding from it, and stock Keras for comparison.

`make bench` uses data/ham10000 or the folder in DATA_DIR, or the demo if neither exists. One process measures the ways
in turn on the same files. The table is written to benchmarks/pixel_cache.csv.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.backend import device_name
from helpers.data.lesions import dataset_folder, load_lesions, originals_folder
from helpers.data.pixels import build_cache
from helpers.data.samples import Samples
from helpers.models.recipe import Recipe
from helpers.records import write_csv
from helpers.study import ROOT, StudyError
from helpers.training.batches import Batches

BATCH = 64
RECIPE = Recipe(epochs=1, batch_size=BATCH, learning_rate=1e-3, weight_decay=0.0, imbalance="none", patience=1, seed=0)


def lesions_to_measure() -> tuple[str, pd.DataFrame]:
    """HAM10000 if it is available, otherwise the demo."""
    try:
        return "ham10000", load_lesions("ham10000", originals_folder("ham10000"))
    except StudyError:
        return "demo", load_lesions("demo", originals_folder("demo"))


def images_per_second(batches: Iterable) -> float:
    """Images per second when going once through batches of images and their labels."""
    started, images = time.perf_counter(), 0
    for batch in batches:
        images += len(batch[1])
    return images / (time.perf_counter() - started)


def build_speed(lesions: pd.DataFrame, side: int) -> float:
    """Images per second decoded, cropped, resized and written to a new cache."""
    with tempfile.TemporaryDirectory(dir=dataset_folder("demo").parent) as folder:
        started = time.perf_counter()
        build_cache(lesions, side, Path(folder))
        return len(lesions) / (time.perf_counter() - started)


def feeding_speed(lesions: pd.DataFrame, side: int, folder: Path) -> float:
    """Images per second in shuffled batches from a finished cache."""
    cache = build_cache(lesions, side, folder)
    labels = pd.factorize(lesions["label"])[0].astype(np.int64)
    batches = Batches(Samples(cache.pixels, np.arange(len(labels)), labels), int(labels.max()) + 1, RECIPE)
    return images_per_second(batches[index] for index in range(len(batches)))


def link_by_class(lesions: pd.DataFrame, folder: Path) -> Path:
    """Link the files into one folder per class, as image_dataset_from_directory expects; returns `folder`."""
    for label, path in zip(lesions["label"], lesions["path"], strict=True):
        link = folder / label / Path(path).name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(Path(path).resolve())
    return folder


def stock_speed(lesions: pd.DataFrame, side: int, folder: Path) -> float:
    """Images per second from keras.utils.image_dataset_from_directory, on links to the same files."""
    import keras

    link_by_class(lesions, folder)
    options = {"image_size": (side, side), "batch_size": BATCH, "crop_to_aspect_ratio": True, "verbose": False}
    return images_per_second(keras.utils.image_dataset_from_directory(folder, shuffle=True, seed=0, **options))


def measure(side: int, rounds: int) -> pd.DataFrame:
    """Minimum, median and maximum of each speed over the rounds, and its ratio to the speed of stock Keras."""
    dataset, lesions = lesions_to_measure()
    speeds = {"build the cache": [], "feed from the cache": [], "image_dataset_from_directory": []}
    with tempfile.TemporaryDirectory(dir=dataset_folder("demo").parent) as folder:
        for _ in range(rounds):
            speeds["build the cache"].append(build_speed(lesions, side))
            speeds["feed from the cache"].append(feeding_speed(lesions, side, Path(folder) / "cache"))
            speeds["image_dataset_from_directory"].append(stock_speed(lesions, side, Path(folder) / "classes"))
    table = pd.DataFrame(speeds).agg(["min", "median", "max"]).T.round(0).astype(int)
    table["times_stock"] = (table["median"] / table["median"]["image_dataset_from_directory"]).round(1)
    table = table.rename_axis("images_per_second").reset_index()
    return table.assign(dataset=dataset, images=len(lesions), side=side, rounds=rounds, device=device_name())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=224, help="pixels per side")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    table = measure(options.side, options.rounds)
    write_csv(ROOT / "benchmarks" / "pixel_cache.csv", table)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
