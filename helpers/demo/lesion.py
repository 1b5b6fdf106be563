"""Drawing of a lesion: skin, body and structures, depending on the diagnosis."""

import math
from collections import defaultdict
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.random import Generator
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial import cKDTree

from helpers.demo.noise import REACH, cloud_noise, draw_lines, draw_spots, draw_tree, smooth_noise, soft_step
from helpers.demo.plan import CLASSES, Lesion, random_stream

# Appearance: the typical value of each parameter per class, and last the standard deviation of its logarithm.
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
# How often each class has a structure, in percent. Structures are drawn in this order, later ones on top.
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
# Mean change of the logarithm of a lesion's radius per month, and its standard deviation.
GROWTH = (0.010, 0.013, -0.004, 0.0, 0.030, -0.008, -0.004)
GROWTH_DEVIATION = 0.008
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
SKIN_ROOT = ((0.085, 0, 0), (0.051, 0.070, 0), (0.046, 0.070, 0.048))  # Cholesky factor of the covariance
DENSITY = 1.5  # scene pixels per picture pixel


@dataclass
class Scene:
    """A lesion while it is being drawn: float64 fields [n, n]. Lengths are in half widths of a picture."""

    x: np.ndarray
    y: np.ndarray
    edge: np.ndarray  # 0 at the lesion's centre, 1 on its outline
    inside: np.ndarray  # 1 inside, 0 outside, with a soft border
    density: dict[str, np.ndarray]  # by pigment, see ABSORPTION
    covers: list[tuple[np.ndarray, tuple[float, float, float]]] = field(default_factory=list)  # opacity, RGB


def sample_lesion(dx: str, seed: int, number: int) -> Lesion:
    """Parameters of lesion `number`: those of its class `dx`, moved towards a class that it can be mistaken for."""
    rng = random_stream(seed, number, 0)
    column, other, share = CLASSES.index(dx), CLASSES.index(rng.choice(MISTAKEN_FOR[dx])), 0.35 * rng.beta(1, 3)

    def blend(row: tuple[float, ...]) -> float:
        return (1 - share) * row[column] + share * row[other]

    look = {name: blend(row) * math.exp(rng.normal(0, row[-1])) for name, row in LOOK.items()}
    look["radius"] = min(max(look["radius"], 0.16), 0.85)
    draws = {name: (rng.random() < blend(row) / 100, rng.uniform(0.85, 1.15)) for name, row in STRUCTURES.items()}
    structures = {name: strength if shown else 0.0 for name, (shown, strength) in draws.items()}
    skin = np.array(SKIN_MEAN) + np.array(SKIN_ROOT) @ np.clip(rng.standard_normal(3), -1.8, 1.8)
    return Lesion((seed, number), tuple(np.clip(skin, 0.3, 0.97)), look, structures)


def grow(lesion: Lesion, dx: str, months: int) -> Lesion:
    """The same lesion some months later. Most malignant lesions grow; many benign ones shrink a little.

    Growth rates vary within each class, so growth is only a hint of the class. Size alone does not reveal growth.
    """
    pace = GROWTH[CLASSES.index(dx)] + random_stream(*lesion.key, 99).normal(0, GROWTH_DEVIATION)
    radius = min(max(lesion.look["radius"] * math.exp(pace * months), 0.16), 0.85)
    return replace(lesion, look=lesion.look | {"radius": radius})


def draw_scene(lesion: Lesion, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a lesion with its skin: RGB, float64 [3, n, n] from 0 to 1, and `edge`, float64 [n, n], below 1 inside."""
    scene = _outline(lesion, 2 * round(REACH * DENSITY * side / 2))
    _skin(scene, random_stream(*lesion.key, 2))
    _body(scene, lesion.look, random_stream(*lesion.key, 3))
    for k, (name, strength) in enumerate(lesion.structures.items()):
        if strength and name in DRAWING:
            DRAWING[name](scene, strength, random_stream(*lesion.key, 5 + k))
    colour = np.empty((3, *scene.x.shape))
    for channel, bare in enumerate(lesion.skin):
        absorbed = sum(ABSORPTION[name][channel] * density for name, density in scene.density.items())
        colour[channel] = bare * np.exp(-absorbed)
        for opacity, cover in scene.covers:
            colour[channel] += opacity * (cover[channel] - colour[channel])
    return _ruffle(colour, scene.edge, random_stream(*lesion.key, 4))


def _outline(lesion: Lesion, n: int) -> Scene:
    """The empty scene, [n, n]: an ellipse distorted by smooth noise and fine noise, with streaks at its border."""
    rng, look, streaks = random_stream(*lesion.key, 1), lesion.look, lesion.structures["streaks"]
    y, x = np.meshgrid(*[np.linspace(-REACH, REACH, n)] * 2, indexing="ij")
    u, v = (axis + 0.9 * look["irregularity"] * look["radius"] * cloud_noise(rng, n, 4, fall=0.45) for axis in (x, y))
    stretch = math.exp(look["elongation"] / 2)
    edge = np.hypot(u / stretch, v * stretch) / look["radius"]
    edge += 1.3 * look["raggedness"] * cloud_noise(rng, n, 18, fall=0.8) * soft_step(edge, 0.3, 0.9)
    spokes = np.interp(np.arctan2(v, u), np.linspace(-math.pi, math.pi, 90), rng.standard_normal(90))
    edge -= 0.3 * streaks * np.maximum(spokes - 0.3, 0) * soft_step(edge, 0.6, 0.95) * soft_step(-edge, -1.6, -1.2)
    softness = look["softness"] / look["radius"]
    return Scene(x, y, edge, soft_step(-edge, -1 - softness, -1 + softness), defaultdict(lambda: np.zeros((n, n))))


def _skin(scene: Scene, rng: Generator) -> None:
    """Add uneven tone and fine furrows, and sometimes sun damage and small vessels."""
    n = len(scene.x)
    furrows = np.exp(-((smooth_noise(rng, n, 75) / 0.3) ** 2)) + np.exp(-((smooth_noise(rng, n, 130) / 0.3) ** 2))
    scene.density["melanin"] += 0.02 * cloud_noise(rng, n, 4, fall=0.95) + rng.uniform(0.01, 0.06) * (furrows - 0.5)
    scene.density["blood"] += rng.uniform(0.02, 0.06) * cloud_noise(rng, n, 5, fall=0.95)
    if rng.random() < 0.35:
        scene.density["melanin"] += rng.uniform(0.05, 0.22) * soft_step(cloud_noise(rng, n, 10, fall=0.85), 0.2, 2.2)
    if rng.random() < 0.3:
        paths = sum([draw_tree(rng, rng.uniform(-REACH, REACH, 2), 16, width=0.02) for _ in range(8)], [])
        scene.density["blood"] += gaussian_filter(0.5 * draw_lines(n, paths), 0.01 * n / REACH)


def _body(scene: Scene, look: dict[str, float], rng: Generator) -> None:
    """Add pigment and blood: mottled, different in the middle, and denser on one side if asymmetric."""
    n, turn = len(scene.x), rng.uniform(0, 2 * math.pi)
    tilt = (math.cos(turn) * scene.x + math.sin(turn) * scene.y) / look["radius"]
    depth = 1 + look["asymmetry"] * tilt + rng.normal(0.35, 0.3) * (0.6 - scene.edge)
    depth += look["mottling"] * cloud_noise(rng, n, 7, fall=0.85)
    scene.density["melanin"] += look["melanin"] * scene.inside * np.maximum(depth, 0.12)
    scene.density["blood"] += look["blood"] * scene.inside * np.maximum(1 + 0.4 * cloud_noise(rng, n, 7, fall=0.8), 0)


def _ruffle(colour: np.ndarray, edge: np.ndarray, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """`colour` and `edge` distorted by the same fine noise, because tissue has no straight lines or perfect circles."""
    n = len(edge)
    places = np.indices(edge.shape, float)
    for axis in range(2):
        places[axis] += n / (2 * REACH) * (0.014 * smooth_noise(rng, n, 22) + 0.006 * smooth_noise(rng, n, 60))
    *colour, edge = [map_coordinates(f, places, order=1, mode="nearest") for f in (*colour, edge)]
    return np.stack(colour), edge


def _region(scene: Scene, rng: Generator, limits: tuple[float, float]) -> np.ndarray:
    """An irregular region around an off-centre point, float64 [n, n]: 0 below the limits, 1 above, smooth between."""
    right, down = rng.normal(0, 0.16, 2)
    near = 1.2 - 1.6 * np.hypot(scene.x - right, scene.y - down) + 0.75 * cloud_noise(rng, len(scene.x), 8, fall=0.75)
    return scene.inside * soft_step(near - 0.6 * scene.edge, *limits)


def _places(scene: Scene, rng: Generator, per_area: float, *, reach: float = 0.95) -> np.ndarray:
    """Random points where `edge` is below `reach`: x and y, float64 [count, 2]."""
    places = rng.uniform(-REACH, REACH, (int(per_area * (2 * REACH) ** 2), 2))
    column, row = ((places / REACH + 1) / 2 * len(scene.edge)).astype(int).T
    return places[scene.edge[row, column] < reach]


def _speckle(scene: Scene, rng: Generator, per_area: tuple[float, float], *, size: float, spread: float) -> np.ndarray:
    """Random spots on the lesion, float64 [n, n] from 0 to 1. Their radii are log-normal around `size`."""
    places = _places(scene, rng, rng.uniform(*per_area))
    return draw_spots(len(scene.x), places, size * np.exp(rng.normal(0, spread, len(places))))


def _mosaic(scene: Scene, rng: Generator, *, spacing: float, jitter: float) -> tuple[np.ndarray, np.ndarray]:
    """Cells of an irregular lattice: distance to the wall, in spacings (1 outside the lesion), and cell number."""
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
    n, (wall, _) = len(scene.x), _mosaic(scene, rng, spacing=rng.uniform(0.09, 0.14), jitter=rng.uniform(0.14, 0.32))
    lines = np.exp(-((wall / (0.36 + 0.1 * smooth_noise(rng, n, 12))) ** 2))
    lines *= soft_step(cloud_noise(rng, n, 12) + 1.6, 0, 1.6)
    seen = strength * soft_step(smooth_noise(rng, n, 6) + 1.2, 0, 1.5) * scene.inside
    scene.density["melanin"] *= 1 + seen * (0.8 * lines - 0.4)
    scene.density["melanin"] += 0.2 * seen * lines


def _globules(scene: Scene, strength: float, rng: Generator) -> None:
    spots = _speckle(scene, rng, (20, 55), size=rng.uniform(0.03, 0.052), spread=rng.uniform(0.1, 0.5))
    scene.density["melanin"] += (0.2 + 0.5 * strength) * spots * soft_step(cloud_noise(rng, len(spots), 12) + 1.5, 0, 2)


def _blotch(scene: Scene, strength: float, rng: Generator) -> None:
    region = _region(scene, rng, (0.5, 1.4))
    scene.density["melanin"] += 0.6 * strength * region
    scene.density["black"] += 0.6 * strength * region


def _veil(scene: Scene, strength: float, rng: Generator) -> None:
    region = strength * _region(scene, rng, (0.3, 1.9))
    scene.density["melanin"] *= 1 - 0.5 * region
    scene.density["blue"] += 0.7 * region
    scene.covers.append((0.25 * region, (0.72, 0.76, 0.85)))


def _regression(scene: Scene, strength: float, rng: Generator) -> None:
    region = strength * _region(scene, rng, (0.5, 1.6))
    scene.density["melanin"] *= 1 - 0.8 * region
    scene.density["blue"] += 0.45 * region * _speckle(scene, rng, (60, 90), size=0.014, spread=0.2)
    scene.covers.append((0.3 * region, (0.95, 0.87, 0.88)))


def _scar(scene: Scene, strength: float, rng: Generator) -> None:
    n = len(scene.x)
    patch = strength * soft_step(-scene.edge - 0.18 * cloud_noise(rng, n, 10), -0.85, 0)
    scene.density["melanin"] *= 1 - 0.8 * patch
    uneven = 0.6 + 0.4 * soft_step(cloud_noise(rng, n, 20, fall=0.9), -0.8, 1)
    scene.covers.append((0.5 * patch * uneven, (0.96, 0.87, 0.88)))


def _nests(scene: Scene, strength: float, rng: Generator) -> None:
    nests = _speckle(scene, rng, (5, 12), size=0.085, spread=0.4)
    nests *= soft_step(cloud_noise(rng, len(nests), 20, fall=0.9) + 1.4, 0, 1.8)
    nests = gaussian_filter(nests, 0.012 * len(nests) / REACH)
    scene.density["blue"] += (0.4 + 0.5 * strength) * nests
    scene.density["melanin"] += 0.2 * strength * nests


def _ulcer(scene: Scene, strength: float, rng: Generator) -> None:
    n, sore = len(scene.x), strength * _region(scene, rng, (0.8, 1.3))
    scene.density["blood"] += 0.6 * sore
    scene.density["black"] += 0.45 * sore * soft_step(cloud_noise(rng, n, 14), -0.6, 1)
    scene.covers.append((0.4 * sore * soft_step(cloud_noise(rng, n, 24, fall=0.9), 0.2, 1.2), (0.83, 0.62, 0.36)))


def _lagoons(scene: Scene, strength: float, rng: Generator) -> None:
    wall, number = _mosaic(scene, rng, spacing=rng.uniform(0.11, 0.22), jitter=0.3)
    n, hue = len(wall), rng.uniform(-0.3, 0.8)
    deep = hue + rng.uniform(0, 1, number.max() + 1)[number] + 0.25 * cloud_noise(rng, n, 12, fall=0.8)
    lake = gaussian_filter(soft_step(wall, -0.3, 0.4), 0.008 * n / REACH) * scene.inside * strength
    scene.density["purple"] += 0.9 * lake * np.clip(deep, 0, 1.3)
    scene.density["blood"] += 1.3 * lake * (1 - 0.5 * np.clip(deep, 0, 1.3))
    septa = gaussian_filter(soft_step(-wall, -0.22, 0), 0.008 * n / REACH)
    septa *= soft_step(smooth_noise(rng, n, 12) + 1, 0, 2)
    scene.covers.append((0.2 * scene.inside * septa, (0.90, 0.72, 0.82)))


def _strawberry(scene: Scene, strength: float, rng: Generator) -> None:
    n, (wall, _) = len(scene.x), _mosaic(scene, rng, spacing=rng.uniform(0.09, 0.15), jitter=0.28)
    seen = strength * scene.inside * soft_step(cloud_noise(rng, n, 8) + 1, 0, 2)
    scene.density["blood"] += 0.45 * seen * soft_step(-wall, -0.6, 0)
    scene.covers.append((0.3 * seen * soft_step(wall, 0.45, 0.9), (0.97, 0.86, 0.76)))


def _dots(scene: Scene, strength: float, rng: Generator) -> None:
    scene.density["blood"] += (0.35 + 0.5 * strength) * _speckle(scene, rng, (30, 65), size=0.026, spread=0.2)


def _vessels(scene: Scene, strength: float, rng: Generator) -> None:
    n, starts = len(scene.x), _places(scene, rng, rng.uniform(4, 10), reach=1.0)
    paths = sum([draw_tree(rng, start, int(rng.integers(10, 20)), width=0.042) for start in starts], [])
    lines = gaussian_filter(draw_lines(n, paths), 0.004 * n / REACH) * soft_step(cloud_noise(rng, n, 14) + 1.7, 0, 2)
    scene.density["blood"] += (0.5 + 0.6 * strength) * lines * soft_step(-scene.edge, -1.3, -0.9)


def _openings(scene: Scene, strength: float, rng: Generator) -> None:
    plugs = _speckle(scene, rng, (8, 22), size=0.043, spread=0.35)
    scene.density["melanin"] += (0.4 + 0.6 * strength) * plugs
    scene.density["black"] += 0.3 * strength * plugs


def _milia(scene: Scene, strength: float, rng: Generator) -> None:
    pearls = _speckle(scene, rng, (9, 25), size=0.036, spread=0.3)
    scene.covers.append(((0.2 + 0.4 * strength) * pearls, (0.96, 0.88, 0.78)))


def _scale(scene: Scene, strength: float, rng: Generator) -> None:
    n = len(scene.x)
    flakes = soft_step(smooth_noise(rng, n, 55) + 0.7 * smooth_noise(rng, n, 25), 0.5, 2)
    flakes *= soft_step(smooth_noise(rng, n, 8), 0, 1.2)
    scene.covers.append(((0.3 + 0.5 * strength) * flakes * scene.inside, (0.96, 0.92, 0.84)))


_PIGMENTED = (_network, _globules, _blotch, _veil, _regression, _scar, _nests, _openings)
_OTHERS = (_ulcer, _lagoons, _strawberry, _dots, _vessels, _milia, _scale)
DRAWING = {draw.__name__[1:]: draw for draw in _PIGMENTED + _OTHERS}
