"""Actions drawn of a flow, and what is played of them: one draw, or the consensus of several (`flow.play`).

draw        a = ODE(τz), z ~ N(0, I), τ the noise temperature `play_noise`.
mean-shift  of N draws a_1 … a_N with w_j = softmax_j(ηQ(s, a_j)) and K(x) = exp(−|x|²/(2h²)): the mode
            a* = argmax_i Σ_j w_j·K(a_i − a_j) among the draws, and one step of mean shift from it,
            a = Σ_j w_j·K(a* − a_j)·a_j / Σ_j w_j·K(a* − a_j).
            Draws of another mode have no weight in it, so that it never lands between two. Ours.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.data.transitions import Spec
from tiltflow.flow import Generator
from tiltflow.model_settings import FlowConfig

Value = Callable[[Float[Array, "n m a"]], Float[Array, "n m"]]
"""Q of several actions at each state, in the unit in which η counts."""


def sample_actions(
    flow: Generator,
    observations: Float[Array, "*batch o"],
    key: PRNGKeyArray,
    spec: Spec,
    config: FlowConfig,
    *,
    noise: float = 1.0,
) -> Float[Array, "*batch a"]:
    """One action in [−1, 1] for each observation, from noise of standard deviation `noise`."""
    shape = (*observations.shape[:-1], spec.action_size)
    sampler: dict[str, Any] = {"num_steps": config.num_steps, "solver": config.solver}
    actions = flow.sample(key, shape, observations, noise=noise, **sampler)
    return jnp.clip(actions, -1.0, 1.0)


def sample_support(
    flow: Generator,
    observations: Float[Array, "n o"],
    key: PRNGKeyArray,
    count: int,
    spec: Spec,
    config: FlowConfig,
    *,
    noise: float = 1.0,
) -> Float[Array, "n m a"]:
    """`count` actions in [−1, 1] at each state, from noise of standard deviation `noise`."""
    shape = (observations.shape[0], count, observations.shape[1])
    return sample_actions(
        flow, jnp.broadcast_to(observations[:, None], shape), key, spec, config, noise=noise
    )


def consensus(
    actions: Float[Array, "n m a"], logits: Float[Array, "n m"], bandwidth: float
) -> Float[Array, "n a"]:
    """The weighted mean around the densest of each state's draws; weights are softmax(logits)."""
    weights = jax.nn.softmax(logits, axis=-1)
    squares = jnp.sum((actions[:, :, None] - actions[:, None]) ** 2, axis=-1)
    kernel = jnp.exp(-squares / (2 * bandwidth**2)) * weights[:, None]
    mode = jnp.argmax(jnp.sum(kernel, axis=-1), axis=-1)
    near = jnp.take_along_axis(kernel, mode[:, None, None], axis=1)[:, 0]
    return jnp.einsum("nm,nma->na", near, actions) / jnp.sum(near, axis=-1, keepdims=True)


def play_actions(
    flow: Generator,
    observations: Float[Array, "n o"],
    key: PRNGKeyArray,
    spec: Spec,
    config: FlowConfig,
    value: Value | None = None,
) -> Float[Array, "n a"]:
    """The action that is played in each state. Without a `value` every draw of a consensus counts alike."""
    if config.play == "draw":
        return sample_actions(flow, observations, key, spec, config, noise=config.play_noise)
    drawn = sample_support(
        flow, observations, key, config.play_candidates, spec, config, noise=config.play_noise
    )
    logits = jnp.zeros(drawn.shape[:2]) if value is None else config.play_eta * value(drawn)
    return consensus(drawn, logits, config.play_bandwidth)
