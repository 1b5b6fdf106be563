"""Photographs of a lesion: pose, light, camera, and artefacts that cover parts of it."""

import math

import numpy as np
from numpy.random import Generator
from scipy.ndimage import affine_transform, gaussian_filter

from helpers.demo.noise import REACH, draw_lines, draw_spots, random_walk, soft_step

# Camera of the second clinic. The gains are for red, green and blue values from 0 to 1.
CAMERA_GAMMA, CAMERA_GAIN = 1.25, (1.03, 0.98, 0.88)


def draw_view(scene: tuple[np.ndarray, np.ndarray], side: int, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """One picture of a scene from `draw_scene`: RGB, uint8 [side, side, 3], and lesion mask, bool [side, side]."""
    colour, edge = scene
    matrix, offset = random_pose(len(edge), side, rng)
    *rgb, edge = [affine_transform(f, matrix, offset, (side, side), order=1, mode="mirror") for f in (*colour, edge)]
    picture = np.stack(rgb)
    for opacity, cover in draw_artefacts(side, rng).values():
        picture = picture + opacity * (np.reshape(cover, (3, 1, 1)) - picture)
    picture = gaussian_filter(picture, (0, *[side / 128 * rng.uniform(0.1, 0.7)] * 2))
    picture = _light(picture, rng) + rng.normal(0, 0.008, (side, side)) + rng.normal(0, 0.004, picture.shape)
    return np.round(255 * np.clip(np.moveaxis(picture, 0, 2), 0, 1)).astype(np.uint8), edge < 1


def random_pose(size: int, side: int, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """Random rotation, zoom and shift from a scene of `size` pixels to a view of `side`: matrix [2, 2], offset [2]."""
    turn, zoom = rng.uniform(0, 2 * math.pi), math.exp(rng.normal(0, 0.13)) * size / (REACH * side)
    matrix = zoom * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    centre = size / 2 * (1 + np.clip(rng.normal(0, 0.06, 2), -0.15, 0.15)) - 0.5
    return matrix, centre - matrix @ np.full(2, (side - 1) / 2)


def apply_second_camera(picture: np.ndarray) -> np.ndarray:
    """The same view as taken by the camera of the second clinic, uint8 [n, n, 3]."""
    light = (picture / 255) ** CAMERA_GAMMA * CAMERA_GAIN
    return np.round(255 * np.minimum(light, 1)).astype(np.uint8)


def _light(picture: np.ndarray, rng: Generator) -> np.ndarray:
    """Add lighting to a picture [3, n, n]: exposure, a tint, uneven brightness, and sometimes dark corners."""
    y, x = np.meshgrid(*[np.linspace(-1, 1, picture.shape[1])] * 2, indexing="ij")
    slope = 1 + rng.normal(0, 0.03) * x + rng.normal(0, 0.03) * y - abs(rng.normal(0, 0.04)) * (x * x + y * y)
    if rng.random() < 0.16:
        start = rng.uniform(0.85, 1.2)
        slope *= 1 - rng.uniform(0.3, 0.95) * soft_step(np.hypot(x, y), start, start + rng.uniform(0.15, 0.8))
    gain = math.exp(rng.normal(0.03, 0.05)) * np.exp(rng.normal(0, 0.02, (3, 1, 1)))
    return picture * slope * gain


def draw_artefacts(n: int, rng: Generator) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Random artefacts that cover a picture: hairs, a ruler, gel bubbles, glints.

    Returns for each by name its opacity, float64 [n, n] from 0 to 1, and its colour, RGB from 0 to 1.
    """
    layers = {}
    if rng.random() < 0.35:
        opacity = rng.uniform(0.5, 0.95) * draw_hairs(n, rng)
        layers["hairs"] = opacity, np.array([0.22, 0.14, 0.11]) * rng.uniform(0.6, 2.2)
    if rng.random() < 0.08:
        layers["ruler"] = 0.85 * draw_ruler(n, rng), np.array([0.12, 0.12, 0.14])
    if rng.random() < 0.14:
        count = int(rng.integers(1, 7))
        rings = draw_spots(n, rng.uniform(-1, 1, (count, 2)), rng.uniform(0.03, 0.13, count), reach=1, ring=True)
        layers["bubbles"] = 0.2 * rings, np.array([0.98, 0.95, 0.95])
    if rng.random() < 0.2:
        count = int(rng.integers(3, 16))
        glints = draw_spots(n, rng.normal(0, 0.5, (count, 2)), rng.uniform(0.008, 0.022, count), reach=1)
        layers["glints"] = 0.6 * glints, np.array([1.0, 0.97, 0.97])
    return layers


def draw_hairs(n: int, rng: Generator) -> np.ndarray:
    """Roughly parallel hairs of random number and width: float64 [n, n] from 0 to 1."""
    count, width, way = min(int(rng.geometric(0.2)), 25), rng.uniform(0.008, 0.024), rng.uniform(0, 2 * math.pi)
    paths = []
    for start in rng.uniform(-1.2, 1.2, (count, 2)):
        steps = int(rng.integers(10, 50))
        headings = way + rng.normal(0, 0.5) + np.arange(steps) * rng.normal(0, 0.03)
        widths = rng.uniform(0.7, 1.2) * np.linspace(width, 0.4 * width, steps)
        paths.append((random_walk(start, headings, 0.05), widths))
    return draw_lines(n, paths, 1)


def draw_ruler(n: int, rng: Generator) -> np.ndarray:
    """Ticks along one edge of the picture, every fifth one longer: float64 [n, n] from 0 to 1."""
    x, y = np.arange(-1, 1, rng.uniform(0.08, 0.13)), rng.uniform(0.02, 0.1) - 1
    long = np.where(np.arange(len(x)) % 5, 0.07, 0.14)
    ticks = [(np.array([[at, y], [at, y + size]]), np.full(2, 0.012)) for at, size in zip(x, long, strict=True)]
    return np.rot90(draw_lines(n, ticks, 1), int(rng.integers(4)))
