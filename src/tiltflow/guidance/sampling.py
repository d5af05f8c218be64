"""What every trained method ends with: its networks as a sampler, and the record of its training."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.flow import Generator
from tiltflow.guidance.configs import FitConfig
from tiltflow.solvers import EVALUATIONS

BLOCK = 8192
LIKELIHOOD_BLOCK = 1024


@dataclass(frozen=True)
class Outcome:
    """What a method's `train` returns; `Fitted` explains the fields."""

    sampler: Callable[[PRNGKeyArray, int, Float[np.ndarray, "n c"] | None], Float[np.ndarray, "n d"]]
    parameters: int
    evaluations: int
    losses: dict[str, list[float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    log_density: Callable[..., Any] | None = None
    model: Any = None


def outcome(
    generator: Generator, size: int, config: FitConfig, losses: dict[str, list[float]], *, networks: int = 1
) -> Outcome:
    """The outcome of a method that samples points of `size` entries from `generator`.

    `networks` is how many are evaluated for one prediction.
    """
    evaluations = config.num_steps * EVALUATIONS[config.solver] * networks
    return Outcome(
        partial(draw, generator, size, config),
        count_parameters(generator),
        evaluations,
        losses,
        log_density=partial(_log_prob, generator),
        model=generator,
    )


def with_notes(done: Outcome, *notes: str | None) -> Outcome:
    """The same with notes; None is no note."""
    return replace(done, notes=(*done.notes, *(note for note in notes if note)))


def count_parameters(model: Any) -> int:
    """Numbers in all arrays of a model."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(model) if leaf.ndim > 0)


def draw(
    generator: Generator,
    size: int,
    config: FitConfig,
    key: PRNGKeyArray,
    n: int,
    condition: Float[np.ndarray, "n c"] | None,
) -> Float[np.ndarray, "n d"]:
    """n points of a generator, a block at a time: one compilation serves any large n."""
    block = min(n, BLOCK)
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


def _log_prob(
    generator: Generator, points: Float[np.ndarray, "n d"], condition: Float[np.ndarray, "n c"] | None
) -> Float[np.ndarray, " n"]:
    parts = []
    for first in range(0, len(points), LIKELIHOOD_BLOCK):
        rows = slice(first, first + LIKELIHOOD_BLOCK)
        given = None if condition is None else jnp.asarray(condition[rows])
        parts.append(np.asarray(_density(generator, jnp.asarray(points[rows]), given)))
    return np.concatenate(parts)


@jax.jit
def _density(generator: Generator, points: Array, condition: Array | None) -> Array:
    return generator.log_prob(points, condition)
