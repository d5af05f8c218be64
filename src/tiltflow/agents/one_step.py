"""A policy of one step, distilled from a finished flow, that maximises Q: QIPO's last stage, and bc-flow's.

    L = α·E|μ_θ(s, z) − ODE_π(s, τz)|²/d − E[Q(s, clip μ_θ(s, z))]/u,   z ~ N(0, I)

ODE_π is where the flow's solver carries the noise τz, τ the noise temperature of play; no gradient is taken
of it. With Q = b·a the minimum is ODE_π(s, τz) + (d/(2αu))·b: a step up Q from every action of the policy.
Without a Q (bc-flow) it is the flow's own action. It is FQL's policy (arXiv 2502.02538) of a flow that is
tilted already; that both are combined is ours. The noise temperature is in μ: playing it takes z as it is.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.agents.base import Stage
from tiltflow.critics import build_mlp
from tiltflow.data.transitions import Spec
from tiltflow.flow import Generator, standard_normal
from tiltflow.model_settings import FlowConfig
from tiltflow.networks import MLP
from tiltflow.optimize import Columns, Metrics, TrainState, begin, gradient_step

ActionValue = Callable[[Float[Array, "n a"]], Float[Array, " n"]]
"""Q(s, a)/u of one action at each state."""


class OneStep(NamedTuple):
    policy: TrainState
    """μ_θ."""
    begun: Float[Array, ""]
    """Whether its training has begun, so that it is what is played: 0 or 1."""


def make_one_step(key: PRNGKeyArray, spec: Spec, config: FlowConfig) -> MLP:
    """A fresh network from an observation and noise to an action."""
    return build_mlp(key, spec.observation_size + spec.action_size, spec.action_size, config.network)


def begin_one_step(network: MLP, optimizer: optax.GradientTransformation) -> OneStep:
    """The policy before its training."""
    return OneStep(begin(network, optimizer), jnp.zeros(()))


def apply_one_step(
    network: MLP, observations: Float[Array, "n o"], noise: Float[Array, "n a"]
) -> Float[Array, "n a"]:
    """μ(s, z), before it is cut off."""
    return network(jnp.concatenate([observations, noise], axis=-1))


def distillation_loss(
    one_step: MLP,
    observations: Float[Array, "n o"],
    noise: Float[Array, "n a"],
    carried: Float[Array, "n a"],
    value: ActionValue | None,
    alpha: float,
) -> tuple[Float[Array, ""], Metrics]:
    """L at `noise` z, of which `carried` is ODE_π(s, τz); without a `value` the distance alone."""
    actions = apply_one_step(one_step, observations, noise)
    distance = jnp.mean((actions - carried) ** 2)
    if value is None:
        return distance, {"loss": distance}
    q = jnp.mean(value(jnp.clip(actions, -1.0, 1.0)))
    loss = alpha * distance - q
    return loss, {"loss": loss, "distillation_loss": distance, "q_policy": q}


def distillation_stage(
    steps: int,
    config: FlowConfig,
    optimizer: optax.GradientTransformation,
    flow_of: Callable[[Any], Generator],
    value_of: Callable[[Any, Array], ActionValue] | None,
    alpha: float,
) -> Stage:
    """The stage, of an agent whose state has `one_step`. `value_of(state, observations)` is its Q/u."""

    def refresh(state: Any, sample: Columns, key: PRNGKeyArray) -> Any:
        return state._replace(one_step=state.one_step._replace(begun=jnp.ones(())))

    def distill(state: Any, batch: Columns, key: PRNGKeyArray) -> tuple[Any, Metrics]:
        observations = batch["observations"]
        noise = jax.random.normal(key, batch["actions"].shape)
        sampler: dict[str, Any] = {"num_steps": config.num_steps, "solver": config.solver}
        carried = flow_of(state).integrate(config.play_noise * noise, observations, **sampler)
        value = None if value_of is None else value_of(state, observations)

        def loss(one_step: MLP) -> tuple[Float[Array, ""], Metrics]:
            return distillation_loss(
                one_step, observations, noise, jnp.clip(carried, -1.0, 1.0), value, alpha
            )

        policy, metrics = gradient_step(state.one_step.policy, optimizer, loss, step=config.average_step)
        return state._replace(one_step=state.one_step._replace(policy=policy)), metrics

    return Stage("distillation", steps, config.batch_size, distill, improves_policy=True, refresh=refresh)


def play_one_step(
    one_step: OneStep | None,
    observations: Float[Array, "n o"],
    key: PRNGKeyArray,
    size: int,
    otherwise: Callable[[], Float[Array, "n a"]],
) -> Float[Array, "n a"]:
    """clip μ_θ(s, z) once its training has begun, and before what `otherwise` gives."""
    if one_step is None:
        return otherwise()
    network = one_step.policy.ema

    def distilled() -> Float[Array, "n a"]:
        noise = standard_normal(key, (observations.shape[0], size))
        return jnp.clip(apply_one_step(network, observations, noise), -1.0, 1.0)

    return jax.lax.cond(one_step.begun > 0.5, distilled, otherwise)
