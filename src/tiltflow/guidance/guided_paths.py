"""Points displaced down the gradient of an energy: FlowQ's paths and the weight that they leave out.

Multiply a Gaussian N(x; m, σ²I) by exp(−λE(x)) with E linear around m, g = ∇E(m):
    N(x; m, σ²I)·e^{−λE(x)} ≈ e^{−λE(m) + λ²σ²|g|²/2} · N(x; m − λσ²g, σ²I).
FlowQ (arXiv 2505.14139) is the displacement without the factor in front; energy-weighted flow matching
(arXiv 2503.04975) is the factor with σ → 0; with both, and the exact energy in the place of the linear one,
`propose` is exact for every energy and σ. The identity is ours; only "energy-guided probability path as a
Gaussian path" and the schedules t, t², t²/(1 − t) are found in FlowQ's public summaries, so its `path` and
`velocity` below are two readings of it, neither of which is known to be the authors'.

An energy is a function of points [*batch, d] to [*batch] that JAX can differentiate; where it depends on a
state or a condition, that is in its closure.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.networks import MLP, time_features
from tiltflow.settings import FixedScheduleName, VelocityFactor

Energy = Callable[[Float[Array, "*batch d"]], Float[Array, "*batch"]]
_Times = Float[Array, "*batch"]
_Points = Float[Array, "*batch d"]


class EnergySchedule(Protocol):
    """h(t), the share of the energy that is felt at time t; `c` is h(t)·(1 − t)/t, finite at both ends."""

    def h(self, t: _Times) -> _Times: ...
    def c(self, t: _Times) -> _Times: ...


def _rational(t: _Times, last: float) -> _Times:
    t = jnp.minimum(t, last)
    return t**2 / (1.0 - t)


FIXED_SCHEDULES: dict[
    FixedScheduleName, tuple[Callable[[_Times, float], _Times], Callable[[_Times], _Times]]
] = {
    "linear": (lambda t, last: t, lambda t: 1.0 - t),
    "quadratic": (lambda t, last: t**2, lambda t: t * (1.0 - t)),
    "rational": (_rational, lambda t: t),
}
"""h(t), up to a last time where it has no end at t = 1, and c(t)."""


class FixedSchedule(eqx.Module):
    """FlowQ's h(t) = t (linear), t² (quadratic) or t²/(1 − t) (rational), the last up to time `last`.

    Beyond `last` the rational h stays as it is there: with 1 − 1/K, the last time at which K Euler steps
    see it, it is all that they can tell. Its c(t) = t needs no such end.
    """

    kind: FixedScheduleName = eqx.field(static=True)
    last: float = eqx.field(static=True, default=0.95)

    def h(self, t: _Times) -> _Times:
        return FIXED_SCHEDULES[self.kind][0](t, self.last)

    def c(self, t: _Times) -> _Times:
        return FIXED_SCHEDULES[self.kind][1](t)


class LearnedSchedule(eqx.Module):
    """h(t) = t·softplus(f(t))/softplus(f(1)) with a small network f: h(0) = 0 and h(1) = 1.

    Departs from the paper: how FlowQ trains its h_θ is not known. Ours is fitted by `schedule_residual`.
    """

    network: MLP

    def __init__(self, key: PRNGKeyArray):
        features = time_features(jnp.zeros(())).shape[-1]
        self.network = MLP(key, features, 1, width=32, depth=2, output_scale=0.1)

    def _ratio(self, t: _Times) -> _Times:
        def size(t: Array) -> Array:
            return jax.nn.softplus(self.network(time_features(t))[..., 0])

        return size(t) / size(jnp.ones((1,), t.dtype))[0]

    def h(self, t: _Times) -> _Times:
        return t * self._ratio(t)

    def c(self, t: _Times) -> _Times:
        return (1.0 - t) * self._ratio(t)


class GuidedPoint(NamedTuple):
    """A point of a guided path, and the velocity that a network is to match there."""

    x: _Points
    velocity: _Points


def gradient(energy: Energy) -> Callable[[_Points], _Points]:
    """∇E at each of a batch of points."""
    return jax.grad(lambda x: jnp.sum(energy(x)))


def guided_path(
    energy: Energy,
    schedule: EnergySchedule,
    data: _Points,
    noise: _Points,
    jitter: _Points,
    t: _Times,
    *,
    strength: float | Array,
    sigma: float,
    hessian: bool = True,
) -> GuidedPoint:
    """The reading `path`: x_t = m_t − λ·h(t)·∇E(m_t) + σ·jitter, and its derivative along t as the target:

        m_t = t·data + (1 − t)·√(1 − σ²)·noise,      x_t' = m_t' − λ·h'(t)·∇E(m_t) − λ·h(t)·∇²E(m_t)·m_t'.

    Its exact model ends at data − λ·h(1)·∇E(data) + σ·jitter: one step down the energy from each row. λ is
    `strength`. Without `hessian` the last term is left out, as one reads the schedule's part alone; the
    field is then not that of any path. √(1 − σ²), by which x_0 ~ N(0, I), is ours.
    """
    source = noise * jnp.sqrt(1.0 - sigma**2)
    mean, direction = t[..., None] * data + (1.0 - t)[..., None] * source, data - source
    h, h_slope = jax.jvp(schedule.h, (t,), (jnp.ones_like(t),))
    slope, curvature = jax.jvp(gradient(energy), (mean,), (direction,))
    x = mean - strength * h[..., None] * slope + sigma * jitter
    velocity = direction - strength * h_slope[..., None] * slope
    if hessian:
        velocity = velocity - strength * h[..., None] * curvature
    return GuidedPoint(x, velocity)


def guided_velocity(
    energy: Energy,
    schedule: EnergySchedule,
    data: _Points,
    noise: _Points,
    t: _Times,
    *,
    strength: float | Array,
    factor: VelocityFactor = "score",
) -> GuidedPoint:
    """The reading `velocity`: the unguided x_t = t·data + (1 − t)·noise with the target

        data − noise − λ·c(t)·∇E(x_t),

    whose minimiser is u_t(x) − λ·c(t)·∇E(x). With c(t) = h(t)·(1 − t)/t (`score`) that is the velocity
    whose score is ∇ log p_t − λ·h(t)·∇E; `raw` has c = h.
    """
    x = t[..., None] * data + (1.0 - t)[..., None] * noise
    c = schedule.c(t) if factor == "score" else schedule.h(t)
    return GuidedPoint(x, data - noise - strength * c[..., None] * gradient(energy)(x))


class GuidedReading(Protocol):
    """Which reading, and how: the fields of an agent's or a method's settings."""

    @property
    def reading(self) -> str: ...
    @property
    def sigma(self) -> float: ...
    @property
    def hessian(self) -> bool: ...
    @property
    def velocity_factor(self) -> VelocityFactor: ...


def guided_point(
    settings: GuidedReading,
    energy: Energy,
    schedule: EnergySchedule,
    data: _Points,
    noise: _Points,
    jitter: _Points,
    t: _Times,
    *,
    strength: float | Array,
) -> GuidedPoint:
    """`guided_path` or `guided_velocity`, as the settings say."""
    ends = energy, schedule, data, noise
    if settings.reading == "path":
        sigma, hessian = settings.sigma, settings.hessian
        return guided_path(*ends, jitter, t, strength=strength, sigma=sigma, hessian=hessian)
    return guided_velocity(*ends, t, strength=strength, factor=settings.velocity_factor)


def schedule_residual(
    energy: Energy,
    schedule: EnergySchedule,
    unguided: Callable[[_Times, _Points], _Points],
    data: _Points,
    noise: _Points,
    t: _Times,
    *,
    strength: float | Array,
) -> _Points:
    """u_t(x | data) − (v_p(x, t) − λ·c(t)·∇E(x)), whose mean square over tilted data fits c.

    The minimiser c*(t) = E_{q_t}[(u_p − u_q)·∇E] / (λ·E_{q_t}|∇E|²) is the best schedule there is of the
    reading `velocity`. Ours: a joint fit of velocity and schedule on plain data would leave c undetermined.
    """
    x = t[..., None] * data + (1.0 - t)[..., None] * noise
    guided = unguided(t, x) - strength * schedule.c(t)[..., None] * gradient(energy)(x)
    return data - noise - guided


def propose(
    energy: Energy, key: PRNGKeyArray, z: _Points, *, beta: float | Array, sigma: float | Array
) -> tuple[_Points, Float[Array, "*batch"]]:
    """Draw x ~ N(z − βσ²∇E(z), σ²I) and give its log weight:

        log w = −βE(x) + β∇E(z)·(x − z) + β²σ²|∇E(z)|²/2,

    the ratio of p(z)·N(x; z, σ²I)·e^{−βE(x)} to the law of (z, x). Weighted so, the points follow
    p_σ·e^{−βE}/Z exactly, p_σ the data smoothed by σ; σ = 0 is energy weighting, −βE(z).
    """
    slope = gradient(energy)(z)
    step = sigma * jax.random.normal(key, z.shape, z.dtype) - beta * sigma**2 * slope
    x = z + step
    log_weight = (
        beta * jnp.sum(slope * step, axis=-1)
        + 0.5 * (beta * sigma) ** 2 * jnp.sum(slope**2, axis=-1)
        - beta * energy(x)
    )
    return x, log_weight
