"""The outcome of a method whose samples are those of a generator."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.flow import Generator
from tiltflow.guidance.contract import FlowFitConfig, Outcome
from tiltflow.guidance.problem import Problem
from tiltflow.solvers import EVALUATIONS

_BLOCK = 8192
_LIKELIHOOD_BLOCK = 1024


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
