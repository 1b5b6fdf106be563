"""The demo data: a synthetic collection of skin lesions in the layout of HAM10000."""

import multiprocessing
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from joblib import cpu_count
from numpy.random import Generator
from PIL import Image
from tqdm import tqdm

from helpers.demo.camera import apply_second_camera, draw_artefacts, draw_view, random_pose
from helpers.demo.lesion import draw_scene, grow, sample_lesion
from helpers.demo.plan import CLASSES, CLINICS, Picture, plan_pictures, random_stream
from helpers.processes import end_with_parent
from helpers.reading import read_note
from helpers.records import write_csv, write_json
from helpers.study import StudyError

VERSION = 2  # increased whenever a picture or a row changes
ELSEWHERE = 1_000_000  # added to the seed of a collection of the second clinic
METADATA = "HAM10000_metadata.csv"
PARTS = ("HAM10000_images_part_1", "HAM10000_images_part_2")
MASKS = "HAM10000_segmentations_lesion_tschandl"
LAYOUT = (METADATA, *PARTS, MASKS)
COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "date", "dataset")


def generate(folder: Path, images: int = 700, side: int = 128, *, seed: int = 0, elsewhere: bool = False) -> Path:
    """Draw `images` pictures of `side` x `side` pixels into `folder` and return it.

    elsewhere: draw a collection of the second clinic, see `plan_pictures`; its lesions are others than those of `seed`.
    A folder that already has these pictures stays as it is. One with other settings, or files that are missing or of
    another size, is replaced, except `cache/`.
    Raises StudyError if the folder contains other files, and for too few or too small images.
    """
    folder = Path(folder)
    if images < 30 or side < 32:
        raise StudyError(f"Demo data needs at least 30 images of at least 32 px, not {images} of {side} px.")
    seed += ELSEWHERE if elsewhere else 0
    settings = {"version": VERSION, "images": images, "side": side, "seed": seed}
    found = read_note(folder / "demo.json") or None
    if found == settings | {"bytes": _count_bytes(folder)}:
        return folder
    if found is None:
        _refuse_foreign(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-{os.getpid()}-") as drawn:
        _draw_all(Path(drawn), plan_pictures(images, seed, elsewhere), side=side, seed=seed)
        _publish(Path(drawn), folder, settings)
    return folder


def artefact_opacities(images: int = 700, side: int = 128, seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    """Artefact opacities by image id and name (see `draw_artefacts`): float64 [side, side] from 0 to 1.

    They are the ground truth for detectors of hairs or rulers. They are drawn again, without the lesions.
    """
    opacities = {}
    for picture in plan_pictures(images, seed):
        rng = _view_stream(seed, picture)
        random_pose(side, side, rng)  # called only to advance the stream
        layers = draw_artefacts(side, rng)
        opacities[picture.row["image_id"]] = {name: opacity for name, (opacity, _) in layers.items()}
    return opacities


def _refuse_foreign(folder: Path) -> None:
    """Raise StudyError if `folder` contains anything but a cache and hidden files."""
    if folder.exists() and not folder.is_dir():
        raise StudyError(f"{folder} is a file, but demo data needs a folder. Use another name, or move the file.")
    names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    if foreign := [name for name in names if name != "cache" and not name.startswith(".")]:
        fault = f"{folder} contains {foreign[0]} but no demo.json, so it is not demo data and nothing was written"
        raise StudyError(f"{fault}. Use another folder, or empty this one.")


def _publish(drawn: Path, folder: Path, settings: dict) -> None:
    """Move finished files into `folder`, replacing older ones. Until this ends, demo.json says `unfinished`."""
    folder.mkdir(exist_ok=True)
    write_json(folder / "demo.json", {"version": "unfinished"})
    for name in LAYOUT:
        shutil.rmtree(folder / name, ignore_errors=True)
        (drawn / name).replace(folder / name)
    write_json(folder / "demo.json", settings | {"bytes": _count_bytes(folder)})


def _count_bytes(folder: Path) -> int:
    paths = [path for name in LAYOUT for path in (folder / name, *(folder / name).glob("[!.]*"))]
    return sum(path.stat().st_size for path in paths if path.is_file())


def _view_stream(seed: int, picture: Picture) -> Generator:
    """The random stream of one view: its pose, artefacts and light."""
    return random_stream(seed, picture.number, 100 + picture.view)


def draw_structures(count: int, side: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of lesions of all classes in turn, and the structures visible in each.

    Returns uint8 [count, side, side, 3], and float32 [count, structures] of 0 and 1, in the order of STRUCTURES.
    """
    tasks = [range(start, min(start + 50, count)) for start in range(0, count, 50)]
    pictures, shown = [], []
    with tqdm(total=count, desc="drawing pictures", unit="picture") as bar:
        for images, structures in _map_processes(partial(_draw_structures, side, seed), tasks):
            pictures.append(images)
            shown.append(structures)
            bar.update(len(images))
    return np.concatenate(pictures), np.concatenate(shown)


def _draw_all(folder: Path, pictures: list[Picture], *, side: int, seed: int) -> None:
    """Draw `pictures` into `folder` on all processors, and write their metadata table."""
    for name in LAYOUT[1:]:
        (folder / name).mkdir()
    lesions = defaultdict(list)
    for k, picture in enumerate(pictures):
        lesions[picture.number].append((PARTS[2 * k >= len(pictures)], picture))
    with tqdm(total=len(pictures), desc="drawing demo data", unit="image") as bar:
        for count in _map_processes(partial(_draw_lesion, folder=folder, side=side, seed=seed), list(lesions.values())):
            bar.update(count)
    write_csv(folder / METADATA, pd.DataFrame([picture.row for picture in pictures], columns=COLUMNS))


def _map_processes(draw: Callable, tasks: list) -> Iterator:
    """Results of `draw` for `tasks`, with one process per processor."""
    workers = min(cpu_count(), len(tasks))
    if workers == 1:
        yield from map(draw, tasks)
        return
    # Forking a process with TensorFlow threads can hang, so new processes are spawned.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), end_with_parent) as pool:
        yield from pool.map(draw, tasks, chunksize=4)


def _draw_lesion(pictures: list[tuple[str, Picture]], *, folder: Path, side: int, seed: int) -> int:
    """Draw the pictures and masks of one lesion into their parts of `folder`; returns how many."""
    dx, number = pictures[0][1].row["dx"], pictures[0][1].number
    lesion = sample_lesion(dx, seed, number)
    for part, picture in pictures:
        scene = draw_scene(grow(lesion, dx, picture.months), side)
        rgb, mask = draw_view(scene, side, _view_stream(seed, picture))
        if picture.row["dataset"] == CLINICS[1]:
            rgb = apply_second_camera(rgb)
        rgb = np.round(np.minimum(rgb * picture.gain, 255)).astype(np.uint8)
        quality = 92 if picture.gain == 1 else 80
        Image.fromarray(rgb).save(folder / part / f"{picture.row['image_id']}.jpg", quality=quality)
        Image.fromarray(mask).save(folder / MASKS / f"{picture.row['image_id']}_segmentation.png")
    return len(pictures)


def _draw_structures(side: int, seed: int, numbers: range) -> tuple[np.ndarray, np.ndarray]:
    lesions = [sample_lesion(CLASSES[number % len(CLASSES)], seed, number) for number in numbers]
    images = [draw_view(draw_scene(lesion, side), side, random_stream(*lesion.key, 100))[0] for lesion in lesions]
    structures = [[strength > 0 for strength in lesion.structures.values()] for lesion in lesions]
    return np.stack(images), np.array(structures, np.float32)
