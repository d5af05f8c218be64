"""Distances between two samples, with bootstrap intervals: sliced and exact Wasserstein-2, energy, MMD.

A distance is estimated from n points of one law and m of another, and every estimate of a Wasserstein
distance is too large by an amount that shrinks with them. An interval is therefore about the mean of the
estimate at these sizes, which is to be compared with that of an exact sample of equal size (the floor),
not with zero. It is the estimate plus the centred quantiles of bootstrap replicates, in which the rows of
both samples are drawn anew; where the two laws coincide it is too wide rather than too narrow.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

CHUNK = 1024
LEVEL = 0.95

Kernel = Callable[[Array, Array | float], Array]


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
    return _estimate(jnp.sqrt(_mean_squared_transport(x, y, directions, *counts)), floor=0.0)


def energy_distance(
    key: PRNGKeyArray, x: Float[Array, "n d"], y: Float[Array, "m d"], *, replicates: int = 200
) -> Estimate:
    """2E|X − Y| − E|X − X'| − E|Y − Y'|, unbiased (so it may be slightly negative), in the points' unit."""
    counts = _row_counts(key, replicates, x.shape[0], y.shape[0])
    across, within_x, within_y = _kernel_means(_length, 1.0, x, y, *counts)
    return _estimate(2 * across - within_x - within_y)


def mmd(
    key: PRNGKeyArray,
    x: Float[Array, "n d"],
    y: Float[Array, "m d"],
    *,
    bandwidth: float | None = None,
    replicates: int = 200,
) -> Estimate:
    """MMD² = E k(X, X') + E k(Y, Y') − 2E k(X, Y) with k = exp(−|x − y|²/2h²), unbiased, without a unit.

    The bandwidth h is the median distance between points of `y` (at most 1000 of them) where none is given.
    """
    h = _median_distance(y) if bandwidth is None else bandwidth
    counts = _row_counts(key, replicates, x.shape[0], y.shape[0])
    across, within_x, within_y = _kernel_means(_gaussian, h, x, y, *counts)
    return _estimate(within_x + within_y - 2 * across)


def wasserstein(
    seed: int,
    x: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, "m d"],
    *,
    size: int = 500,
    replicates: int = 100,
) -> Estimate:
    """W₂ in the points' unit, exact between `size` random rows of each (fewer where a sample has fewer).

    Linear assignment takes about size³ operations, also for every replicate.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    rng = np.random.default_rng(seed)
    size = min(size, len(x), len(y))

    def cost(rows: np.ndarray, columns: np.ndarray) -> float:
        squares = cdist(x[rows], y[columns], "sqeuclidean")
        return float(np.sqrt(squares[linear_sum_assignment(squares)].mean()))

    values = [cost(rng.permutation(len(x))[:size], rng.permutation(len(y))[:size])]
    values += [
        cost(rng.integers(len(x), size=size), rng.integers(len(y), size=size)) for _ in range(replicates)
    ]
    return _estimate(np.asarray(values), floor=0.0)


def _estimate(values: Float[Array, " b"] | Float[np.ndarray, " b"], floor: float = -np.inf) -> Estimate:
    """The first value is the estimate, the others are its replicates."""
    value, replicates = float(values[0]), np.asarray(values[1:], np.float64)
    if not len(replicates):
        return Estimate(value, float("nan"), float("nan"))
    tail = (1 - LEVEL) / 2
    low, high = value + np.quantile(replicates, [tail, 1 - tail]) - replicates.mean()
    return Estimate(value, max(float(low), floor), float(high))


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


def _length(squares: Array, _: Array | float) -> Array:
    return jnp.sqrt(squares)


def _gaussian(squares: Array, bandwidth: Array | float) -> Array:
    return jnp.exp(-squares / (2 * bandwidth**2))


@partial(jax.jit, static_argnums=0)
def _kernel_means(
    kernel: Kernel,
    scale: Float[Array, ""] | float,
    x: Float[Array, "n d"],
    y: Float[Array, "m d"],
    counts_x: Float[Array, "b n"],
    counts_y: Float[Array, "b m"],
) -> tuple[Array, Array, Array]:
    """Means of kernel(|a − b|², scale) over pairs across, within x and within y, for every replicate.

    Pairs within a sample are of different rows of the data, also in a replicate that repeats rows.
    """
    centre = jnp.mean(y, axis=0)  # products of small numbers: |a|² + |b|² − 2ab cancels less
    x, y = x - centre, y - centre
    shares_x, shares_y = counts_x.astype(x.dtype) / x.shape[0], counts_y.astype(y.dtype) / y.shape[0]
    on_diagonal = kernel(jnp.zeros((), x.dtype), scale)

    def within(points: Array, shares: Array) -> Array:
        same = jnp.sum(shares**2, axis=-1)
        return (_form(kernel, scale, points, points, shares, shares) - same * on_diagonal) / (1 - same)

    return _form(kernel, scale, x, y, shares_x, shares_y), within(x, shares_x), within(y, shares_y)


def _form(
    kernel: Kernel, scale: Array | float, x: Array, y: Array, shares_x: Array, shares_y: Array
) -> Float[Array, " b"]:
    """Σ_ij s_i·kernel(|x_i − y_j|², scale)·r_j for every row (s, r) of shares, a chunk of x at a time."""
    rows = min(CHUNK, x.shape[0])
    padding = -x.shape[0] % rows
    chunks = jnp.pad(x, ((0, padding), (0, 0))).reshape(-1, rows, x.shape[1])
    chunk_shares = jnp.pad(shares_x, ((0, 0), (0, padding))).reshape(len(shares_x), -1, rows)
    squares_y = jnp.sum(y**2, axis=-1)

    def add(total: Array, chunk: tuple[Array, Array]) -> tuple[Array, None]:
        x, shares = chunk
        product = jnp.matmul(x, y.T, precision="highest")
        squares = jnp.maximum(jnp.sum(x**2, axis=-1)[:, None] + squares_y - 2 * product, 0.0)
        inner = jnp.matmul(kernel(squares, scale), shares_y.T, precision="highest")
        return total + jnp.sum(shares.T * inner, axis=0), None

    start = jnp.zeros(len(shares_x), x.dtype)
    total, _ = jax.lax.scan(add, start, (chunks, jnp.swapaxes(chunk_shares, 0, 1)))
    return total


def _median_distance(y: Float[Array, "m d"]) -> float:
    points = np.asarray(y[:: -(-len(y) // 1000)], np.float64)
    return float(np.median(cdist(points, points)[np.triu_indices(len(points), 1)]))
