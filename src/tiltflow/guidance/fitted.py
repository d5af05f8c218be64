"""A fitted method: samples and densities in the units of the data, and the record of its training."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from tiltflow.errors import UserError
from tiltflow.guidance.contract import FitConfig, Outcome
from tiltflow.guidance.methods import Method
from tiltflow.guidance.problem import Problem
from tiltflow.guidance.user_arrays import as_numbers, refuse_infinite


@dataclass(frozen=True)
class Fitted:
    """A fitted method: `sample` draws from it."""

    method: Method
    config: FitConfig
    problem: Problem
    outcome: Outcome
    seconds: float
    """Wall time of the training, with compilation and with every model that the method needs."""
    losses: dict[str, list[float]]
    """Mean loss of each fiftieth of the training, by network."""
    notes: tuple[str, ...]
    """What the user should know: few effective rows, a second model and its error."""
    seed: int
    networks: dict[str, Any]
    """Every network that was trained, by its name in the losses."""

    @property
    def beta(self) -> float:
        return self.problem.beta

    @property
    def parameters(self) -> int:
        """Of all networks together."""
        return self.outcome.parameters

    @property
    def evaluations(self) -> int:
        """Of networks per sample, gradients counted once."""
        return self.outcome.evaluations

    @property
    def model(self) -> Any:
        """The averaged networks, for whoever wants to look inside."""
        return self.outcome.model

    def sample(self, n: int, seed: int | PRNGKeyArray = 0, condition: Any = None) -> Float[np.ndarray, "n d"]:
        """Draw n points in the units of the data: float32, or float64 where they need it beside an offset.

        Raises UserError for n < 1, or a condition that does not fit (one row for all, or one each).
        """
        if n < 1:
            raise UserError(f"{n} samples were asked for; it must be at least 1.")
        key = jax.random.key(seed) if isinstance(seed, int | np.integer) else seed
        units = self.outcome.sampler(key, n, self.problem.to_units(condition, n))
        points = self.problem.in_data_units(np.asarray(units))
        return points if self.problem.needs_double else points.astype(np.float32)

    def log_prob(self, points: Any, condition: Any = None) -> Float[np.ndarray, " n"]:
        """log density of the model at points [n, d], in nats, by adaptive integration.

        Raises UserError for a method or a transform without one (resample, lattice), where a coordinate of
        the data is constant, and for points of another size or that are not finite.
        """
        if self.outcome.log_density is None:
            raise UserError(f"{self.method.name} selects among points that are drawn: it has no density.")
        if not np.all(self.problem.scale > 0):
            raise UserError("The data do not vary in every coordinate: their law has no density.")
        points = as_numbers("points", points)
        points = points[:, None] if points.ndim == 1 and self.problem.size == 1 else points
        if points.ndim != 2 or points.shape[1] != self.problem.size or not len(points):
            raise UserError(f"points have shape {points.shape}; they must be [rows, {self.problem.size}].")
        refuse_infinite("points", points)
        units = self.problem.standardise(points)
        logs = self.outcome.log_density(units, self.problem.to_units(condition, len(points)))
        transform = self.problem.transform
        slopes = 0.0 if transform is None else transform.log_slope(points)
        return np.asarray(logs, np.float64) - np.sum(np.log(self.problem.scale)) + slopes
