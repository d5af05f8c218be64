"""Energy-weighted flow matching on displaced points: both halves of one identity. Ours, in neither paper.

A Gaussian around a data point, tilted, is a Gaussian displaced against ∇E, times a weight. FlowQ displaces
and energy-weighted flow matching weights; `tilted-path` does both: it draws

    x ~ N(z − βσ²∇E(z), σ²I),   log w = −βE(x) + β∇E(z)·(x − z) + β²σ²|∇E(z)|²/2,   z from the data,

and matches (x, w) as `efm` does. That is exact for every energy, with the data smoothed by σ: the law is
p_σ·exp(−βE)/Z, p_σ = p * N(0, σ²I). σ = 0 is `efm`. The weights are the flatter the more of the tilt the
displacement takes over, which a convex energy lets it and a linear one does not.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.errors import UserError
from tiltflow.flow import Flow
from tiltflow.guidance.annealing import anneal
from tiltflow.guidance.configs import FitConfig, Method
from tiltflow.guidance.energies import BLOCK, Energy, differentiable_energy, with_condition
from tiltflow.guidance.energy_weighted import train_unguided, train_weighted
from tiltflow.guidance.fit_loop import Progress
from tiltflow.guidance.guided_paths import propose
from tiltflow.guidance.problem import Problem
from tiltflow.guidance.sampling import Outcome, outcome, with_notes
from tiltflow.tilting import tilt_weights

PROPOSALS = 1 << 19


def train(
    method: Method,
    problem: Problem,
    config: FitConfig,
    key: PRNGKeyArray,
    progress: Progress,
    previous: Flow | None = None,
) -> Outcome:
    """Fit `tilted-path`; at β = 0, where nothing is displaced, it is plain matching of the data."""
    energy_key, key = jax.random.split(key)
    size = problem.points.shape[1]
    if problem.beta == 0:
        flow, losses = train_unguided(problem, config, key, progress)
        return outcome(flow, size, config, {"generative model": losses})
    energy, networks, note = differentiable_energy(problem, config, energy_key, progress)
    sizes: list[str] = []

    def step(now: Problem, key: PRNGKeyArray, which: str) -> Flow:
        propose_key, key = jax.random.split(key)
        moved = displaced_problem(now, energy, config.sigma, propose_key)
        sizes.append(
            f"{moved.ess / len(moved.points):.2%}, without displacement {now.ess / len(now.points):.2%}"
        )
        flow, networks[f"generative model{which}"] = train_weighted(moved, config, key, progress, which)
        return flow

    flow = anneal(problem, energy, config, key, step)
    done = outcome(flow, size, config, networks)
    return with_notes(done, note, f"Effective share of the proposals: {'; then '.join(sizes)}.")


def displaced_problem(problem: Problem, energy: Energy, sigma: float, key: PRNGKeyArray) -> Problem:
    """The problem of the proposals: each row equally often, at least `PROPOSALS` of them in all.

    Raises UserError where the energy is not finite at a row or a proposal.
    """
    n = len(problem.points)
    rows = np.tile(np.arange(n), -(-PROPOSALS // n) if sigma > 0 else 1)
    points, logs = [], []
    for number, first in enumerate(range(0, len(rows), BLOCK)):
        chosen = np.resize(rows[first : first + BLOCK], BLOCK if len(rows) > BLOCK else len(rows))
        condition = None if problem.condition is None else jnp.asarray(problem.condition[chosen])
        block_key = jax.random.fold_in(key, number)
        z = jnp.asarray(problem.points[chosen])
        x, log_weight = _propose(energy, z, condition, block_key, problem.beta, sigma)
        kept = min(BLOCK, len(rows) - first)
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
    weights = np.asarray(tilt_weights(jnp.asarray(-log_weights), 1.0))
    return replace(
        problem,
        points=np.concatenate(points),
        energies=-log_weights / np.float32(problem.beta),
        weights=weights,
        condition=None if problem.condition is None else problem.condition[rows],
        level=None if problem.level is None else problem.level[rows],
    )


@jax.jit
def _propose(
    energy: Energy, z: Array, condition: Array | None, key: Array, beta: Array, sigma: Array
) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
    return propose(with_condition(energy, condition), key, z, beta=beta, sigma=sigma)
