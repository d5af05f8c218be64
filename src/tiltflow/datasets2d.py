"""The six 2-D data sets of CEP (arXiv 2304.12824) with its labels e, whose energy is E = −e.

The laws are those of CEP's public code. Its sets with a fixed number of points per arc (moons, rings,
spirals) are drawn here row by row, so that every set is an independent sample of any size. A label
belongs to the point before the noise: where arcs or modes overlap, it is no function of the point.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from tiltflow.errors import UserError, nearest

_Points = Float[np.ndarray, "n 2"]
Labels = Float[np.ndarray, " n"]


class Dataset2D(NamedTuple):
    """Points, all within 4.5 or so of zero in each coordinate, and their labels e."""

    points: Float[np.ndarray, "n 2"]
    labels: Float[np.ndarray, " n"]


def _swissroll(rng: np.random.Generator, n: int) -> tuple[_Points, Labels]:
    angle = 1.5 * np.pi * (1 + 2 * rng.random(n))
    roll = angle[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    points = (roll + rng.standard_normal((n, 2))) / 5
    return points, np.sum(points**2, axis=-1) / 9


def _8gaussians(rng: np.random.Generator, n: int) -> tuple[_Points, Labels]:
    index = rng.integers(8, size=n)
    angle = np.pi / 2 + np.pi / 4 * np.arange(8)
    # Anticlockwise from the top, so that e jumps from 1 to 0 there.
    centres = 4 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return (centres[index] + 0.5 * rng.standard_normal((n, 2))) / 1.414, index / 7


def _moons(rng: np.random.Generator, n: int) -> tuple[_Points, Labels]:
    angle = np.pi * rng.random(n)
    inner = rng.random(n) < 0.5
    x = np.where(inner, 1 - np.cos(angle), np.cos(angle))
    y = np.where(inner, 0.5 - np.sin(angle), np.sin(angle))
    points = np.stack([x, y], axis=-1) + 0.1 * rng.standard_normal((n, 2))
    return 2 * points + np.array([-1.0, -0.2]), inner.astype(float)


def _rings(rng: np.random.Generator, n: int) -> tuple[_Points, Labels]:
    radii = np.array([0.75, 1.5, 2.25, 3.0])
    labels = np.array([0.0, 1.0, 0.333, 0.667])
    ring = rng.integers(4, size=n)
    angle = 2 * np.pi * rng.random(n)
    points = radii[ring, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return points + 0.08 * rng.standard_normal((n, 2)), labels[ring]


def _checkerboard(rng: np.random.Generator, n: int) -> tuple[_Points, Labels]:
    x = 4 * rng.random(n) - 2
    y = rng.random(n) - 2 * rng.integers(2, size=n) + np.floor(x) % 2
    points = 2 * np.stack([x, y], axis=-1)
    chosen = ((points[:, 0] > 0) & (points[:, 0] <= 2)) | (points[:, 0] <= -2)
    return points, chosen.astype(float)


def _2spirals(rng: np.random.Generator, n: int) -> tuple[_Points, Labels]:
    angle = np.sqrt(rng.random(n)) * 3 * np.pi
    arm = angle[:, None] * np.stack([-np.cos(angle), np.sin(angle)], axis=-1) + 0.5 * rng.random((n, 2))
    side = np.where(rng.random(n) < 0.5, 1.0, -1.0)
    points = side[:, None] * arm / 3 + 0.1 * rng.standard_normal((n, 2))
    return points, np.clip(1 - angle / 10, 0, 1)


DATASETS_2D: dict[str, Callable[[np.random.Generator, int], tuple[_Points, Labels]]] = {
    "swissroll": _swissroll,
    "8gaussians": _8gaussians,
    "moons": _moons,
    "rings": _rings,
    "checkerboard": _checkerboard,
    "2spirals": _2spirals,
}


def sample_2d(name: str, n: int, seed: int) -> Dataset2D:
    """Draw n points of a set and their labels, float32.

    Raises UserError for an unknown name.
    """
    if name not in DATASETS_2D:
        raise UserError(
            f"There is no toy set {name!r}; there are {', '.join(DATASETS_2D)}.{nearest(name, DATASETS_2D)}"
        )
    points, labels = DATASETS_2D[name](np.random.default_rng(seed), n)
    return Dataset2D(points.astype(np.float32), labels.astype(np.float32))


def class_posterior(labels: Labels) -> Labels:
    """p(c = 1 | x) = min(1, exp(e − 1)), so that p(x)·p^β(c = 1 | x) ∝ p(x)·exp(βe), CEP's target.

    How arXiv 2503.04975 makes its classes of CEP's labels was not found; this is our choice. The bound
    matters only where swissroll's noise lifts e above 1 (about 1 % of its points).
    """
    return np.minimum(1.0, np.exp(labels - 1))


def draw_classes(labels: Labels, seed: int) -> Bool[np.ndarray, " n"]:
    """c ~ Bernoulli(p(c = 1 | x)) for every row: the labels that classifier(-free) guidance trains on.

    The seed must be another one than that of the rows, whose own randomness the classes would follow.
    """
    return np.random.default_rng(seed).random(len(labels)) < class_posterior(labels)
