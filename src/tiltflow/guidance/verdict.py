"""Whether samples are under-fitted, copies of the training rows, or fine: told by rows that were held out.

Held-out rows, drawn again by their own weights exp(−βE), are a sample of the tilt that no training has seen.
- distance: sliced Wasserstein-2 between samples and held-out rows, over that between training rows (drawn by
  their weights) and held-out rows, which is what the data allow. Above 2: under-fitted.
- nearest: the median distance of a sample to its nearest training row, over that of a held-out row. Samples
  of the tilt are as far from the training rows as other rows of the tilt are. Below ½: memorised.
Both limits are ours. Distances are in the standardised units of the networks. With few effective rows the
distance has a wide floor, so that much passes: with fewer than 20 held out nothing is said.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray
from scipy.spatial import cKDTree

from tiltflow.guidance.effective_rows import effective_rows, relative_energies, resample_rows, row_weights
from tiltflow.guidance.problem import Problem
from tiltflow.metrics import sliced_wasserstein

_MOST, _COMPARED = 2_000, 2_000
_FEWEST = 20.0
_FAR, _NEAR = 2.0, 0.5

Label = Literal["fine", "under-fitted", "memorised", "not judged"]


@dataclass(frozen=True)
class HeldOut:
    """Rows that were kept from training, in the units of the data."""

    points: Float[np.ndarray, "m d"]
    energies: Float[np.ndarray, " m"]


class Verdict(NamedTuple):
    """What the samples are, and by which numbers."""

    label: Label
    effective: float
    """Effective sample size of the held-out rows."""
    rows: int
    distance: float | None = None
    """Of the samples to the held-out rows, over that of the training rows."""
    nearest: float | None = None
    """Median distance to the nearest training row, over that of held-out rows."""
    trained: float | None = None
    """Effective sample size of the training rows."""

    @property
    def sentence(self) -> str:
        """One line for the terminal."""
        if self.distance is None or self.nearest is None:
            few = f"of {self.rows:,} held-out rows {self.effective:.1f} are effective"
            if self.effective >= _FEWEST:
                few = f"of the training rows {self.trained:.1f} are effective"
            return f"not judged: {few}, fewer than {_FEWEST:.0f}"
        meaning = {
            "fine": "new points of the tilt, as far as the held-out rows can tell",
            "under-fitted": "more --steps, a larger --width, or a smaller β",
            "memorised": "samples are near copies of training rows; fewer --steps, more rows, or a smaller β",
            "not judged": "",
        }[self.label]
        if self.label == "memorised" and self.distance > _FAR:
            meaning = (
                "samples are near copies of some training rows and miss others; more rows, or a smaller β"
            )
        return (
            f"{self.label}: {meaning} (distance to {self.effective:.0f} effective held-out rows "
            f"{self.distance:.2f} times that of the training rows, fitted up to {_FAR:g}; to the nearest "
            f"training row {self.nearest:.2f} times that of held-out rows, new from {_NEAR:g} on)"
        )


def split(n: int, share: float, seed: int) -> tuple[Int[np.ndarray, " t"], Int[np.ndarray, " m"]]:
    """Row numbers to train on and to hold out, both in order: a share of n, at most 2,000, by the seed."""
    held = min(int(share * n), _MOST)
    chosen = np.zeros(n, bool)
    chosen[np.random.default_rng([seed, 4]).permutation(n)[:held]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def judge(key: PRNGKeyArray, problem: Problem, samples: Float[np.ndarray, "n d"], held: HeldOut) -> Verdict:
    """The verdict on samples in the units of the data."""
    possible = np.isfinite(held.energies) | (problem.beta == 0)
    weights = row_weights(relative_energies(held.energies), problem.beta) * possible
    effective = effective_rows(weights)
    if effective < _FEWEST or problem.ess < _FEWEST:
        return Verdict("not judged", effective, len(weights), trained=problem.ess)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    count = min(_COMPARED, len(samples))
    units = problem.standardise(held.points)
    truth = units[resample_rows(rng, weights, count)]
    known = problem.points[resample_rows(rng, problem.weights, count)]
    drawn = problem.standardise(samples[:count])

    def distance(points: Float[np.ndarray, "m d"]) -> float:
        pair = jnp.asarray(points), jnp.asarray(truth)
        return sliced_wasserstein(key, *pair, replicates=0).value

    tree = cKDTree(problem.points)
    gaps = [float(np.median(tree.query(points)[0])) for points in (drawn, truth)]
    far = distance(drawn) / max(distance(known), float(np.finfo(np.float32).tiny))
    near = gaps[0] / gaps[1] if gaps[1] > 0 else 1.0  # rows that repeat each other cannot be copied
    label: Label = "memorised" if near < _NEAR else "under-fitted" if far > _FAR else "fine"
    return Verdict(label, effective, len(weights), far, near, problem.ess)
