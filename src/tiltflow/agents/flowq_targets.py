"""What a FlowQ of stages matches: three readings of a velocity that a finished critic guides. All are ours.

With x_t = t·a + (1 − t)·z, v_μ the behaviour's velocity and u the mean spread of Q over the behaviour's
actions of a state:

clean         v̂ = a − z + λ·((1 − t)/t)·(∂â/∂x_t)ᵀ∇Q(s, clip â)/u,   â = x_t + (1 − t)·v_μ(x_t, t, s).
              Q at the mean of a given x_t stands for f of the next reading: exact for a Gaussian μ and a
              linear Q, near for others (two modes ±0.5 of deviation 0.1, Q = a, λ = 2: 87 % in the upper one,
              truth 88).
intermediate  v̂ = a − z + ((1 − t)/t)·∇f(x_t, t, s),   f = log E[exp(λQ(s, a)/u) | x_t].
              The velocity of μ·exp(λQ/u) itself. f is learned by regression; Q-Flow (arXiv 2605.13435) guides
              by the gradient of such a value.
shift         v̂ = a' − z at t·a' + (1 − t)·z,   a' = clip(a + λ·C(s)·∇Q(s, a)/u).
              C is the covariance of the behaviour's actions at the state: a long step where the data differ,
              a short one where they agree. Q's gradient is asked for at an action of the data alone.

For μ = N(m, S) and Q = b·a all three end at N(m + λSb/u, S).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from tiltflow.flow import Flow
from tiltflow.guidance.score_shift import Potential
from tiltflow.tilting import log_mean_loss

SMALLEST_TIME = 0.05

Slope = Callable[[Float[Array, "n a"]], Float[Array, "n a"]]
"""∇Q(s, ·)/u of one action at each state."""


def clean_guidance(
    behaviour: Flow,
    slope: Slope,
    observations: Float[Array, "n o"],
    x: Float[Array, "n a"],
    t: Float[Array, " n"],
) -> Float[Array, "n a"]:
    """((1 − t)/t)·(∂â/∂x_t)ᵀ∇Q(s, clip â)/u, with (1 − t)/t cut off at t = 0.05."""
    clean, pull_back = jax.vjp(lambda x: behaviour.predict("data", t, x, observations), x)
    (pulled,) = pull_back(slope(jnp.clip(clean, -1.0, 1.0)))
    time = t[:, None]
    return (1.0 - time) / jnp.maximum(time, SMALLEST_TIME) * pulled


def intermediate_guidance(
    value: Potential, observations: Float[Array, "n o"], x: Float[Array, "n a"], t: Float[Array, " n"]
) -> Float[Array, "n a"]:
    """((1 − t)/t)·∇f(x_t, t, s). f is a function of t·x_t, so that nothing is divided by t."""
    return (1.0 - t[:, None]) * value.slope(t, x, observations)


def intermediate_loss(
    value: Potential,
    observations: Float[Array, "n o"],
    x: Float[Array, "n a"],
    t: Float[Array, " n"],
    log_weights: Float[Array, " n"],
) -> Float[Array, ""]:
    """`log_mean_loss` of λQ(s, a)/u − f(x_t, t, s), of which f = log E[exp(λQ/u) | x_t] is the minimum.

    `log_weights` is λQ(s, a)/u, less anything that does not depend on a once s is given: f then changes by a
    function of the state, which has no gradient.
    """
    return log_mean_loss(log_weights - value.logit(t, x, observations))


def shifted(
    slope: Slope, actions: Float[Array, "n a"], drawn: Float[Array, "n m a"], strength: float
) -> Float[Array, "n a"]:
    """a' = clip(a + λ·C·∇Q(s, a)/u), C the covariance of the actions drawn at each state."""
    centred = drawn - jnp.mean(drawn, axis=1, keepdims=True)
    along = jnp.einsum("nma,na->nm", centred, slope(actions))
    step = jnp.einsum("nm,nma->na", along, centred) / (drawn.shape[1] - 1)
    return jnp.clip(actions + strength * step, -1.0, 1.0)
