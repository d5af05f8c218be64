"""Importance resampling of an unguided flow: many points of p, drawn again with probabilities ∝ exp(−βE).

Sampling importance resampling (Rubin 1987) with a flow of p as its proposal: x_1 … x_N from the flow, of
which point i is taken with probability exp(−βE(x_i))/Σ_j exp(−βE(x_j)). The law is the flow's own tilt for
N → ∞, and one model serves every energy and β. Where few rows of the data carry the tilt, a flow gives many
more points there than the data have: at effective shares of 0.1 to 0.5 % it came nearer to the truth than
`efm`.

Points are drawn in rounds of 65,536 until N·(effective share) is as large as the number of samples asked for,
or N has come to `pool`. At a condition each sample is one of its own `pool`/n points, at least one in 64. The
energy is needed at new points: as a function, or else a network is fitted to its values, which is told with
its error.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from tiltflow.errors import UserError
from tiltflow.flow import Flow
from tiltflow.guidance.contract import FlowFitConfig, Outcome
from tiltflow.guidance.effective_rows import effective_rows, resample_rows, row_weights
from tiltflow.guidance.energies import PointEnergy, energies_at
from tiltflow.guidance.fit_loop import Trainer
from tiltflow.guidance.methods import register
from tiltflow.guidance.methods.energy_weighted import train_unguided
from tiltflow.guidance.outcome import draw_points, generative
from tiltflow.guidance.problem import Problem
from tiltflow.settings import Count

_ROUND = 1 << 16
_FEWEST = 64
NOTHING_LEFT = "The energy is not finite at any point that the model of p gives: nothing is left."


@dataclass(frozen=True)
class FlowISConfig(FlowFitConfig):
    """Settings of flow-is."""

    pool: Count = 400_000
    """Points of the unguided model that are drawn at most, to choose samples from (or one round more)."""


def sample_resampled(
    problem: Problem,
    energy: PointEnergy,
    flow: Flow,
    config: FlowISConfig,
    key: PRNGKeyArray,
    n: int,
    condition: Float[np.ndarray, "n c"] | None,
) -> Float[np.ndarray, "n d"]:
    """n points of the flow, drawn again by their weights; each from points of its own at its condition.

    Raises UserError where the energy is finite at no point.
    """
    draw_key, choice_key = jax.random.split(key)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(choice_key)))

    def one_each(
        key: PRNGKeyArray, rows: Float[np.ndarray, "m c"], each: int
    ) -> Float[np.ndarray, "groups d"]:
        points = draw_points(flow, problem.size, config, key, len(rows), rows)
        energies = energies_at(energy, points, rows).reshape(-1, each)
        chosen = [resample_rows(rng, _weights(of_one, problem.beta), 1)[0] for of_one in energies]
        return points[each * np.arange(len(energies)) + chosen]

    if condition is not None:
        return at_each_condition(draw_key, condition, config.pool, one_each)
    points, energies, pool = [], [], max(config.pool, n)
    for number in range(-(-pool // _ROUND)):
        round_key = jax.random.fold_in(draw_key, number)
        points.append(draw_points(flow, problem.size, config, round_key, min(pool, _ROUND), None))
        energies.append(energies_at(energy, points[-1], None))
        weights = _weights(np.concatenate(energies), problem.beta)
        if effective_rows(weights) >= n:
            break
    return np.concatenate(points)[resample_rows(rng, weights, n)]


def at_each_condition(
    key: PRNGKeyArray,
    condition: Float[np.ndarray, "n c"],
    pool: int,
    one_each: Callable[[PRNGKeyArray, Float[np.ndarray, "m c"], int], Float[np.ndarray, "groups d"]],
) -> Float[np.ndarray, "n d"]:
    """A point at each of n conditions, selected from `pool`/n of its own, at least 64, a block at a time.

    `one_each(key, rows, each)` gives the points of a block; its conditions stand in `rows`, `each` times.
    """
    each = max(_FEWEST, pool // len(condition))
    block = max(1, _ROUND // each)
    parts = []
    for number, first in enumerate(range(0, len(condition), block)):
        rows = np.repeat(condition[first : first + block], each, axis=0)
        parts.append(one_each(jax.random.fold_in(key, number), rows, each))
    return np.concatenate(parts)


def _weights(energies: Float[np.ndarray, " n"], beta: float) -> Float[np.ndarray, " n"]:
    if not np.any(np.isfinite(energies)):
        raise UserError(NOTHING_LEFT)
    return row_weights(energies, beta)


def selective(
    sample: Callable[..., Float[np.ndarray, "n d"]],
    problem: Problem,
    config: FlowFitConfig,
    key: PRNGKeyArray,
    trainer: Trainer,
    energy: PointEnergy,
    previous: Flow | None,
    *,
    more_evaluations: int = 0,
) -> Outcome:
    """A flow of the data, and sample(problem, energy, flow, config, key, n, condition) that selects among its
    points. At β = 0 there is nothing to select by. It has no density."""
    flow = train_unguided(problem, config, key, trainer) if previous is None else previous
    plain = generative(flow, problem, config)
    sampler = plain.sampler if problem.beta == 0 else partial(sample, problem, energy, flow, config)
    return Outcome(sampler, plain.parameters, plain.evaluations + more_evaluations, None, flow)


def fit(
    problem: Problem,
    config: FlowISConfig,
    key: PRNGKeyArray,
    trainer: Trainer,
    energy: PointEnergy,
    previous: Flow | None = None,
) -> Outcome:
    """A flow of the data, which serves every energy and β."""
    return selective(sample_resampled, problem, config, key, trainer, energy, previous)


register("flow-is", FlowISConfig(), fit, exact=True, shares=True, needs_energy=True)
