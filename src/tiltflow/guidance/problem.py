"""What is to be sampled, in the units of the networks; and what a fit leaves behind."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from tiltflow.errors import UserError
from tiltflow.guidance.configs import FitConfig, Method
from tiltflow.guidance.transforms import Transform, make_transform
from tiltflow.settings import TransformName
from tiltflow.tilting import beta_for_ess, effective_sample_size, tilt_weights

Sampler = Callable[[PRNGKeyArray, int, Float[np.ndarray, "n c"] | None], Float[np.ndarray, "n d"]]

FEW = 0.01
TARGET = 0.05


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
        return float(effective_sample_size(jnp.asarray(self.weights)))

    def standardise(self, points: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m d"]:
        """Points in the networks' units, in which a constant coordinate is 0."""
        points = points if self.transform is None else self.transform.forward(points)
        return ((points - self.shift) / np.where(self.scale > 0, self.scale, 1.0)).astype(np.float32)

    def in_data_units(self, points: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "m d"]:
        """Points of the networks' units in those of the data."""
        points = points * self.scale + self.shift
        return points if self.transform is None else self.transform.inverse(points)

    def to_units(self, condition: Any, n: int) -> Float[np.ndarray, "n c"] | None:
        """A condition, for each of n samples or one for all, in the networks' units.

        Raises UserError where there is one too many, too few, or one of another size.
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
        units = (condition - self.condition_shift) / self.condition_scale
        return np.broadcast_to(units, (n, size)).astype(np.float32)


@dataclass(frozen=True)
class Fitted:
    """A fitted method: `sample` draws from it. Times are wall seconds."""

    method: Method
    config: FitConfig
    problem: Problem
    sampler: Sampler
    """(key, n, condition in units) -> points in the networks' units."""
    parameters: int
    """Of all networks together."""
    evaluations: int
    """Of networks per sample, gradients counted once."""
    seconds: float
    """That training took, with compilation and with every model that the method needs."""
    losses: dict[str, list[float]] = field(default_factory=dict)
    """Mean loss of each fiftieth of the training, by network."""
    notes: tuple[str, ...] = ()
    """What the user should know: few effective rows, a second model and its error."""
    log_density: Callable[..., Any] | None = None
    """(points in units, condition in units) -> nats, where the method has a density."""
    model: Any = None
    """The averaged networks, for whoever wants to look inside."""

    @property
    def beta(self) -> float:
        return self.problem.beta

    def sample(self, n: int, seed: int | PRNGKeyArray = 0, condition: Any = None) -> Float[np.ndarray, "n d"]:
        """Draw n points, float32, in the units of the data.

        Raises UserError for n < 1, or a condition that does not fit (one row for all, or one each).
        """
        if n < 1:
            raise UserError(f"{n} samples were asked for; it must be at least 1.")
        key = jax.random.key(seed) if isinstance(seed, int) else seed
        units = self.sampler(key, n, self.problem.to_units(condition, n))
        return self.problem.in_data_units(np.asarray(units)).astype(np.float32)

    def log_prob(self, points: Any, condition: Any = None) -> Float[np.ndarray, " n"]:
        """log density of the model at points [n, d], in nats, by adaptive integration.

        Raises UserError for a method or a transform without one (resample, lattice), or where a coordinate of
        the data is constant.
        """
        if self.log_density is None:
            raise UserError(f"{self.method.name} draws rows of the data: it has no density.")
        if not np.all(self.problem.scale > 0):
            raise UserError("The data do not vary in every coordinate: their law has no density.")
        points = np.asarray(points, np.float64)
        units = self.problem.standardise(points)
        logs = self.log_density(units, self.problem.to_units(condition, len(points)))
        transform = self.problem.transform
        slopes = 0.0 if transform is None else transform.log_slope(points)
        return np.asarray(logs, np.float64) - np.sum(np.log(self.problem.scale)) + slopes


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
    points = _numbers("points", points)
    points = points[:, None] if points.ndim == 1 else points
    if points.ndim != 2 or 0 in points.shape:
        raise UserError(f"points have shape {points.shape}; they must be [rows, dimensions].")
    _need_finite("points", points)
    n = len(points)
    energies = _column("energy", energy(points) if callable(energy) else energy, n)
    _need("energy", np.isnan(energies) | np.isneginf(energies), "is not a number or −∞", energies)
    if np.all(np.isposinf(energies)):
        raise UserError(f"energy is +∞ at each of the {n} rows: nothing is left to sample.")
    if labels is not None:
        labels = _column("labels", labels, n)
        _need("labels", ~((labels >= 0) & (labels <= 1)), "is outside [0, 1]", labels)
        labels = labels.astype(np.float32)
    if condition is not None:
        condition = _numbers("condition", condition)
        condition = condition[:, None] if condition.ndim == 1 else condition
        if condition.ndim != 2 or len(condition) != n:
            raise UserError(f"condition has shape {condition.shape}; it must be [{n}, size], a row a point.")
        _need_finite("condition", condition)
    # Relative to the lowest: exact in double precision, and then within the reach of single precision.
    finite = energies[np.isfinite(energies)]
    relative = np.where(np.isfinite(energies), np.minimum(energies - finite.min(), 3e38), np.inf)
    relative = relative.astype(np.float32)
    if (beta is None) == (target_ess is None):
        raise UserError("Give either beta or target_ess, the share of the rows that are to remain effective.")
    beta = choose_beta(relative, target_ess) if beta is None else float(beta)
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
    condition_units: tuple[Any, Any, Any] = (None, None, None)
    if condition is not None:
        condition_shift, _, condition_inner = _units(condition)
        standard = ((condition - condition_shift) / condition_inner).astype(np.float32)
        condition_units = standard, condition_shift, condition_inner
    return Problem(
        ((points - shift) / inner).astype(np.float32),
        relative,
        beta,
        shift,
        scale,
        np.asarray(tilt_weights(jnp.asarray(relative), beta)),
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


def choose_beta(relative: Float[np.ndarray, " n"], target_ess: float | None) -> float:
    """The β at which the share `target_ess` of the rows is effective; `relative` energies, the lowest is 0.

    Raises UserError where there is none.
    """
    assert target_ess is not None
    if not 0 < target_ess <= 1:
        raise UserError(f"target_ess = {target_ess}: it must be a share of the rows, in (0, 1].")
    allowed = np.isfinite(relative)
    if np.ptp(relative[allowed]) == 0:
        raise UserError("The energies are all equal: no beta changes the effective sample size. Give beta.")
    if target_ess > allowed.mean():
        raise UserError(
            f"target_ess = {target_ess}: only {allowed.mean():.3g} of the rows have an energy below +∞."
        )
    # Ties at the minimum keep their share at any beta; the largest beta there is would overflow the networks.
    lowest = float(np.mean(relative == 0))
    if target_ess <= lowest:
        raise UserError(
            f"target_ess = {target_ess}: a share of {lowest:.3g} of the rows has the lowest energy, so it "
            "never falls below that. Give a larger target, or beta."
        )
    beta = float(beta_for_ess(jnp.asarray(relative), target_ess, maximum=3e38))
    reached = float(effective_sample_size(tilt_weights(jnp.asarray(relative), beta))) / len(relative)
    if abs(reached - target_ess) > 0.05 * target_ess + 1 / len(relative):
        raise UserError(
            f"target_ess = {target_ess}: no beta comes near it. The nearest, {beta:.4g}, keeps {reached:.3g} "
            "of the rows. Give beta, or look at the energies: their sizes may be too far apart."
        )
    return beta


def ess_note(problem: Problem) -> str | None:
    """A warning where few rows carry the tilt, with the β that would keep more of them."""
    n, ess = len(problem.points), problem.ess
    if ess >= FEW * n:
        return None
    relative = jnp.asarray(problem.energies)
    better = float(beta_for_ess(relative, TARGET)) if float(np.mean(problem.energies == 0)) < TARGET else None
    advice = f" β = {better:.3g} would keep {TARGET:.0%}." if better is not None and n * TARGET >= 2 else ""
    return (
        f"At β = {problem.beta:.4g} only {ess:.1f} of {n} rows are effective ({ess / n:.2%}): samples can "
        f"hardly be more than copies of these.{advice}"
    )


def _units(values: Float[np.ndarray, "n d"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, standard deviation (0 where a column is constant), and what to divide by instead of 0."""
    shift = values.mean(axis=0)
    # A column that is constant up to rounding is constant.
    spread = np.ptp(values, axis=0)
    rounding = 1e-12 * np.maximum(np.abs(shift), np.finfo(float).tiny)
    scale = np.where(spread > rounding, values.std(axis=0), 0.0)
    return shift, scale, np.where(scale > 0, scale, 1.0)


def _numbers(name: str, values: Any) -> np.ndarray:
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} cannot be read as numbers: {error}") from error


def _column(name: str, values: Any, n: int) -> Float[np.ndarray, " n"]:
    column = _numbers(name, values)
    if column.shape not in ((n,), (n, 1)):
        raise UserError(
            f"{name} has shape {column.shape}, but there are {n} rows of points: give one value each."
        )
    return column.reshape(n)


def _need_finite(name: str, values: np.ndarray) -> None:
    _need(name, ~np.all(np.isfinite(values), axis=1), "is not finite", values)


def _need(name: str, wrong: np.ndarray, what: str, values: np.ndarray) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UserError(
            f"{name}, row {row} (counted from 0), {what}: {values[row]}; {int(wrong.sum())} of {len(wrong)} "
            "rows are like that. Leave these rows out."
        )
