"""What the `fit` of a method ends with: something that samples, and what it costs."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.flow import Flow, Generator
from tiltflow.guidance.contract import FlowFitConfig
from tiltflow.guidance.energies import PointEnergy
from tiltflow.guidance.problem import Problem
from tiltflow.solvers import EVALUATIONS

Sampler = Callable[[PRNGKeyArray, int, Float[np.ndarray, "n c"] | None], Float[np.ndarray, "n d"]]

_BLOCK = 8192
_LIKELIHOOD_BLOCK = 1024


@dataclass(frozen=True)
class Outcome:
    """A trained method in the units of the networks."""

    sampler: Sampler
    """(key, n, condition in units) -> points in the networks' units."""
    parameters: int
    """Of all networks together."""
    evaluations: int
    """Of networks per sample, gradients counted once."""
    log_density: Callable[..., Any] | None = None
    """(points in units, condition in units) -> nats, where the method has a density."""
    model: Any = None
    """The averaged networks, for whoever wants to look inside; lent to a fit at another β."""


def generative(
    generator: Generator, problem: Problem, config: FlowFitConfig, *, networks: int = 1
) -> Outcome:
    """A method whose samples are those of a generator; `networks` are evaluated for one prediction."""
    return Outcome(
        partial(draw_points, generator, problem.size, config),
        _count_parameters(generator),
        config.num_steps * EVALUATIONS[config.solver] * networks,
        partial(_log_prob, generator),
        generator,
    )


def selective(
    sample: Callable[..., Float[np.ndarray, "n d"]],
    flow: Flow,
    problem: Problem,
    config: FlowFitConfig,
    energy: PointEnergy,
    *,
    more_evaluations: int = 0,
) -> Outcome:
    """A method that selects among points of a flow of the data: sample(problem, energy, flow, config, key, n,
    condition). At β = 0 there is nothing to select by. It has no density."""
    plain = generative(flow, problem, config)
    sampler = plain.sampler if problem.beta == 0 else partial(sample, problem, energy, flow, config)
    return Outcome(sampler, plain.parameters, plain.evaluations + more_evaluations, None, flow)


def draw_points(
    generator: Generator,
    size: int,
    config: FlowFitConfig,
    key: PRNGKeyArray,
    n: int,
    condition: Float[np.ndarray, "n c"] | None,
) -> Float[np.ndarray, "n d"]:
    """n points of a generator, a block at a time: one compilation serves any large n."""
    block = min(n, _BLOCK)
    parts = []
    for number, first in enumerate(range(0, n, block)):
        rows = None
        if condition is not None:
            rows = jnp.asarray(np.resize(condition[first : first + block], (block, condition.shape[1])))
        block_key = jax.random.fold_in(key, number)
        drawn = _draw(generator, block_key, rows, (block, size), config.num_steps, config.solver)
        parts.append(np.asarray(drawn)[: n - first])
    return np.concatenate(parts)


@partial(jax.jit, static_argnums=(3, 4, 5))
def _draw(generator: Generator, key: Array, condition: Array | None, shape, num_steps: int, solver) -> Array:
    return generator.sample(key, shape, condition, num_steps=num_steps, solver=solver)


def _count_parameters(model: Any) -> int:
    """Numbers in all arrays of a model."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(model) if leaf.ndim > 0)


def _log_prob(
    generator: Generator, points: Float[np.ndarray, "n d"], condition: Float[np.ndarray, "n c"] | None
) -> Float[np.ndarray, " n"]:
    parts = []
    for first in range(0, len(points), _LIKELIHOOD_BLOCK):
        rows = slice(first, first + _LIKELIHOOD_BLOCK)
        given = None if condition is None else jnp.asarray(condition[rows])
        parts.append(np.asarray(_density(generator, jnp.asarray(points[rows]), given)))
    return np.concatenate(parts)


@jax.jit
def _density(generator: Generator, points: Array, condition: Array | None) -> Array:
    return generator.log_prob(points, condition)
