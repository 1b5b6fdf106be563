"""Building blocks for drawing: smooth noise, spots, lines and branching trees."""

import math
from functools import lru_cache

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

REACH = 1.4  # half width of a scene, in half widths of a picture; leaves room to rotate, shift and zoom


@lru_cache(maxsize=64)
def _spline(size: int, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """First knots, int [size], and weights, float64 [4, size], of a cubic B-spline with `cells` intervals."""
    t = (np.arange(size) + 0.5) / size * cells
    first = t.astype(int)
    x = t - first
    weights = [(1 - x) ** 3, 3 * x**3 - 6 * x**2 + 4, -3 * x**3 + 3 * x**2 + 3 * x + 1, x**3]
    return first, np.stack(weights) / 6


def _surface(knots: np.ndarray, size: int) -> np.ndarray:
    """Bicubic B-spline with `knots`, float64 [cells + 3, cells + 3], evaluated at [size, size] points."""
    first, weights = _spline(size, len(knots) - 3)
    for _ in range(2):
        knots = np.ascontiguousarray(knots.T)
        knots = sum(weights[k][:, None] * knots[first + k] for k in range(4))
    return knots / 0.479  # standard deviation of a spline with white noise as knots


def smooth_noise(rng: Generator, size: int, cells: int) -> np.ndarray:
    """Smooth noise, float64 [size, size], mean 0 and standard deviation about 1, with `cells` intervals per side."""
    return _surface(rng.standard_normal((cells + 3, cells + 3)), size)


def cloud_noise(rng: Generator, size: int, cells: int, *, fall: float = 0.6) -> np.ndarray:
    """Noise on all scales, float64 [size, size], SD about 1. Each octave weighs `fall` times the previous one."""
    weights = fall ** np.arange(max(1, int(math.log2(size / 2 / cells)) + 1))
    knots = rng.standard_normal((cells + 3, cells + 3))
    for weight in weights[1:]:
        knots = _halve(_halve(knots).T).T
        knots += weight * rng.standard_normal(knots.shape)
    return _surface(knots, size) / np.sqrt((weights**2).sum())


def _halve(knots: np.ndarray) -> np.ndarray:
    """The same cubic splines with half the knot spacing: from float64 [cells + 3, m] to [2 cells + 3, m]."""
    fine = np.empty((2 * len(knots) - 3, knots.shape[1]))
    fine[::2] = (knots[:-1] + knots[1:]) / 2
    fine[1::2] = (knots[:-2] + 6 * knots[1:-1] + knots[2:]) / 8
    return fine


def soft_step(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Smooth step: 0 below `low`, 1 above `high`."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def draw_spots(
    n: int, places: np.ndarray, radii: np.ndarray, *, reach: float = REACH, ring: bool = False
) -> np.ndarray:
    """Soft discs or rings at `places` (x, y) in a field from -reach to reach: float64 [n, n] from 0 to 1."""
    spots, unit = np.zeros((n, n)), n / (2 * reach)
    for (x, y), radius in zip((places + reach) * unit - 0.5, radii * unit, strict=True):
        top, left = (max(int(c - 1.6 * radius - 1), 0) for c in (y, x))
        window = spots[top : max(int(y + 1.6 * radius + 3), 0), left : max(int(x + 1.6 * radius + 3), 0)]
        i, j = np.ogrid[top : top + window.shape[0], left : left + window.shape[1]]
        d = np.hypot(i - y, j - x) / radius
        np.maximum(window, np.exp(-(((d - 1) / 0.13) ** 2)) if ring else soft_step(-d, -1.35, -0.6), out=window)
    return spots


def draw_lines(n: int, paths: list[tuple[np.ndarray, np.ndarray]], reach: float = REACH) -> np.ndarray:
    """Lines along `paths` (points [k, 2], widths [k]) in a field from -reach to reach: float64 [n, n] from 0 to 1."""
    fine, unit = Image.new("L", (4 * n, 4 * n)), 4 * n / (2 * reach)
    pen = ImageDraw.Draw(fine)
    for points, widths in paths:
        corners = np.round((points + reach) * unit).astype(int).tolist()
        for start, end, width in zip(corners, corners[1:], widths, strict=False):
            pen.line([*start, *end], fill=255, width=max(1, round(float(width) * unit)))
    return np.asarray(fine.reduce(4), float) / 255


def random_walk(start: np.ndarray, headings: np.ndarray, stride: float) -> np.ndarray:
    """Points [k, 2] of a path from `start` with steps of length `stride` along `headings`, radians [k]."""
    return start + np.cumsum(stride * np.stack([np.cos(headings), np.sin(headings)], axis=1), axis=0)


def draw_tree(rng: Generator, start: np.ndarray, steps: int, *, width: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """A winding vessel whose branches get thinner and branch again: paths for `draw_lines`."""
    if steps < 5:
        return []
    turns = rng.normal(0, 0.1) + rng.normal(0, 0.28, steps)
    points = random_walk(start, rng.uniform(0, 2 * math.pi) + np.cumsum(turns), 0.035)
    branches = [draw_tree(rng, points[k], steps // 2, width=0.7 * width) for k in rng.integers(1, steps, 3)]
    return [(points, np.linspace(width, 0.35 * width, steps)), *sum(branches, [])]
