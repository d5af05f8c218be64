"""Sequential Monte Carlo steering of an unguided flow (`smc`): particles that are selected while they flow.

N particles go from noise to data at the times t_0 < … < t_K. Particle i carries
    log w_i ← log w_i − β·(G_k(x_k) − G_{k−1}(x_{k−1})),    G_k(x) = λ(t_k)·E(x̂(x)), G_0 = 0, G_K = E,
with the clean estimate x̂(x) = E[data | x_t = x] of the flow. Where the effective sample size falls below N/2,
particles are drawn anew in proportion to w (systematic resampling), and w is 1 again. The weights of a way
multiply to exp(−βE(x_K)): for N → ∞ the law is the flow's own tilt whatever λ and x̂ are (Del Moral 2004),
which decide on the variance alone. As in `flow-is` one flow serves every energy and β, but the particles are
led to where the tilt is.

λ = α²/(α² + σ²), the share of its variance that x_t tells of standard normal data, for E(x̂) knows nothing of
the data's spread around x̂. With λ = 1, tilts of N(0, 1) by a quadratic E (β = 4) scattered twice as far, and
the scatter hardly fell from 10,000 to 80,000 particles; by a linear one (β = 3) they scattered a third less.

Particles that were drawn twice must part again: a step goes back from t_k to t_{k−1} by adding noise,
    x = (α_{k−1}/α_k)·x_k + √(σ_{k−1}² − (α_{k−1}σ_k/α_k)²)·z,
whose law is the path's at t_{k−1} exactly, and follows the ODE to t_{k+1}. So the marginals are the flow's up
to the error of the solver, which takes steps twice as long as 1/num_steps. The noise is that of the SDE in
which x_1 given x_t has the law of the data given x_t; SMC samplers of diffusions step that SDE instead.

With a condition each sample has particles of its own, `pool`/n, at least 64. A fitted energy is a guess at
estimates between the data: that costs variance, not the law.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from tiltflow.errors import UserError
from tiltflow.flow import Flow
from tiltflow.guidance.contract import FlowFitConfig, Outcome
from tiltflow.guidance.energies import PointEnergy, energies_at
from tiltflow.guidance.fit_loop import Trainer
from tiltflow.guidance.methods import register
from tiltflow.guidance.methods.importance import NOTHING_LEFT, at_each_condition, selective
from tiltflow.guidance.problem import Problem
from tiltflow.paths import Path
from tiltflow.settings import Count, SolverSteps
from tiltflow.solvers import integrate

_BLOCK = 1 << 13


@dataclass(frozen=True)
class SMCConfig(FlowFitConfig):
    """Settings of smc. Raises UserError for dpm-solver++, which cannot start in the middle of a path."""

    num_steps: SolverSteps = 40
    pool: Count = 50_000
    """Particles: points of the unguided model that are on their way together."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.solver == "dpm-solver++":
            raise UserError(
                "solver = dpm-solver++ cannot start in the middle of a path: choose midpoint for smc."
            )


def sample_steered(
    problem: Problem,
    energy: PointEnergy,
    flow: Flow,
    config: SMCConfig,
    key: PRNGKeyArray,
    n: int,
    condition: Float[np.ndarray, "n c"] | None,
) -> Float[np.ndarray, "n d"]:
    """n points of the particles at the end; each from particles of its own at its condition."""

    def one_each(
        key: PRNGKeyArray, rows: Float[np.ndarray, "m c"], each: int
    ) -> Float[np.ndarray, "groups d"]:
        return steer(problem, energy, flow, config, key, len(rows) // each, each, 1, rows)[:, 0]

    if condition is not None:
        return at_each_condition(key, condition, config.pool, one_each)
    return steer(problem, energy, flow, config, key, 1, max(config.pool, n), n, None)[0]


def steer(
    problem: Problem,
    energy: PointEnergy,
    flow: Flow,
    config: SMCConfig,
    key: PRNGKeyArray,
    groups: int,
    each: int,
    wanted: int,
    condition: Float[np.ndarray, "rows c"] | None,
) -> Float[np.ndarray, "groups wanted d"]:
    """`wanted` points of each of several groups of `each` particles that are selected among themselves.

    Raises UserError where the energy is finite at no particle of a group.
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(jax.random.fold_in(key, 0))))
    times = np.linspace(flow.path.start, flow.path.end, config.num_steps + 1, dtype=np.float32)
    size = problem.size
    x = np.asarray(jax.random.normal(jax.random.fold_in(key, 1), (groups * each, size)))
    logs = np.zeros((groups, each))
    before = np.zeros((groups, each))
    for k in range(config.num_steps):
        span = times[k], times[max(k - 1, 0)], times[k + 1]
        x, clean = _advance(flow, config, jax.random.fold_in(key, k + 2), x, condition, span)
        last = k == config.num_steps - 1
        after = energies_at(energy, x if last else clean, condition).reshape(groups, each).astype(np.float64)
        if last and not np.all(np.any(np.isfinite(after), axis=1)):
            raise UserError(NOTHING_LEFT)
        after = after if last else _told(flow.path, times[k + 1]) * _bounded(after)
        logs = logs - problem.beta * (after - before)
        before = after
        weights = np.exp(logs - logs.max(axis=1, keepdims=True))
        size_left = weights.sum(axis=1) ** 2 / (weights**2).sum(axis=1)
        chosen = size_left < each / 2
        if not last and chosen.any():
            ancestors = np.tile(np.arange(each), (groups, 1))
            ancestors[chosen] = systematic(rng, weights[chosen], each)
            logs[chosen] = 0.0
            before = np.take_along_axis(before, ancestors, axis=1)
            rows = (ancestors + each * np.arange(groups)[:, None]).reshape(-1)
            x = x[rows]
    points = x.reshape(groups, each, size)
    # Systematic draws come in the order of their particles.
    drawn = rng.permuted(systematic(rng, weights, wanted), axis=1)
    return np.take_along_axis(points, drawn[:, :, None], axis=1)


def systematic(
    rng: np.random.Generator, weights: Float[np.ndarray, "groups each"], n: int
) -> Int[np.ndarray, "groups n"]:
    """n numbers of each group: number i is there n·w_i/Σw times, up or down to a whole number by chance."""
    shares = np.cumsum(weights, axis=1)
    shares /= shares[:, -1:]
    ticks = (np.arange(n) + rng.random((len(weights), 1))) / n
    # Groups one after the other on one line, of which each has a length of one.
    offsets = np.arange(len(weights))[:, None]
    found = np.searchsorted((shares + offsets).reshape(-1), (ticks + offsets).reshape(-1), side="right")
    found = found.reshape(len(weights), n) - weights.shape[1] * offsets
    return np.clip(found, 0, weights.shape[1] - 1)


def _told(path: Path, t: float) -> float:
    """λ(t) = α²/(α² + σ²)."""
    alpha, sigma = (float(part(jnp.asarray(t))) for part in (path.alpha, path.sigma))
    return alpha**2 / (alpha**2 + sigma**2)


def _bounded(energies: Float[np.ndarray, "groups each"]) -> Float[np.ndarray, "groups each"]:
    """+∞ as the largest finite one: an estimate where no point may be can still become one that may."""
    finite = np.isfinite(energies)
    if finite.all():
        return energies
    return np.where(finite, energies, energies[finite].max() if finite.any() else 0.0)


def _advance(
    flow: Flow,
    config: SMCConfig,
    key: PRNGKeyArray,
    x: Float[np.ndarray, "rows d"],
    condition: Float[np.ndarray, "rows c"] | None,
    times: tuple[float, float, float],
) -> tuple[Float[np.ndarray, "rows d"], Float[np.ndarray, "rows d"]]:
    """Particles of the last of the times, and their clean estimates, a block at a time."""
    block = min(len(x), _BLOCK)
    moved, clean = np.empty_like(x), np.empty_like(x)
    for number, first in enumerate(range(0, len(x), block)):
        rows = slice(first, first + block)
        here = jnp.asarray(np.resize(x[rows], (block, x.shape[1])))
        given = None
        if condition is not None:
            given = jnp.asarray(np.resize(condition[rows], (block, condition.shape[1])))
        both = _step(flow, jax.random.fold_in(key, number), here, given, jnp.asarray(times), config.solver)
        kept = len(x[rows])
        moved[rows], clean[rows] = (np.asarray(part)[:kept] for part in both)
    return moved, clean


@partial(jax.jit, static_argnums=5)
def _step(
    flow: Flow, key: Array, x: Array, condition: Array | None, times: Array, solver: str
) -> tuple[Array, Array]:
    now, back, to = times
    path = flow.path
    ratio = jnp.where(now > back, path.alpha(back) / path.alpha(now), 1.0)
    added = jnp.sqrt(jnp.maximum(path.sigma(back) ** 2 - (ratio * path.sigma(now)) ** 2, 0.0))
    x = ratio * x + jnp.where(now > back, added, 0.0) * jax.random.normal(key, x.shape)

    def velocity(t: Array, x: Array) -> Array:
        return flow.predict("velocity", t, x, condition)

    x = integrate(velocity, x, start=back, end=to, num_steps=1, method=solver)  # type: ignore[arg-type]
    return x, flow.predict("data", to, x, condition)


def fit(
    problem: Problem,
    config: SMCConfig,
    key: PRNGKeyArray,
    trainer: Trainer,
    energy: PointEnergy,
    previous: Flow | None = None,
) -> Outcome:
    """A flow of the data, which serves every energy and β; each step also asks for its clean estimate."""
    return selective(
        sample_steered, problem, config, key, trainer, energy, previous, more_evaluations=config.num_steps
    )


register("smc", SMCConfig(), fit, exact=True, shares=True, needs_energy=True)
