"""What is to be sampled: the user's points and energies, checked, in the units of the networks."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from tiltflow.errors import UserError
from tiltflow.guidance.effective_rows import beta_for_share, effective_rows, relative_energies, row_weights
from tiltflow.guidance.transforms import Transform, make_transform
from tiltflow.guidance.user_arrays import as_column, as_numbers, refuse, refuse_infinite
from tiltflow.settings import TransformName

_MERGED = 0.01
"""Of the spread of a coordinate: larger steps of single precision lose what it says."""


@dataclass(frozen=True)
class Problem:
    """Samples of p with an energy each: standardised points, and weights of mean 1.

    `points` [n, d] have mean 0 and variance 1 in each coordinate (a constant one is 0); `shift` and `scale`
    lead back. `energies` [n] are relative to the lowest one; +∞ excludes a row. `condition` [n, c] is
    standardised likewise.
    """

    points: Float[np.ndarray, "n d"]
    energies: Float[np.ndarray, " n"]
    beta: float
    shift: Float[np.ndarray, " d"]
    scale: Float[np.ndarray, " d"]
    weights: Float[np.ndarray, " n"]
    labels: Float[np.ndarray, " n"] | None = None
    condition: Float[np.ndarray, "n c"] | None = None
    condition_shift: Float[np.ndarray, " c"] | None = None
    condition_scale: Float[np.ndarray, " c"] | None = None
    energy: Callable[[Any], Any] | None = None
    """E as a function of points in the units of the data, where it was given as one."""
    target_ess: float | None = None
    """The share of the rows that β was chosen to keep, where it was chosen."""
    level: Float[np.ndarray, " n"] | None = None
    """b(c) of each row, where `energies` are relative to it (see baseline.py)."""
    transform: Transform | None = None
    """What the points went through before they were standardised; `energy` is then a function of T(x)."""

    @property
    def ess(self) -> float:
        """Effective sample size of the weights, in rows."""
        return effective_rows(self.weights)

    @property
    def size(self) -> int:
        """Coordinates of a point."""
        return self.points.shape[1]

    @property
    def condition_size(self) -> int:
        """Entries of a condition, 0 where there is none."""
        return 0 if self.condition is None else self.condition.shape[1]

    def standardise(self, points: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m d"]:
        """Points in the networks' units, in which a constant coordinate is 0."""
        points = points if self.transform is None else self.transform.forward(points)
        return ((points - self.shift) / np.where(self.scale > 0, self.scale, 1.0)).astype(np.float32)

    def in_data_units(self, points: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m d"]:
        """Points of the networks' units in those of the data."""
        points = points * self.scale + self.shift
        return points if self.transform is None else self.transform.inverse(points)

    @cached_property
    def needs_double(self) -> bool:
        """Whether single precision, in the units of the data, has steps too large for their spread."""
        points = self.in_data_units(self.points)
        with np.errstate(over="ignore", invalid="ignore"):
            step = np.spacing(np.abs(points).max(axis=0).astype(np.float32))
        spread = points.std(axis=0)
        return bool(((spread > 0) & ~(step <= _MERGED * spread)).any())

    def to_units(self, condition: Any, n: int) -> Float[np.ndarray, "n c"] | None:
        """A condition, for each of n samples or one for all, in the networks' units.

        Raises UserError where there is one too many, too few, one of another size or one that is not finite.
        """
        if (condition is None) != (self.condition is None):
            text = "none was given" if condition is None else "the model was fitted without one"
            raise UserError(f"A condition is needed for sampling exactly where it was fitted with: {text}.")
        if condition is None:
            return None
        assert self.condition_shift is not None
        condition = np.asarray(condition, np.float64)
        size = len(self.condition_shift)
        if condition.shape not in ((size,), (n, size)):
            raise UserError(
                f"The condition has shape {condition.shape}; for {n} samples it must be [{n}, {size}] or "
                f"[{size}]."
            )
        refuse_infinite("condition", np.atleast_2d(condition))
        units = (condition - self.condition_shift) / self.condition_scale
        return np.broadcast_to(units, (n, size)).astype(np.float32)


def make_problem(
    points: Any,
    energy: Any,
    beta: float | None = None,
    *,
    target_ess: float | None = None,
    labels: Any = None,
    condition: Any = None,
    standardise: bool = True,
    transform: TransformName = "none",
) -> Problem:
    """Check the data of a fit and bring them into the networks' units.

    Without `standardise` the points stay in their own: their spread should then be near 1, the noise's.
    A `transform` (transforms.py) comes before; energies are those of the points as they are given.

    `points` [n, d] (or [n]); `energy` [n], one of each row, or a function of the points; exactly one of
    `beta` ≥ 0 and `target_ess` (the share of the rows that are to remain effective, in (0, 1]), which
    chooses β. `labels` [n] in [0, 1] are the classes that cg and cfg use in place of exp(−E/τ).
    Raises UserError naming the row for anything that cannot be used.
    """
    points = as_numbers("points", points)
    points = points[:, None] if points.ndim == 1 else points
    if points.ndim != 2 or 0 in points.shape:
        raise UserError(f"points have shape {points.shape}; they must be [rows, dimensions].")
    refuse_infinite("points", points)
    n = len(points)
    energies = as_column("energy", energy(points) if callable(energy) else energy, n)
    refuse("energy", np.isnan(energies) | np.isneginf(energies), "is not a number or −∞", energies)
    if np.all(np.isposinf(energies)):
        raise UserError(f"energy is +∞ at each of the {n} rows: nothing is left to sample.")
    if labels is not None:
        labels = as_column("labels", labels, n)
        refuse("labels", ~((labels >= 0) & (labels <= 1)), "is outside [0, 1]", labels)
        labels = labels.astype(np.float32)
    if condition is not None:
        condition = as_numbers("condition", condition)
        condition = condition[:, None] if condition.ndim == 1 else condition
        if condition.ndim != 2 or len(condition) != n:
            raise UserError(f"condition has shape {condition.shape}; it must be [{n}, size], a row a point.")
        refuse_infinite("condition", condition)
    relative = relative_energies(energies)
    if (beta is None) == (target_ess is None):
        raise UserError("Give either beta or target_ess, the share of the rows that are to remain effective.")
    beta = beta_for_share(relative, target_ess) if beta is None else float(beta)
    if not (np.isfinite(beta) and beta >= 0):
        raise UserError(
            f"beta = {beta}: it must be finite and not negative. For −E in the place of E, negate E."
        )
    changed = make_transform(transform, points)
    if changed is not None:
        points = changed.forward(points)
    shift, scale, inner = _units(points)
    if not standardise:
        shift, scale, inner = np.zeros_like(shift), np.ones_like(scale), np.ones_like(inner)
    stored = _in_single_precision("points", points, shift, inner)
    condition_units: tuple[Any, Any, Any] = (None, None, None)
    if condition is not None:
        condition_shift, _, condition_inner = _units(condition)
        standard = _in_single_precision("condition", condition, condition_shift, condition_inner)
        condition_units = standard, condition_shift, condition_inner
    return Problem(
        stored,
        relative,
        beta,
        shift,
        scale,
        row_weights(relative, beta),
        labels,
        *condition_units,
        _of_transformed(energy, changed) if callable(energy) else None,
        target_ess,
        transform=changed,
    )


def _of_transformed(energy: Callable[[Any], Any], transform: Transform | None) -> Callable[[Any], Any]:
    """E(T⁻¹(·)), in jax.numpy."""
    if transform is None:
        return energy
    return lambda points: energy(transform.inverse(points, jnp))


def _in_single_precision(
    name: str, values: Float[np.ndarray, "n d"], shift: np.ndarray, scale: np.ndarray
) -> Float[np.ndarray, "n d"]:
    """(values − shift)/scale as networks get them.

    Raises UserError naming the row whose size leaves no room for what the others say.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        stored = ((values - shift) / scale).astype(np.float32)
        low, middle, high = np.quantile(values, (0.25, 0.5, 0.75), axis=0)
        step = np.spacing(np.abs((middle - shift) / scale).astype(np.float32))
        room = _MERGED * ((high - low) / scale)
        sizes = np.abs(values - middle)
    wrong = ~np.isfinite(stored).all(axis=0) | ~np.isfinite(scale) | ((high > low) & (step > room))
    if wrong.any():
        column = int(np.argmax(wrong))
        row = int(np.argmax(sizes[:, column]))
        raise UserError(
            f"{name}, row {row} (counted from 0), is {values[row, column]:.6g} in coordinate {column}. "
            "Beside it the others become equal in single precision, in which networks compute. Leave the row "
            "out if it is no measurement, take other units, or choose transform = quantile."
        )
    return stored


def _units(values: Float[np.ndarray, "n d"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, standard deviation (0 where a column is constant), and what to divide by instead of 0."""
    with np.errstate(over="ignore", invalid="ignore"):  # what is too large is told of later
        shift, deviation = values.mean(axis=0), values.std(axis=0)
    # A column that is constant up to rounding is constant.
    spread = np.ptp(values, axis=0)
    rounding = 1e-12 * np.maximum(np.abs(shift), np.finfo(float).tiny)
    scale = np.where(spread > rounding, deviation, 0.0)
    return shift, scale, np.where(scale > 0, scale, 1.0)
