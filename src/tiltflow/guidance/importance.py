"""Importance resampling of an unguided flow: many points of p, drawn again with probabilities ∝ exp(−βE).

Sampling importance resampling (Rubin 1987) with a flow of p as its proposal: x_1 … x_N from the flow, of
which point i is taken with probability exp(−βE(x_i))/Σ_j exp(−βE(x_j)). The law is the flow's own tilt for
N → ∞, and one model serves every energy and β. Where few rows of the data carry the tilt, a flow gives many
more points there than the data have: at effective shares of 0.1 to 0.5 % it came nearer to the truth than
`efm`.

Points are drawn in rounds until N·(effective share) is as large as the number of samples asked for, or N is
`pool`. At a condition each sample is one of its own `pool`/n points, at least one in 64. The energy is needed
at new points: as a function, or else a network is fitted to its values, which is told with its error.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from tiltflow.errors import UserError
from tiltflow.flow import Flow
from tiltflow.guidance.configs import FitConfig, Method
from tiltflow.guidance.energies import Energy, differentiable_energy, evaluate
from tiltflow.guidance.energy_weighted import train_unguided
from tiltflow.guidance.fit_loop import Progress
from tiltflow.guidance.problem import Problem
from tiltflow.guidance.resampling import draw_rows
from tiltflow.guidance.sampling import Outcome, draw, outcome, with_notes
from tiltflow.tilting import effective_sample_size, tilt_weights

ROUND = 1 << 16
FEWEST = 64
NOTHING = "The energy is not finite at any point that the model of p gives: nothing is left."


def train(
    method: Method,
    problem: Problem,
    config: FitConfig,
    key: PRNGKeyArray,
    progress: Progress,
    previous: Flow | None = None,
) -> Outcome:
    """Fit p without guidance, and an energy where it was given by its values."""
    energy_key, key = jax.random.split(key)
    energy, networks, note = differentiable_energy(problem, config, energy_key, progress)
    if previous is None:
        flow, networks["generative model"] = train_unguided(problem, config, key, progress)
    else:  # p does not depend on β
        flow = previous
    done = outcome(flow, problem.points.shape[1], config, networks)
    sampler = partial(_sample, problem, energy, flow, config)
    return with_notes(
        Outcome(sampler, done.parameters, done.evaluations, networks, done.notes, None, flow), note
    )


def _sample(
    problem: Problem,
    energy: Energy,
    flow: Flow,
    config: FitConfig,
    key: PRNGKeyArray,
    n: int,
    condition: Float[np.ndarray, "n c"] | None,
) -> Float[np.ndarray, "n d"]:
    if problem.beta == 0:
        return draw(flow, problem.points.shape[1], config, key, n, condition)
    draw_key, choice_key = jax.random.split(key)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(choice_key)))
    if condition is not None:
        return _at_conditions(problem, energy, flow, config, draw_key, rng, condition)
    points, energies = [], []
    for number in range(-(-max(config.pool, n) // ROUND)):
        round_key = jax.random.fold_in(draw_key, number)
        points.append(draw(flow, problem.points.shape[1], config, round_key, ROUND, None))
        energies.append(evaluate(energy, points[-1], None))
        weights = _weights(np.concatenate(energies), problem.beta)
        if effective_sample_size(weights) >= n:
            break
    return np.concatenate(points)[draw_rows(rng, np.asarray(weights), n)]


def _at_conditions(
    problem: Problem,
    energy: Energy,
    flow: Flow,
    config: FitConfig,
    key: PRNGKeyArray,
    rng: np.random.Generator,
    condition: Float[np.ndarray, "n c"],
) -> Float[np.ndarray, "n d"]:
    n, each = len(condition), max(FEWEST, config.pool // len(condition))
    chosen = np.empty((n, problem.points.shape[1]), np.float32)
    block = max(1, ROUND // each)
    for number, first in enumerate(range(0, n, block)):
        rows = np.repeat(condition[first : first + block], each, axis=0)
        block_key = jax.random.fold_in(key, number)
        points = draw(flow, problem.points.shape[1], config, block_key, len(rows), rows)
        energies = evaluate(energy, points, rows).reshape(-1, each)
        for place, of_one in enumerate(energies):
            weights = np.asarray(_weights(of_one, problem.beta))
            chosen[first + place] = points[place * each + int(draw_rows(rng, weights, 1)[0])]
    return chosen


def _weights(energies: Float[np.ndarray, " n"], beta: float) -> Float[jax.Array, " n"]:
    if beta > 0 and not np.any(np.isfinite(energies)):
        raise UserError(NOTHING)
    return tilt_weights(jnp.asarray(energies), beta)
