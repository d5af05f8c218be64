"""The sliced Wasserstein-2 distance between two samples, with a bootstrap interval.

It is estimated from n points of one law and m of another, and is too large by an amount that shrinks with
them. The interval is therefore about the mean of the estimate at these sizes, which is to be compared with
that of an exact sample of equal size (the floor), not with zero. It is the estimate plus the centred
quantiles of bootstrap replicates, in which the rows of both samples are drawn anew; where the two laws
coincide it is too wide rather than too narrow.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

LEVEL = 0.95


class Estimate(NamedTuple):
    """A distance and the bounds of its 95 % interval (NaN without replicates)."""

    value: float
    low: float
    high: float


def sliced_wasserstein(
    key: PRNGKeyArray,
    x: Float[Array, "n d"],
    y: Float[Array, "m d"],
    *,
    num_projections: int = 128,
    replicates: int = 100,
) -> Estimate:
    """SW₂ = (mean over directions θ of W₂²(θᵀx, θᵀy))^½, in the points' unit; each W₂ on a line is exact.

    Directions come in random orthonormal frames, in which a shift or a scaling has its exact distance if
    their number is a multiple of d. They depend on the key and the sizes alone, so that distances
    with one key are comparable; their own randomness is no part of the interval.
    """
    direction_key, row_key = jax.random.split(key)
    size = x.shape[-1]
    frames = jax.random.normal(direction_key, (-(-num_projections // size), size, size), x.dtype)
    # Columns, each uniform up to its sign; the rows of a triangular factorisation are not.
    directions = jnp.swapaxes(jnp.linalg.qr(frames)[0], -1, -2).reshape(-1, size)[:num_projections]
    counts = _row_counts(row_key, replicates, x.shape[0], y.shape[0])
    values = np.asarray(jnp.sqrt(_mean_squared_transport(x, y, directions, *counts)))
    value, others = float(values[0]), values[1:].astype(np.float64)
    if not len(others):
        return Estimate(value, float("nan"), float("nan"))
    tail = (1 - LEVEL) / 2
    low, high = value + np.quantile(others, [tail, 1 - tail]) - others.mean()
    return Estimate(value, max(float(low), 0.0), float(high))


@partial(jax.jit, static_argnums=(1, 2, 3))
def _row_counts(key: PRNGKeyArray, replicates: int, n: int, m: int) -> tuple[Array, Array]:
    """How often every row is drawn: once in the estimate itself, at random in every replicate."""

    def draw(key: Array, size: int) -> Array:
        def one(key: Array) -> Array:
            rows = jax.random.randint(key, (size,), 0, size)
            return jnp.zeros(size, jnp.int32).at[rows].add(1)

        drawn = jax.lax.map(one, jax.random.split(key, max(replicates, 1)))[:replicates]
        return jnp.concatenate([jnp.ones((1, size), jnp.int32), drawn])

    key_x, key_y = jax.random.split(key)
    return draw(key_x, n), draw(key_y, m)


@jax.jit
def _mean_squared_transport(
    x: Float[Array, "n d"],
    y: Float[Array, "m d"],
    directions: Float[Array, "p d"],
    counts_x: Float[Array, "b n"],
    counts_y: Float[Array, "b m"],
) -> Float[Array, " b"]:
    """Mean over the directions of W₂² between the projections, for every replicate."""
    n, m = x.shape[0], y.shape[0]
    # Both quantile functions are constant between consecutive multiples of 1/n and 1/m.
    edges = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)
    shares = jnp.asarray(np.diff(edges) / (n * m), x.dtype)
    pieces_x, pieces_y = edges[:-1] // m, edges[:-1] // n

    def quantiles(projected: Array, counts: Array, pieces: np.ndarray) -> Array:
        order = jnp.argsort(projected)

        def one(counts: Array) -> Array:
            return jnp.repeat(projected[order], counts[order], total_repeat_length=len(order))[pieces]

        return jax.vmap(one)(counts)

    def add(total: Array, direction: Array) -> tuple[Array, None]:
        gap = quantiles(x @ direction, counts_x, pieces_x) - quantiles(y @ direction, counts_y, pieces_y)
        return total + gap**2 @ shares, None

    total, _ = jax.lax.scan(add, jnp.zeros(counts_x.shape[0], x.dtype), directions)
    return total / directions.shape[0]
