"""Tiny networks and images, and a tiny made-up study: 84 pictures of 42 lesions, two of each, at 16 px."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers.backend import restart_seeds
from helpers.data.lesions import HAM10000, save_lesions
from helpers.data.pixels import build_cache
from helpers.data.samples import Samples
from helpers.data.split import save_split
from helpers.models.head import Common
from helpers.models.networks import Convolutions, cnn
from helpers.models.recipe import Recipe
from helpers.records import Run, write_csv
from helpers.study import ROOT, declared_parameters
from helpers.training import experiment

CODES = [one.code for one in HAM10000]
DEAL = (("train", 1), ("train", 2), ("train", 3), ("validation", 4), ("test", 0), ("test", 0))  # part and fold
SMALL = {"side": 16, "resamples": 20}
NO_DUPLICATES = pd.DataFrame(columns=["image_a", "image_b", "lesion_a", "lesion_b", "kind"])

RECIPE = Recipe(
    epochs=6, batch_size=8, learning_rate=1e-2, weight_decay=1e-4, imbalance="class_weight", patience=6, seed=0
)


def bright_or_dark(count=64, side=16, seed=0):
    """Images of class 1 are brighter than those of class 0; a quarter is of class 1."""
    random = np.random.default_rng(seed)
    labels = (np.arange(count) % 4 == 0).astype(np.int64)
    pixels = random.integers(0, 120, (count, side, side, 3)) + 100 * labels[:, None, None, None]
    return Samples(pixels.astype(np.uint8), np.arange(count), labels)


def small_cnn(side=16, classes=2, filters=(4, 8), dense=(8,), **options):
    """The same first weights each time; all tests of one architecture compile it once."""
    restart_seeds(options.get("seed", 0))
    return cnn(Common(side, classes, dense, **options), Convolutions(filters))


TRAIN, VALIDATION = bright_or_dark(), bright_or_dark(seed=1)
PARTS = {"train": TRAIN, "validation": VALIDATION}


def make_study(folder: Path, patch: pytest.MonkeyPatch, notebook: str, **given) -> Run:
    """Draw the pictures, split them, and give a run of a notebook on them; everything lies below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    use_folders(folder, patch)
    table = pd.DataFrame([_row(folder, number) for number in range(84)])
    patients = table.drop(columns=["part", "fold"]).assign(age=50.0, sex="female", site="back", reference="histo")
    patients["mask_path"] = None
    save_lesions(patients, folder / "cache" / "lesions.csv")
    build_cache(patients, 16, folder / "cache")
    run = make_run(notebook, **given)
    save_split(table[["image_id", "lesion_id", "label", "part", "fold"]], run.results / "split.csv")
    write_csv(run.results / "02_preprocessing" / "duplicates.csv", NO_DUPLICATES)
    return run


def use_folders(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Look for the study and its data below `folder`."""
    patch.setenv("RESULTS_DIR", str(folder / "results"))
    patch.setenv("BUILD_DIR", str(folder / "build"))
    patch.setattr(experiment, "dataset_folder", lambda _: folder)


def make_run(notebook: str, **given) -> Run:
    """A run of a notebook with its own parameters, but small."""
    return Run(notebook, declared_parameters(ROOT / "notebooks" / f"{notebook}.ipynb") | SMALL | given)


def _row(folder: Path, number: int) -> dict:
    lesion, one = number // 2, HAM10000[number // 2 % 7]
    path = folder / f"image_{number:02}.png"
    level = 30 * CODES.index(one.code) + np.random.default_rng(number).integers(0, 60, (16, 16, 3))
    Image.fromarray(level.astype(np.uint8)).save(path)
    about = {"image_id": path.stem, "lesion_id": f"lesion_{lesion:02}", "label": one.code, "malignant": one.malignant}
    return about | dict(zip(("part", "fold"), DEAL[lesion // 7], strict=True)) | {"path": str(path)}
