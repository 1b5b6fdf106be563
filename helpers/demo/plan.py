"""The plan of the demo data: patients, lesions, visits, and two pairs of duplicates."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
from numpy.random import PCG64, Generator, SeedSequence

# The tables below have one column per class, in this order.
CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
# Summary statistics of HAM10000. References and sites are in thousandths of a class's images, ages in years.
SHARE = (0.033, 0.051, 0.110, 0.011, 0.111, 0.670, 0.014)
SHARE_ELSEWHERE = (0.10, 0.20, 0.15, 0.04, 0.20, 0.27, 0.04)  # of a collection that is the second clinic's alone
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
MISSING = {"age": ("", 0.01), "sex": ("unknown", 0.006), "localization": ("unknown", 0.023)}  # placeholder, proportion
CLINICS, SECOND_CLINIC = ("clinic a", "clinic b"), 1 / 3  # proportion of patients at the second clinic
FIRST_VISITS = (date(2014, 1, 1), 1500)  # earliest day, range in days
MONTHS_BETWEEN = (3, 12)  # between two visits: lowest, and upper end that is not reached


@dataclass(frozen=True)
class Lesion:
    """What all pictures of a lesion have in common.

    key: seed and lesion number, from which its random streams start. look: the parameters of LOOK, with lengths in half
    widths of a picture. structures: strengths, 0 if absent. Each structure has its own random stream, so that a lesion
    can grow or a structure can fade while the rest stays the same.
    """

    key: tuple[int, int]
    skin: tuple[float, float, float]
    look: dict[str, float]
    structures: dict[str, float]


@dataclass(frozen=True)
class Picture:
    """One image to draw.

    row: its metadata; number: lesion number; view: which picture of the lesion; months: since the first picture; gain:
    brightness factor.
    """

    row: dict[str, str]
    number: int
    view: int
    months: int = 0
    gain: float = 1.0


def random_stream(*key: int) -> Generator:
    """A random generator that depends only on `key`."""
    return Generator(PCG64(SeedSequence(key)))


def plan_pictures(images: int, seed: int, elsewhere: bool = False) -> list[Picture]:
    """All pictures, in the order of image ids. Image and lesion ids do not depend on the class.

    elsewhere: all patients are the second clinic's, in its own mix of diagnoses, and there are no duplicates.
    """
    rng = random_stream(seed)
    lesions = _lesions(images, SHARE_ELSEWHERE if elsewhere else SHARE, rng)
    patients = [_patient(dx, rng) | {"lesion_id": f"DEMO_L{k + 1:04d}"} for k, (dx, _) in enumerate(lesions)]
    for number, patient in enumerate(patients):
        patient["dataset"] = CLINICS[elsewhere or random_stream(seed, number, 97).random() < SECOND_CLINIC]
    for column, (blank, share) in MISSING.items():
        for number in rng.choice(len(lesions), math.ceil(share * len(lesions)), replace=False):
            patients[number][column] = blank
    visits = [_visits(patients[k], k, views=views, seed=seed) for k, (_, views) in enumerate(lesions)]
    pictures = [picture for lesion in visits for picture in lesion]
    if not elsewhere:
        _add_duplicates(pictures)
    shuffled = [pictures[k] for k in rng.permutation(images)]
    return [replace(p, row=p.row | {"image_id": f"DEMO_{k + 1:07d}"}) for k, p in enumerate(shuffled)]


def _visits(patient: dict[str, str], number: int, *, views: int, seed: int) -> list[Picture]:
    """The pictures of one lesion, each some months after the previous one."""
    rng = random_stream(seed, number, 98)
    earliest, days = FIRST_VISITS
    first = earliest + timedelta(days=int(rng.integers(days)))
    months = np.cumsum([0, *rng.integers(*MONTHS_BETWEEN, views - 1)])
    dates = [(first + timedelta(days=round(30.4 * int(later)))).isoformat() for later in months]
    return [Picture(patient | {"date": dates[view]}, number, view, int(months[view])) for view in range(views)]


def _lesions(images: int, shares: Sequence[float], rng: Generator) -> list[tuple[str, int]]:
    """Class and number of images of each lesion, shuffled. A class gets at least 26 of 700 images, nevi the rest."""
    fewest = math.ceil(images * 26 / 700)
    counts = {dx: max(fewest, round(share * images)) for dx, share in zip(CLASSES, shares, strict=True) if dx != "nv"}
    counts["nv"] = images - sum(counts.values())
    lesions = []
    for dx, count in counts.items():
        n = math.ceil(count / IMAGES_PER_LESION[CLASSES.index(dx)])
        lesions += [(dx, 1 + int(more)) for more in rng.multinomial(count - n, np.full(n, 1 / n))]
    return [lesions[k] for k in rng.permutation(len(lesions))]


def _patient(dx: str, rng: Generator) -> dict[str, str]:
    """Metadata of a lesion of class `dx`, without ids. Ages are in steps of five years, as in HAM10000."""
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


def _add_duplicates(pictures: list[Picture]) -> None:
    """Make two pairs of duplicate nevi, in place: one with equal bytes, one brighter and with another lesion id."""
    nevi = [k for k, picture in enumerate(pictures) if picture.row["dx"] == "nv"]
    again = next(k for k in nevi if pictures[k].view == 1)
    pictures[again] = replace(pictures[again], view=0, months=0)
    views = Counter(picture.number for picture in pictures)
    first, twin = [k for k in nevi if views[pictures[k].number] == 1][:2]
    row = pictures[first].row | {"lesion_id": pictures[twin].row["lesion_id"]}
    pictures[twin] = replace(pictures[first], row=row, gain=1.06)
