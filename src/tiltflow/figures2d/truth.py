"""Exact samples of p(x)·p(c = 1 | x)^β, the law that every method aims at.

p(c = 1 | x) = min(1, exp(e − 1)) with CEP's label e, so the energy is E = −log p(c = 1 | x): it is 1 − e, but
0 where swissroll's noise lifts e above 1 (about 1 % of its rows). Without that bound, swissroll's tilt at
β = 20 rests on 10 effective rows of two million, and p(c = 1 | x) would be no probability. With it, keeping
each row of p with the chance p(c = 1 | x)^β gives independent draws of the tilt, at any β and size.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float

from tiltflow.datasets2d import Dataset2D, Labels, class_posterior, draw_classes, sample_2d
from tiltflow.errors import UserError

_BLOCK = 100_000
_MOST_ROWS = 100_000_000


def energies(labels: Labels) -> Labels:
    """E = −log p(c = 1 | x) of each row, at least 0."""
    return -np.log(class_posterior(labels))


@lru_cache(maxsize=16)
def sample_truth(name: str, n: int, beta: float, seed: int) -> Dataset2D:
    """n independent points of the tilt with their labels; equal arguments give equal bits.

    Raises UserError where β is so large that hardly a row of the data is kept.
    """
    kept: list[Dataset2D] = []
    found = rows = 0
    while found < n:
        block = sample_2d(name, _BLOCK, _mixed(seed, len(kept)))
        chance = np.random.default_rng([seed, len(kept), 1]).random(_BLOCK)
        chosen = chance < np.exp(-beta * energies(block.labels).astype(np.float64))
        kept.append(Dataset2D(block.points[chosen], block.labels[chosen]))
        found, rows = found + int(chosen.sum()), rows + _BLOCK
        if n * rows > _MOST_ROWS * max(found, 1):
            raise UserError(
                f"β = {beta:g} is too large for {name}: of {rows:,} rows of the data the tilt keeps {found}, "
                f"so an exact sample of {n:,} points takes too long. Give a smaller β or fewer samples."
            )
    points, labels = (np.concatenate(parts)[:n] for parts in zip(*kept, strict=True))
    return Dataset2D(points, labels)


def sample_class(name: str, n: int, in_class: bool, seed: int) -> Float[np.ndarray, "n 2"]:
    """n points of p(x | c = 1) or of p(x | c = 0)."""
    rows = sample_2d(name, 10 * n + 1000, _mixed(seed, 0))
    # Classes of a seed of their own: with that of the rows they would follow the points' own randomness.
    return rows.points[draw_classes(rows.labels, _mixed(seed, 1)) == in_class][:n]


def _mixed(seed: int, block: int) -> int:
    """A seed of its own for every block, far from the small ones that training rows are drawn with."""
    return int(np.random.SeedSequence([seed, block]).generate_state(1, np.uint64)[0])
