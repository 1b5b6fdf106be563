"""Embedded demo data: a seeded generator of dermatoscope-like pictures in HAM10000's own layout.

    <folder>/HAM10000_metadata.csv
    <folder>/HAM10000_images_part_1/, HAM10000_images_part_2/     <image_id>.jpg
    <folder>/HAM10000_segmentations_lesion_tschandl/              <image_id>_segmentation.png
    <folder>/demo.json                                            version and settings, written last

The pictures are drawn, not photographed: they let every notebook run, and say nothing about real skin. A lesion is a
set of parameters (`Lesion`); its class sets only how likely they are, and every lesion leans towards a second class
that it may be mistaken for, so the classes overlap. Pigment and blood absorb light (Beer-Lambert), so that a lesion's
colours vary with the skin it lies in. Skin, light, hairs, rulers, bubbles and vignettes know no class. Class sizes,
ages, sexes, sites and kinds of reference follow HAM10000 (Tschandl, Rosendahl and Kittler, Sci. Data 5, 180161, 2018),
with a floor under the rare classes. Two columns are more than HAM10000 has. By `date`, the pictures of a lesion are
visits some months apart, between which malignant lesions tend to grow and benign ones do not. By `dataset`, a third of
the patients came to a second clinic, whose camera shows darker and warmer pictures.

Planted for the duplicate audit, and named by `planted_duplicates`: two images of one lesion with the same bytes, of
which HAM10000 has two pairs; and one picture that returns, brighter and compressed anew, under a second lesion id of
the same class and patient.

The same settings give the same bytes for any number of processes: every lesion and every view has a random stream of
its own, and arithmetic is float64 until the last rounding.
"""

import csv
import json
import math
import multiprocessing
import os
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.random import PCG64, Generator, SeedSequence
from PIL import Image, ImageDraw
from scipy.ndimage import affine_transform, gaussian_filter, map_coordinates
from scipy.spatial import cKDTree
from tqdm import tqdm

from helpers.study import StudyError, write_json

VERSION = 2  # to be raised whenever a picture or a row changes

METADATA = "HAM10000_metadata.csv"
PARTS = ("HAM10000_images_part_1", "HAM10000_images_part_2")
MASKS = "HAM10000_segmentations_lesion_tschandl"
LAYOUT = (METADATA, *PARTS, MASKS)
COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "date", "dataset")

# Every table below has one column a class, in this order.
CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")

# HAM10000's aggregate numbers. References and sites in thousandths of a class's images, ages in years.
SHARE = (0.033, 0.051, 0.110, 0.011, 0.111, 0.670, 0.014)
IMAGES_PER_LESION = (1.43, 1.57, 1.51, 1.58, 1.81, 1.24, 1.45)
FEMALE = (0.32, 0.38, 0.42, 0.45, 0.38, 0.49, 0.51)
AGE_MEAN = (67, 67, 64, 53, 61, 47, 51)
AGE_DEVIATION = (12, 14, 14, 14, 15, 15, 22)
REFERENCE = {
    "histo": (1000, 1000, 697, 478, 1000, 373, 472),
    "follow_up": (0, 0, 0, 0, 0, 552, 0),
    "consensus": (0, 0, 240, 522, 0, 75, 528),
    "confocal": (0, 0, 63, 0, 0, 0, 0),
}
SITE = {
    "abdomen": (15, 35, 38, 35, 59, 128, 190),
    "back": (89, 362, 184, 17, 291, 213, 155),
    "chest": (37, 91, 67, 0, 61, 30, 42),
    "ear": (9, 0, 5, 0, 15, 4, 0),
    "face": (346, 196, 290, 0, 93, 15, 56),
    "foot": (0, 8, 1, 17, 25, 42, 0),
    "genital": (0, 0, 2, 9, 0, 7, 0),
    "hand": (40, 4, 13, 0, 1, 8, 35),
    "lower extremity": (199, 113, 158, 713, 173, 221, 190),
    "neck": (31, 27, 28, 0, 26, 12, 21),
    "scalp": (43, 37, 31, 0, 13, 7, 14),
    "trunk": (3, 21, 66, 0, 42, 185, 218),
    "upper extremity": (190, 95, 95, 209, 191, 98, 77),
}
MISSING = {"age": ("", 0.01), "sex": ("unknown", 0.006), "localization": ("unknown", 0.023)}  # blank, share

# How a lesion looks: the middle of each parameter, and as an eighth number its spread, a deviation of logarithms.
LOOK = {
    "radius": (0.58, 0.54, 0.57, 0.54, 0.60, 0.53, 0.48, 0.32),
    "elongation": (0.20, 0.18, 0.22, 0.13, 0.25, 0.20, 0.13, 0.60),
    "irregularity": (0.24, 0.20, 0.19, 0.10, 0.28, 0.11, 0.09, 0.35),
    "raggedness": (0.10, 0.06, 0.05, 0.03, 0.09, 0.05, 0.02, 0.35),
    "softness": (0.18, 0.14, 0.03, 0.18, 0.10, 0.12, 0.04, 0.50),
    "melanin": (0.20, 0.17, 0.44, 0.26, 0.64, 0.66, 0.14, 0.62),
    "blood": (0.22, 0.20, 0.08, 0.17, 0.12, 0.14, 0.36, 0.62),
    "mottling": (0.30, 0.28, 0.25, 0.15, 0.36, 0.22, 0.16, 0.30),
    "asymmetry": (0.22, 0.26, 0.18, 0.10, 0.42, 0.13, 0.12, 0.50),
}
# How often a class shows a structure, in percent. They are drawn in this order, each over those before it.
STRUCTURES = {
    "streaks": (1, 2, 2, 1, 46, 4, 1),
    "network": (3, 2, 6, 62, 58, 66, 1),
    "globules": (3, 4, 6, 3, 45, 42, 1),
    "blotch": (2, 5, 6, 1, 62, 10, 3),
    "veil": (1, 6, 5, 1, 64, 3, 4),
    "regression": (8, 6, 8, 3, 40, 2, 1),
    "scar": (3, 6, 3, 90, 6, 2, 2),
    "nests": (2, 70, 3, 1, 6, 2, 3),
    "ulcer": (12, 36, 3, 2, 6, 1, 5),
    "lagoons": (1, 3, 1, 1, 2, 1, 94),
    "strawberry": (72, 5, 3, 1, 3, 1, 1),
    "dots": (45, 8, 4, 12, 10, 3, 3),
    "vessels": (8, 80, 4, 6, 10, 2, 6),
    "openings": (4, 2, 66, 1, 4, 3, 1),
    "milia": (6, 4, 72, 3, 4, 3, 1),
    "scale": (70, 14, 14, 6, 4, 1, 3),
}
# How a lesion's radius changes in a month, as a logarithm, and the deviation about that.
GROWTH = (0.010, 0.013, -0.004, 0.0, 0.030, -0.008, -0.004)
GROWTH_DEVIATION = 0.008
CLINICS, SECOND_CLINIC = ("clinic a", "clinic b"), 1 / 3  # and the share of patients who came to the second
CAMERA_GAMMA, CAMERA_GAIN = 1.25, (1.03, 0.98, 0.88)  # of the second clinic, on values of 0 to 1 in red, green, blue
FIRST_VISITS, MONTHS_BETWEEN = (date(2014, 1, 1), 1500), (3, 12)  # earliest day, and days in which the first visits lie
MISTAKEN_FOR = {
    "akiec": ("bkl", "bcc", "mel"),
    "bcc": ("akiec", "bkl", "mel", "nv"),
    "bkl": ("mel", "nv", "akiec"),
    "df": ("nv", "bcc", "bkl"),
    "mel": ("nv", "nv", "bkl"),
    "nv": ("mel", "bkl", "df"),
    "vasc": ("bcc", "nv", "df"),
}
ABSORPTION = {  # optical density (natural logarithm) in red, green and blue
    "melanin": (0.42, 0.90, 1.16),
    "black": (1.05, 1.00, 0.95),
    "blue": (1.05, 0.64, 0.38),
    "blood": (0.12, 0.90, 0.64),
    "purple": (0.62, 1.20, 0.60),
}
SKIN_MEAN = (0.80, 0.635, 0.67)
SKIN_ROOT = ((0.085, 0, 0), (0.051, 0.070, 0), (0.046, 0.070, 0.048))  # Cholesky root of the colours' covariance

REACH = 1.4  # half width of a scene, in half widths of a picture: room to turn, shift and zoom a view
DENSITY = 1.5  # pixels of a scene for one of a picture


@dataclass(frozen=True)
class Lesion:
    """What all pictures of one lesion share; any number of views can be drawn from it.

    `key` is the seed and number that its random streams start from. `look` holds LOOK's parameters, lengths in half
    widths of a picture; `structures` strengths of 0 (absent) to 1. Each structure draws from a stream of its own and is
    placed in the lesion's own frame, so that a lesion may grow, or one structure fade, while the rest stays in place.
    """

    key: tuple[int, int]
    skin: tuple[float, float, float]
    look: dict[str, float]
    structures: dict[str, float]


@dataclass
class Scene:
    """A lesion in its skin while it is drawn: float64 fields [n, n], lengths in half widths of a picture."""

    x: np.ndarray
    y: np.ndarray
    edge: np.ndarray  # 0 at the lesion's centre, 1 on its outline
    inside: np.ndarray  # 0 to 1 across the border
    density: dict[str, np.ndarray]  # by the names of ABSORPTION
    covers: list[tuple[np.ndarray, tuple[float, float, float]]] = field(default_factory=list)  # opacity, RGB


@dataclass(frozen=True)
class Picture:
    """One image to draw: its row of metadata, the lesion it shows, which view of it, how many months after the first
    it was taken, a gain of brightness."""

    row: dict[str, str]
    number: int
    view: int
    months: int = 0
    gain: float = 1.0


def generate(folder: Path, images: int = 700, side: int = 128, seed: int = 0) -> Path:
    """Draw `images` pictures of `side` x `side` pixels into `folder` and return it.

    A folder that already holds them is left as it is; demo data of other settings is replaced, while anything else that
    lies beside it (`cache/`) stays. Raises StudyError for a folder that holds other things, and for too small a set.
    """
    folder = Path(folder)
    if images < 30 or side < 32:
        raise StudyError(f"Demo data needs at least 30 images of at least 32 px; {images} of {side} px were asked for.")
    settings = {"version": VERSION, "images": images, "side": side, "seed": seed}
    found = _settings(folder)
    if found == settings and all((folder / name).exists() for name in LAYOUT):
        return folder
    if found is None:
        _refuse_foreign(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as drawn:
        _draw_all(Path(drawn), _plan(images, seed), side, seed)
        _publish(Path(drawn), folder, settings)
    return folder


def planted_duplicates(images: int = 700, seed: int = 0) -> dict[str, tuple[str, str]]:
    """Image ids of the planted pairs: `exact` (same bytes, one lesion) and `near` (two lesion ids, one brighter)."""
    seen, pairs = {}, {}
    for picture in _plan(images, seed):
        first = seen.setdefault((picture.number, picture.view), picture)
        if first is not picture:
            kind = "exact" if first.gain == picture.gain else "near"
            pairs[kind] = (first.row["image_id"], picture.row["image_id"])
    return pairs


def drawn_artefacts(images: int = 700, side: int = 128, seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    """What lies over each picture, by its image id: opacity by name (see `_artefacts`), float64 [side, side] of 0 to 1.

    So that what looks for hairs or rulers can be held against the truth. It is drawn again, without the lesions.
    """
    drawn = {}
    for picture in _plan(images, seed):
        rng = _view_stream(seed, picture)
        _pose(side, side, rng)  # comes first in the stream
        layers = _artefacts(side, rng)
        drawn[picture.row["image_id"]] = {name: opacity for name, (opacity, _) in layers.items()}
    return drawn


def _settings(folder: Path) -> dict | None:
    """Settings that `folder` was drawn with; None if it is no demo folder."""
    try:
        return json.loads((folder / "demo.json").read_text())
    except (OSError, ValueError):
        return None


def _refuse_foreign(folder: Path) -> None:
    """Raise StudyError if `folder` holds anything but a cache and hidden files."""
    if folder.exists() and not folder.is_dir():
        raise StudyError(f"{folder} is a file; demo data needs a folder. Give another name, or move the file.")
    held = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    if foreign := [name for name in held if name != "cache" and not name.startswith(".")]:
        raise StudyError(
            f"{folder} holds {foreign[0]} but no demo.json, so it is not demo data and nothing was written. "
            "Give another folder, or move away what this one holds."
        )


def _publish(drawn: Path, folder: Path, settings: dict) -> None:
    """Move a finished drawing into `folder`, in place of an older one; until the end, demo.json says `unfinished`."""
    folder.mkdir(exist_ok=True)
    write_json(folder / "demo.json", {"version": "unfinished"})
    for name in LAYOUT:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        (drawn / name).replace(folder / name)
    write_json(folder / "demo.json", settings)


def _stream(*key: int) -> Generator:
    return Generator(PCG64(SeedSequence(key)))


def _view_stream(seed: int, picture: Picture) -> Generator:
    """What decides upon one view: how it lies, what lies over it, its light."""
    return _stream(seed, picture.number, 100 + picture.view)


# Who is in the data


def _plan(images: int, seed: int) -> list[Picture]:
    """Every picture, in the order of image ids; neither image nor lesion ids follow the classes."""
    rng = _stream(seed)
    lesions = _lesions(images, rng)
    patients = [_patient(dx, rng) | {"lesion_id": f"DEMO_L{k + 1:04d}"} for k, (dx, _) in enumerate(lesions)]
    for number, patient in enumerate(patients):
        patient["dataset"] = CLINICS[_stream(seed, number, 97).random() < SECOND_CLINIC]
    for column, (blank, share) in MISSING.items():
        for number in rng.choice(len(lesions), math.ceil(share * len(lesions)), replace=False):
            patients[number][column] = blank
    pictures = [picture for k, (_, views) in enumerate(lesions) for picture in _visits(patients[k], k, views, seed)]
    _plant(pictures)
    shuffled = [pictures[k] for k in rng.permutation(images)]
    return [replace(p, row=p.row | {"image_id": f"DEMO_{k + 1:07d}"}) for k, p in enumerate(shuffled)]


def _visits(patient: dict[str, str], number: int, views: int, seed: int) -> list[Picture]:
    """The pictures of one lesion, each some months after the one before."""
    rng = _stream(seed, number, 98)
    earliest, days = FIRST_VISITS
    first = earliest + timedelta(days=int(rng.integers(days)))
    months = np.cumsum([0, *rng.integers(*MONTHS_BETWEEN, views - 1)])
    dates = [(first + timedelta(days=round(30.4 * int(later)))).isoformat() for later in months]
    return [Picture(patient | {"date": dates[view]}, number, view, int(months[view])) for view in range(views)]


def _lesions(images: int, rng: Generator) -> list[tuple[str, int]]:
    """Class and number of images of every lesion, shuffled. Rare classes get 26 of 700 images, nevi what is left."""
    floor = math.ceil(images * 26 / 700)
    counts = {dx: max(floor, round(share * images)) for dx, share in zip(CLASSES, SHARE, strict=True) if dx != "nv"}
    counts["nv"] = images - sum(counts.values())
    lesions = []
    for dx, count in counts.items():
        n = math.ceil(count / IMAGES_PER_LESION[CLASSES.index(dx)])
        lesions += [(dx, 1 + int(more)) for more in rng.multinomial(count - n, np.full(n, 1 / n))]
    return [lesions[k] for k in rng.permutation(len(lesions))]


def _patient(dx: str, rng: Generator) -> dict[str, str]:
    """Metadata of a lesion of class `dx`, without ids; ages in steps of five years, as in HAM10000."""
    k = CLASSES.index(dx)
    age = 5 * round(rng.normal(AGE_MEAN[k], AGE_DEVIATION[k]) / 5)
    return {
        "dx": dx,
        "dx_type": _pick(REFERENCE, k, rng),
        "age": f"{min(max(age, 5), 85):.1f}",
        "sex": "female" if rng.random() < FEMALE[k] else "male",
        "localization": _pick(SITE, k, rng),
    }


def _pick(table: dict[str, tuple[int, ...]], column: int, rng: Generator) -> str:
    weights = np.array([row[column] for row in table.values()])
    return list(table)[rng.choice(len(weights), p=weights / weights.sum())]


def _plant(pictures: list[Picture]) -> None:
    """Put both pairs of duplicates among the nevi of `pictures`, in place."""
    nevi = [k for k, picture in enumerate(pictures) if picture.row["dx"] == "nv"]
    again = next(k for k in nevi if pictures[k].view == 1)
    pictures[again] = replace(pictures[again], view=0, months=0)
    views = Counter(picture.number for picture in pictures)
    first, twin = [k for k in nevi if views[pictures[k].number] == 1][:2]
    row = pictures[first].row | {"lesion_id": pictures[twin].row["lesion_id"]}
    pictures[twin] = replace(pictures[first], row=row, gain=1.06)


def draw_structures(count: int, side: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of lesions of all classes in turn, and the structures they show, in the order of STRUCTURES.

    uint8 [count, side, side, 3], and float32 [count, structures] of 0 and 1.
    """
    tasks = [range(start, min(start + 50, count)) for start in range(0, count, 50)]
    pictures, shown = [], []
    with tqdm(total=count, desc="drawing pictures", unit="picture") as bar:
        for images, structures in _spread(partial(_draw_structures, side, seed), tasks):
            pictures.append(images)
            shown.append(structures)
            bar.update(len(images))
    return np.concatenate(pictures), np.concatenate(shown)


# What a lesion is


def sample_lesion(dx: str, seed: int, number: int) -> Lesion:
    """Parameters of lesion `number`, of class `dx`: its class's, leaning towards a class it may be mistaken for."""
    rng = _stream(seed, number, 0)
    own, other, lean = CLASSES.index(dx), CLASSES.index(rng.choice(MISTAKEN_FOR[dx])), 0.35 * rng.beta(1, 3)

    def blend(row: tuple[float, ...]) -> float:
        return (1 - lean) * row[own] + lean * row[other]

    look = {name: blend(row) * math.exp(rng.normal(0, row[-1])) for name, row in LOOK.items()}
    look["radius"] = min(max(look["radius"], 0.16), 0.85)
    drawn = {name: (rng.random() < blend(row) / 100, rng.uniform(0.85, 1.15)) for name, row in STRUCTURES.items()}
    skin = np.array(SKIN_MEAN) + np.array(SKIN_ROOT) @ np.clip(rng.standard_normal(3), -1.8, 1.8)
    return Lesion(
        key=(seed, number),
        skin=tuple(np.clip(skin, 0.3, 0.97)),
        look=look,
        structures={name: strength if shown else 0.0 for name, (shown, strength) in drawn.items()},
    )


def grown(lesion: Lesion, dx: str, months: int) -> Lesion:
    """The same lesion some months later: most malignant ones are larger by then, many benign ones a little smaller.

    Their pace is the class's with a deviation of its own, so that the change tells something about the class and the
    size of a lesion alone does not tell the change.
    """
    pace = GROWTH[CLASSES.index(dx)] + _stream(*lesion.key, 99).normal(0, GROWTH_DEVIATION)
    radius = min(max(lesion.look["radius"] * math.exp(pace * months), 0.16), 0.85)
    return replace(lesion, look=lesion.look | {"radius": radius})


# Noise, spots and lines


@lru_cache(maxsize=64)
def _spline(size: int, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """First knots, int [size], and weights, float64 [4, size], of a cubic B-spline over `cells` intervals."""
    t = (np.arange(size) + 0.5) / size * cells
    first = t.astype(int)
    x = t - first
    weights = [(1 - x) ** 3, 3 * x**3 - 6 * x**2 + 4, -3 * x**3 + 3 * x**2 + 3 * x + 1, x**3]
    return first, np.stack(weights) / 6


def _surface(knots: np.ndarray, size: int) -> np.ndarray:
    """Bicubic B-spline of `knots`, float64 [cells + 3, cells + 3], at [size, size] points."""
    first, weights = _spline(size, len(knots) - 3)
    for _ in range(2):
        knots = np.ascontiguousarray(knots.T)
        knots = sum(weights[k][:, None] * knots[first + k] for k in range(4))
    return knots / 0.479  # deviation of a spline through white noise


def _noise(rng: Generator, size: int, cells: int) -> np.ndarray:
    """Smooth noise, float64 [size, size], mean 0 and deviation about 1, with `cells` knots along a side."""
    return _surface(rng.standard_normal((cells + 3, cells + 3)), size)


def _clouds(rng: Generator, size: int, cells: int, fall: float = 0.6) -> np.ndarray:
    """Noise of all scales, float64 [size, size], deviation about 1: each octave weighs `fall` times the last."""
    weights = fall ** np.arange(max(1, int(math.log2(size / 2 / cells)) + 1))
    knots = rng.standard_normal((cells + 3, cells + 3))
    for weight in weights[1:]:
        knots = _halve(_halve(knots).T).T
        knots += weight * rng.standard_normal(knots.shape)
    return _surface(knots, size) / np.sqrt((weights**2).sum())


def _halve(knots: np.ndarray) -> np.ndarray:
    """The same cubic splines with half the knot spacing: float64 [cells + 3, m] becomes [2 cells + 3, m]."""
    fine = np.empty((2 * len(knots) - 3, knots.shape[1]))
    fine[::2] = (knots[:-1] + knots[1:]) / 2
    fine[1::2] = (knots[:-2] + 6 * knots[1:-1] + knots[2:]) / 8
    return fine


def _ramp(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Smooth step: 0 below `low`, 1 above `high`."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _spots(n: int, places: np.ndarray, radii: np.ndarray, reach: float = REACH, ring: bool = False) -> np.ndarray:
    """Soft discs, or rings, about `places` (x, y) of a field from -reach to reach: float64 [n, n] of 0 to 1."""
    spots, unit = np.zeros((n, n)), n / (2 * reach)
    for (x, y), radius in zip((places + reach) * unit - 0.5, radii * unit, strict=True):
        top, left = (max(int(c - 1.6 * radius - 1), 0) for c in (y, x))
        window = spots[top : max(int(y + 1.6 * radius + 3), 0), left : max(int(x + 1.6 * radius + 3), 0)]
        i, j = np.ogrid[top : top + window.shape[0], left : left + window.shape[1]]
        d = np.hypot(i - y, j - x) / radius
        np.maximum(window, np.exp(-(((d - 1) / 0.13) ** 2)) if ring else _ramp(-d, -1.35, -0.6), out=window)
    return spots


def _lines(n: int, paths: list[tuple[np.ndarray, np.ndarray]], reach: float = REACH) -> np.ndarray:
    """Lines through `paths` (points [k, 2], widths [k]) of a field from -reach to reach: float64 [n, n] of 0 to 1."""
    fine, unit = Image.new("L", (4 * n, 4 * n)), 4 * n / (2 * reach)
    pen = ImageDraw.Draw(fine)
    for points, widths in paths:
        corners = np.round((points + reach) * unit).astype(int).tolist()
        for start, end, width in zip(corners, corners[1:], widths, strict=False):
            pen.line([*start, *end], fill=255, width=max(1, round(float(width) * unit)))
    return np.asarray(fine.reduce(4), float) / 255


def _walk(start: np.ndarray, headings: np.ndarray, stride: float) -> np.ndarray:
    """Points [k, 2] of a path from `start` in steps of `stride` along `headings`, radians [k]."""
    return start + np.cumsum(stride * np.stack([np.cos(headings), np.sin(headings)], axis=1), axis=0)


def _tree(rng: Generator, start: np.ndarray, steps: int, width: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """A winding vessel with its branches and their branches, thinner each time: paths for `_lines`."""
    if steps < 5:
        return []
    turns = rng.normal(0, 0.1) + rng.normal(0, 0.28, steps)
    points = _walk(start, rng.uniform(0, 2 * math.pi) + np.cumsum(turns), 0.035)
    branches = [_tree(rng, points[k], steps // 2, 0.7 * width) for k in rng.integers(1, steps, 3)]
    return [(points, np.linspace(width, 0.35 * width, steps)), *sum(branches, [])]


# The lesion and the skin about it


def draw_scene(lesion: Lesion, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A lesion in its skin: RGB, float64 [3, n, n] of 0 to 1, and `edge`, float64 [n, n], below 1 within the lesion."""
    scene = _outline(lesion, 2 * round(REACH * DENSITY * side / 2))
    _skin(scene, _stream(*lesion.key, 2))
    _body(scene, lesion.look, _stream(*lesion.key, 3))
    for k, (name, strength) in enumerate(lesion.structures.items()):
        if strength and name in DRAWING:
            DRAWING[name](scene, strength, _stream(*lesion.key, 5 + k))
    colour = np.empty((3, *scene.x.shape))
    for channel, bare in enumerate(lesion.skin):
        absorbed = sum(ABSORPTION[name][channel] * density for name, density in scene.density.items())
        colour[channel] = bare * np.exp(-absorbed)
        for opacity, cover in scene.covers:
            colour[channel] += opacity * (cover[channel] - colour[channel])
    return _ruffle(colour, scene.edge, _stream(*lesion.key, 4))


def _outline(lesion: Lesion, n: int) -> Scene:
    """The empty scene, [n, n]: an ellipse, bent by smooth noise, frayed by fine noise, drawn out into streaks."""
    rng, look, streaks = _stream(*lesion.key, 1), lesion.look, lesion.structures["streaks"]
    y, x = np.meshgrid(*[np.linspace(-REACH, REACH, n)] * 2, indexing="ij")
    u, v = (axis + 0.9 * look["irregularity"] * look["radius"] * _clouds(rng, n, 4, 0.45) for axis in (x, y))
    stretch = math.exp(look["elongation"] / 2)
    edge = np.hypot(u / stretch, v * stretch) / look["radius"]
    edge += 1.3 * look["raggedness"] * _clouds(rng, n, 18, 0.8) * _ramp(edge, 0.3, 0.9)
    spokes = np.interp(np.arctan2(v, u), np.linspace(-math.pi, math.pi, 90), rng.standard_normal(90))
    edge -= 0.3 * streaks * np.maximum(spokes - 0.3, 0) * _ramp(edge, 0.6, 0.95) * _ramp(-edge, -1.6, -1.2)
    softness = look["softness"] / look["radius"]
    return Scene(x, y, edge, _ramp(-edge, -1 - softness, -1 + softness), defaultdict(lambda: np.zeros((n, n))))


def _skin(scene: Scene, rng: Generator) -> None:
    """Uneven tone, fine furrows, and in some skin sun damage and small vessels."""
    n = len(scene.x)
    furrows = np.exp(-((_noise(rng, n, 75) / 0.3) ** 2)) + np.exp(-((_noise(rng, n, 130) / 0.3) ** 2))
    scene.density["melanin"] += 0.02 * _clouds(rng, n, 4, 0.95) + rng.uniform(0.01, 0.06) * (furrows - 0.5)
    scene.density["blood"] += rng.uniform(0.02, 0.06) * _clouds(rng, n, 5, 0.95)
    if rng.random() < 0.35:
        scene.density["melanin"] += rng.uniform(0.05, 0.22) * _ramp(_clouds(rng, n, 10, 0.85), 0.2, 2.2)
    if rng.random() < 0.3:
        paths = sum([_tree(rng, rng.uniform(-REACH, REACH, 2), 16, 0.02) for _ in range(8)], [])
        scene.density["blood"] += gaussian_filter(0.5 * _lines(n, paths), 0.01 * n / REACH)


def _body(scene: Scene, look: dict[str, float], rng: Generator) -> None:
    """The lesion's pigment and blood: mottled, thinner or thicker in the middle, heavier on one side if asymmetric."""
    n, turn = len(scene.x), rng.uniform(0, 2 * math.pi)
    tilt = (math.cos(turn) * scene.x + math.sin(turn) * scene.y) / look["radius"]
    depth = 1 + look["asymmetry"] * tilt + rng.normal(0.35, 0.3) * (0.6 - scene.edge)
    depth += look["mottling"] * _clouds(rng, n, 7, 0.85)
    scene.density["melanin"] += look["melanin"] * scene.inside * np.maximum(depth, 0.12)
    scene.density["blood"] += look["blood"] * scene.inside * np.maximum(1 + 0.4 * _clouds(rng, n, 7, 0.8), 0)


def _ruffle(colour: np.ndarray, edge: np.ndarray, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Shift `colour` and `edge` alike by fine noise: tissue has no straight lines and no circles."""
    n = len(edge)
    places = np.indices(edge.shape, float)
    for axis in range(2):
        places[axis] += n / (2 * REACH) * (0.014 * _noise(rng, n, 22) + 0.006 * _noise(rng, n, 60))
    *colour, edge = [map_coordinates(f, places, order=1, mode="nearest") for f in (*colour, edge)]
    return np.stack(colour), edge


# Structures: each adds to the scene what its name says, at a strength of 0 to 1


def _region(scene: Scene, rng: Generator, low: float, high: float) -> np.ndarray:
    """A blotch of the lesion, float64 [n, n] of 0 to 1: about a point off the centre, where noise passes `low`."""
    right, down = rng.normal(0, 0.16, 2)
    near = 1.2 - 1.6 * np.hypot(scene.x - right, scene.y - down) + 0.75 * _clouds(rng, len(scene.x), 8, 0.75)
    return scene.inside * _ramp(near - 0.6 * scene.edge, low, high)


def _places(scene: Scene, rng: Generator, per_area: float, reach: float = 0.95) -> np.ndarray:
    """Points strewn over the lesion where `edge` is below `reach`: x and y, float64 [count, 2]."""
    places = rng.uniform(-REACH, REACH, (int(per_area * (2 * REACH) ** 2), 2))
    column, row = ((places / REACH + 1) / 2 * len(scene.edge)).astype(int).T
    return places[scene.edge[row, column] < reach]


def _speckle(scene: Scene, rng: Generator, per_area: tuple[float, float], size: float, spread: float) -> np.ndarray:
    """Spots strewn over the lesion, float64 [n, n] of 0 to 1; their radii are log-normal, `spread` about `size`."""
    places = _places(scene, rng, rng.uniform(*per_area))
    return _spots(len(scene.x), places, size * np.exp(rng.normal(0, spread, len(places))))


def _mosaic(scene: Scene, rng: Generator, spacing: float, jitter: float) -> tuple[np.ndarray, np.ndarray]:
    """Cells about the points of a shaken lattice: distance to the wall, in spacings (1 off the lesion), and number."""
    k = np.arange(-REACH, REACH, spacing)
    x, y = np.meshgrid(k, k)
    points = np.stack([x + 0.5 * spacing * (np.arange(len(k)) % 2)[:, None], y], axis=-1).reshape(-1, 2)
    points += jitter * spacing * rng.standard_normal(points.shape)
    near = scene.inside > 0.02
    distance, cell = cKDTree(points).query(np.stack([scene.x[near], scene.y[near]], axis=1), k=2)
    wall, number = np.ones(near.shape), np.zeros(near.shape, int)
    wall[near], number[near] = (distance[:, 1] - distance[:, 0]) / spacing, cell[:, 0]
    return wall, number


def _network(scene: Scene, strength: float, rng: Generator) -> None:
    n, (wall, _) = len(scene.x), _mosaic(scene, rng, rng.uniform(0.09, 0.14), rng.uniform(0.14, 0.32))
    lines = np.exp(-((wall / (0.36 + 0.1 * _noise(rng, n, 12))) ** 2)) * _ramp(_clouds(rng, n, 12) + 1.6, 0, 1.6)
    seen = strength * _ramp(_noise(rng, n, 6) + 1.2, 0, 1.5) * scene.inside
    scene.density["melanin"] *= 1 + seen * (0.8 * lines - 0.4)
    scene.density["melanin"] += 0.2 * seen * lines


def _globules(scene: Scene, strength: float, rng: Generator) -> None:
    spots = _speckle(scene, rng, (20, 55), rng.uniform(0.03, 0.052), rng.uniform(0.1, 0.5))
    scene.density["melanin"] += (0.2 + 0.5 * strength) * spots * _ramp(_clouds(rng, len(spots), 12) + 1.5, 0, 2)


def _blotch(scene: Scene, strength: float, rng: Generator) -> None:
    region = _region(scene, rng, 0.5, 1.4)
    scene.density["melanin"] += 0.6 * strength * region
    scene.density["black"] += 0.6 * strength * region


def _veil(scene: Scene, strength: float, rng: Generator) -> None:
    region = strength * _region(scene, rng, 0.3, 1.9)
    scene.density["melanin"] *= 1 - 0.5 * region
    scene.density["blue"] += 0.7 * region
    scene.covers.append((0.25 * region, (0.72, 0.76, 0.85)))


def _regression(scene: Scene, strength: float, rng: Generator) -> None:
    region = strength * _region(scene, rng, 0.5, 1.6)
    scene.density["melanin"] *= 1 - 0.8 * region
    scene.density["blue"] += 0.45 * region * _speckle(scene, rng, (60, 90), 0.014, 0.2)
    scene.covers.append((0.3 * region, (0.95, 0.87, 0.88)))


def _scar(scene: Scene, strength: float, rng: Generator) -> None:
    n = len(scene.x)
    patch = strength * _ramp(-scene.edge - 0.18 * _clouds(rng, n, 10), -0.85, 0)
    scene.density["melanin"] *= 1 - 0.8 * patch
    scene.covers.append((0.5 * patch * (0.6 + 0.4 * _ramp(_clouds(rng, n, 20, 0.9), -0.8, 1)), (0.96, 0.87, 0.88)))


def _nests(scene: Scene, strength: float, rng: Generator) -> None:
    nests = _speckle(scene, rng, (5, 12), 0.085, 0.4) * _ramp(_clouds(rng, len(scene.x), 20, 0.9) + 1.4, 0, 1.8)
    nests = gaussian_filter(nests, 0.012 * len(nests) / REACH)
    scene.density["blue"] += (0.4 + 0.5 * strength) * nests
    scene.density["melanin"] += 0.2 * strength * nests


def _ulcer(scene: Scene, strength: float, rng: Generator) -> None:
    n, sore = len(scene.x), strength * _region(scene, rng, 0.8, 1.3)
    scene.density["blood"] += 0.6 * sore
    scene.density["black"] += 0.45 * sore * _ramp(_clouds(rng, n, 14), -0.6, 1)
    scene.covers.append((0.4 * sore * _ramp(_clouds(rng, n, 24, 0.9), 0.2, 1.2), (0.83, 0.62, 0.36)))


def _lagoons(scene: Scene, strength: float, rng: Generator) -> None:
    wall, number = _mosaic(scene, rng, rng.uniform(0.11, 0.22), 0.3)
    n, hue = len(wall), rng.uniform(-0.3, 0.8)
    deep = hue + rng.uniform(0, 1, number.max() + 1)[number] + 0.25 * _clouds(rng, n, 12, 0.8)
    lake = gaussian_filter(_ramp(wall, -0.3, 0.4), 0.008 * n / REACH) * scene.inside * strength
    scene.density["purple"] += 0.9 * lake * np.clip(deep, 0, 1.3)
    scene.density["blood"] += 1.3 * lake * (1 - 0.5 * np.clip(deep, 0, 1.3))
    septa = gaussian_filter(_ramp(-wall, -0.22, 0), 0.008 * n / REACH) * _ramp(_noise(rng, n, 12) + 1, 0, 2)
    scene.covers.append((0.2 * scene.inside * septa, (0.90, 0.72, 0.82)))


def _strawberry(scene: Scene, strength: float, rng: Generator) -> None:
    n, (wall, _) = len(scene.x), _mosaic(scene, rng, rng.uniform(0.09, 0.15), 0.28)
    seen = strength * scene.inside * _ramp(_clouds(rng, n, 8) + 1, 0, 2)
    scene.density["blood"] += 0.45 * seen * _ramp(-wall, -0.6, 0)
    scene.covers.append((0.3 * seen * _ramp(wall, 0.45, 0.9), (0.97, 0.86, 0.76)))


def _dots(scene: Scene, strength: float, rng: Generator) -> None:
    scene.density["blood"] += (0.35 + 0.5 * strength) * _speckle(scene, rng, (30, 65), 0.026, 0.2)


def _vessels(scene: Scene, strength: float, rng: Generator) -> None:
    n, starts = len(scene.x), _places(scene, rng, rng.uniform(4, 10), 1.0)
    paths = sum([_tree(rng, start, int(rng.integers(10, 20)), 0.042) for start in starts], [])
    lines = gaussian_filter(_lines(n, paths), 0.004 * n / REACH) * _ramp(_clouds(rng, n, 14) + 1.7, 0, 2)
    scene.density["blood"] += (0.5 + 0.6 * strength) * lines * _ramp(-scene.edge, -1.3, -0.9)


def _openings(scene: Scene, strength: float, rng: Generator) -> None:
    plugs = _speckle(scene, rng, (8, 22), 0.043, 0.35)
    scene.density["melanin"] += (0.4 + 0.6 * strength) * plugs
    scene.density["black"] += 0.3 * strength * plugs


def _milia(scene: Scene, strength: float, rng: Generator) -> None:
    scene.covers.append(((0.2 + 0.4 * strength) * _speckle(scene, rng, (9, 25), 0.036, 0.3), (0.96, 0.88, 0.78)))


def _scale(scene: Scene, strength: float, rng: Generator) -> None:
    n = len(scene.x)
    flakes = _ramp(_noise(rng, n, 55) + 0.7 * _noise(rng, n, 25), 0.5, 2) * _ramp(_noise(rng, n, 8), 0, 1.2)
    scene.covers.append(((0.3 + 0.5 * strength) * flakes * scene.inside, (0.96, 0.92, 0.84)))


_PIGMENTED = (_network, _globules, _blotch, _veil, _regression, _scar, _nests, _openings)
_OTHERS = (_ulcer, _lagoons, _strawberry, _dots, _vessels, _milia, _scale)
DRAWING = {draw.__name__[1:]: draw for draw in _PIGMENTED + _OTHERS}


# The picture: the same for every class


def draw_view(colour: np.ndarray, edge: np.ndarray, side: int, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """One picture of a scene: RGB, uint8 [side, side, 3], and the lesion's mask, bool [side, side]."""
    matrix, offset = _pose(len(edge), side, rng)
    *rgb, edge = [affine_transform(f, matrix, offset, (side, side), order=1, mode="mirror") for f in (*colour, edge)]
    picture = np.stack(rgb)
    for opacity, cover in _artefacts(side, rng).values():
        picture = picture + opacity * (np.reshape(cover, (3, 1, 1)) - picture)
    picture = gaussian_filter(picture, (0, *[side / 128 * rng.uniform(0.1, 0.7)] * 2))
    picture = _light(picture, rng) + rng.normal(0, 0.008, (side, side)) + rng.normal(0, 0.004, picture.shape)
    return np.round(255 * np.clip(np.moveaxis(picture, 0, 2), 0, 1)).astype(np.uint8), edge < 1


def _pose(size: int, side: int, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """How a view of `side` pixels lies in a scene of `size`, turned, zoomed and shifted: matrix [2, 2], offset [2]."""
    turn, zoom = rng.uniform(0, 2 * math.pi), math.exp(rng.normal(0, 0.13)) * size / (REACH * side)
    matrix = zoom * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    centre = size / 2 * (1 + np.clip(rng.normal(0, 0.06, 2), -0.15, 0.15)) - 0.5
    return matrix, centre - matrix @ np.full(2, (side - 1) / 2)


def _second_camera(picture: np.ndarray) -> np.ndarray:
    """The same view through the camera of the second clinic, uint8 [n, n, 3]."""
    light = (picture / 255) ** CAMERA_GAMMA * CAMERA_GAIN
    return np.round(255 * np.minimum(light, 1)).astype(np.uint8)


def _light(picture: np.ndarray, rng: Generator) -> np.ndarray:
    """Light `picture`, [3, n, n]: exposure, a cast of colour, a slope of brightness, and at times dark corners."""
    y, x = np.meshgrid(*[np.linspace(-1, 1, picture.shape[1])] * 2, indexing="ij")
    slope = 1 + rng.normal(0, 0.03) * x + rng.normal(0, 0.03) * y - abs(rng.normal(0, 0.04)) * (x * x + y * y)
    if rng.random() < 0.16:
        start = rng.uniform(0.85, 1.2)
        slope *= 1 - rng.uniform(0.3, 0.95) * _ramp(np.hypot(x, y), start, start + rng.uniform(0.15, 0.8))
    gain = math.exp(rng.normal(0.03, 0.05)) * np.exp(rng.normal(0, 0.02, (3, 1, 1)))
    return picture * slope * gain


def _artefacts(n: int, rng: Generator) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What lies over a picture: hairs, a ruler, gel bubbles and glints, each with a chance of its own.

    By name its opacity, float64 [n, n] of 0 to 1, and its colour, RGB of 0 to 1.
    """
    layers = {}
    if rng.random() < 0.35:
        opacity = rng.uniform(0.5, 0.95) * hairs(n, rng)
        layers["hairs"] = opacity, np.array([0.22, 0.14, 0.11]) * rng.uniform(0.6, 2.2)
    if rng.random() < 0.08:
        layers["ruler"] = 0.85 * ruler(n, rng), np.array([0.12, 0.12, 0.14])
    if rng.random() < 0.14:
        count = int(rng.integers(1, 7))
        rings = _spots(n, rng.uniform(-1, 1, (count, 2)), rng.uniform(0.03, 0.13, count), 1, ring=True)
        layers["bubbles"] = 0.2 * rings, np.array([0.98, 0.95, 0.95])
    if rng.random() < 0.2:
        count = int(rng.integers(3, 16))
        glints = _spots(n, rng.normal(0, 0.5, (count, 2)), rng.uniform(0.008, 0.022, count), 1)
        layers["glints"] = 0.6 * glints, np.array([1.0, 0.97, 0.97])
    return layers


def hairs(n: int, rng: Generator) -> np.ndarray:
    """Thin or thick hairs, few or many, of about one direction: float64 [n, n] of 0 to 1."""
    count, width, way = min(int(rng.geometric(0.2)), 25), rng.uniform(0.008, 0.024), rng.uniform(0, 2 * math.pi)
    paths = []
    for start in rng.uniform(-1.2, 1.2, (count, 2)):
        steps = int(rng.integers(10, 50))
        headings = way + rng.normal(0, 0.5) + np.arange(steps) * rng.normal(0, 0.03)
        paths.append((_walk(start, headings, 0.05), rng.uniform(0.7, 1.2) * np.linspace(width, 0.4 * width, steps)))
    return _lines(n, paths, 1)


def ruler(n: int, rng: Generator) -> np.ndarray:
    """Ticks along one border of the picture, every fifth longer: float64 [n, n] of 0 to 1."""
    x, y = np.arange(-1, 1, rng.uniform(0.08, 0.13)), rng.uniform(0.02, 0.1) - 1
    long = np.where(np.arange(len(x)) % 5, 0.07, 0.14)
    ticks = [(np.array([[at, y], [at, y + size]]), np.full(2, 0.012)) for at, size in zip(x, long, strict=True)]
    return np.rot90(_lines(n, ticks, 1), int(rng.integers(4)))


# The files


def _draw_all(folder: Path, pictures: list[Picture], side: int, seed: int) -> None:
    """Draw `pictures` into `folder`, spread over the processors, and write the table that describes them."""
    for name in LAYOUT[1:]:
        (folder / name).mkdir()
    lesions = defaultdict(list)
    for k, picture in enumerate(pictures):
        lesions[picture.number].append((PARTS[2 * k >= len(pictures)], picture))
    with tqdm(total=len(pictures), desc="drawing demo data", unit="image") as bar:
        for drawn in _spread(partial(_draw_lesion, folder, side, seed), list(lesions.values())):
            bar.update(drawn)
    with (folder / METADATA).open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(picture.row for picture in pictures)


def _spread(draw: Callable, tasks: list) -> Iterator[int]:
    """Results of `draw` on `tasks`, in as many processes as there are processors."""
    workers = min(_processors(), len(tasks))
    if workers == 1:
        yield from map(draw, tasks)
        return
    # A fork of a process that runs TensorFlow's threads may hang; spawn starts afresh.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(draw, tasks, chunksize=4)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _draw_lesion(folder: Path, side: int, seed: int, pictures: list[tuple[str, Picture]]) -> int:
    """Draw one lesion's pictures and masks into their parts of `folder`; returns how many."""
    dx, number = pictures[0][1].row["dx"], pictures[0][1].number
    lesion = sample_lesion(dx, seed, number)
    for part, picture in pictures:
        scene = draw_scene(grown(lesion, dx, picture.months), side)
        rgb, mask = draw_view(*scene, side, _view_stream(seed, picture))
        if picture.row["dataset"] == CLINICS[1]:
            rgb = _second_camera(rgb)
        rgb = np.round(np.minimum(rgb * picture.gain, 255)).astype(np.uint8)
        quality = 92 if picture.gain == 1 else 80
        Image.fromarray(rgb).save(folder / part / f"{picture.row['image_id']}.jpg", quality=quality)
        Image.fromarray(mask).save(folder / MASKS / f"{picture.row['image_id']}_segmentation.png")
    return len(pictures)


def _draw_structures(side: int, seed: int, numbers: range) -> tuple[np.ndarray, np.ndarray]:
    lesions = [sample_lesion(CLASSES[number % len(CLASSES)], seed, number) for number in numbers]
    images = [draw_view(*draw_scene(lesion, side), side, _stream(*lesion.key, 100))[0] for lesion in lesions]
    structures = [[strength > 0 for strength in lesion.structures.values()] for lesion in lesions]
    return np.stack(images), np.array(structures, np.float32)
