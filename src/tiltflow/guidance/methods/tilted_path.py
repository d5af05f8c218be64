"""Energy-weighted flow matching on displaced points: both halves of one identity. Ours, in neither paper.

A Gaussian around a data point, tilted, is a Gaussian displaced against ∇E, times a weight. FlowQ displaces
and energy-weighted flow matching weights; `tilted-path` does both: it draws

    x ~ N(z − βσ²∇E(z), σ²I),   log w = −βE(x) + β∇E(z)·(x − z) + β²σ²|∇E(z)|²/2,   z from the data,

and matches (x, w) as `efm` does. That is exact for every energy, with the data smoothed by σ: the law is
p_σ·exp(−βE)/Z, p_σ = p * N(0, σ²I). σ = 0 is `efm`. The weights are the flatter the more of the tilt the
displacement takes over, which a convex energy lets it and a linear one does not.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.errors import UserError
from tiltflow.flow import Flow
from tiltflow.guidance.annealing import anneal
from tiltflow.guidance.contract import FlowFitConfig, Outcome, RowWeighting
from tiltflow.guidance.effective_rows import row_weights
from tiltflow.guidance.energies import PointEnergy, with_condition
from tiltflow.guidance.fit_loop import Trainer
from tiltflow.guidance.guided_paths import propose
from tiltflow.guidance.methods import register
from tiltflow.guidance.methods.energy_weighted import train_unguided, train_weighted
from tiltflow.guidance.outcome import generative
from tiltflow.guidance.problem import Problem
from tiltflow.settings import Count, Fraction

_PROPOSALS = 1 << 19
_BLOCK = 1 << 16


@dataclass(frozen=True)
class TiltedPathConfig(RowWeighting, FlowFitConfig):
    """Settings of tilted-path."""

    sigma: Fraction = 0.1
    """Standard deviation of the proposals around the data, in units of the data's."""
    anneal: Count = 1
    """Steps in which β is reached, each tilting samples of the one before."""


def displaced_problem(problem: Problem, energy: PointEnergy, sigma: float, key: PRNGKeyArray) -> Problem:
    """The problem of the proposals: each row equally often, at least 2¹⁹ of them in all.

    Raises UserError where the energy is not finite at a row or a proposal.
    """
    n = len(problem.points)
    rows = np.tile(np.arange(n), -(-_PROPOSALS // n) if sigma > 0 else 1)
    points, logs = [], []
    for number, first in enumerate(range(0, len(rows), _BLOCK)):
        chosen = np.resize(rows[first : first + _BLOCK], _BLOCK if len(rows) > _BLOCK else len(rows))
        condition = None if problem.condition is None else jnp.asarray(problem.condition[chosen])
        block_key = jax.random.fold_in(key, number)
        z = jnp.asarray(problem.points[chosen])
        x, log_weight = _propose(energy, z, condition, block_key, problem.beta, sigma)
        kept = min(_BLOCK, len(rows) - first)
        points.append(np.asarray(x)[:kept])
        logs.append(np.asarray(log_weight)[:kept])
    log_weights = np.concatenate(logs)
    excluded = np.isposinf(problem.energies[rows])
    if not np.all(np.isfinite(log_weights) | excluded):
        bad = int(rows[np.argmin(np.isfinite(log_weights) | excluded)])
        raise UserError(
            f"The energy or its gradient is not finite near row {bad} of the points: tilted-path needs it to "
            "be, within a few sigma of every row. Lower --sigma, or use efm."
        )
    if problem.energy is not None and problem.level is not None:
        log_weights = log_weights + np.float32(problem.beta) * problem.level[rows]
    log_weights = np.where(excluded, -np.inf, log_weights)
    return replace(
        problem,
        points=np.concatenate(points),
        energies=-log_weights / np.float32(problem.beta),
        weights=row_weights(-log_weights, 1.0),
        condition=None if problem.condition is None else problem.condition[rows],
        level=None if problem.level is None else problem.level[rows],
    )


@jax.jit
def _propose(
    energy: PointEnergy, z: Array, condition: Array | None, key: Array, beta: Array, sigma: Array
) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
    return propose(with_condition(energy, condition), key, z, beta=beta, sigma=sigma)


def fit(
    problem: Problem, config: TiltedPathConfig, key: PRNGKeyArray, trainer: Trainer, energy: PointEnergy
) -> Outcome:
    """One weighted model of displaced points in each step of annealing; at β = 0 one of the data."""
    if problem.beta == 0:
        return generative(train_unguided(problem, config, key, trainer), problem, config)
    sizes: list[str] = []

    def step(now: Problem, key: PRNGKeyArray, which: str) -> Flow:
        propose_key, key = jax.random.split(key)
        moved = displaced_problem(now, energy, config.sigma, propose_key)
        share, plain = moved.ess / len(moved.points), now.ess / len(now.points)
        sizes.append(f"{share:.2%}, without displacement {plain:.2%}")
        return train_weighted(moved, config, key, trainer, config.weights, f"generative model{which}")

    flow = anneal(problem, energy, config, config.anneal, key, step)
    trainer.notes.append(f"Effective share of the proposals: {'; then '.join(sizes)}.")
    return generative(flow, problem, config)


register("tilted-path", TiltedPathConfig(), fit, exact=True, auxiliary=True, needs_energy=True)
