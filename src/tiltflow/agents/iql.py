"""Implicit Q-learning (IQL, arXiv 2110.06169): an expectile critic, and advantage-weighted regression.

V and Q are learned from the data's actions alone (critics.py, expectile); the policy is a Gaussian around
μ(s) of constant, unit variance, fitted to the data's actions by

    L_π = E[ min(exp(α·(Q(s, a) − V(s))), w_max)·|a − μ(s)|²/2 ],

and plays its mean, cut off to the actions' box.

Departs from the paper: the variance is constant and the mean not squashed, as in the public code for
OGBench, where the authors learn one variance per entry and squash the mean; the weights read the trained Q,
as that code's, where the authors' read the target's; α is in units of the advantage's standard deviation
over the batch unless `energy_scale="none"`; nothing decays but by choice. Rewards keep their scale, which
the authors change for D4RL's locomotion and mazes.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.agents.actor import Actor, begin_actor
from tiltflow.agents.actor_critic import ActorCriticState, Stepped, build_actor_critic, policy_optimizer
from tiltflow.agents.base import Agent
from tiltflow.agents.registry import register
from tiltflow.critics import Critic, join, q_values
from tiltflow.data.transitions import Spec
from tiltflow.model_settings import ActorConfig, CriticConfig, check_kind
from tiltflow.optimize import Columns, Metrics, gradient_step
from tiltflow.settings import Count, EnergyScale, NonNegative, Positive, check


@dataclass(frozen=True)
class IQLConfig:
    """Implicit Q-learning: an expectile critic and advantage-weighted regression (arXiv 2110.06169)."""

    actor: ActorConfig = ActorConfig()
    critic: CriticConfig = CriticConfig(kind="expectile")
    alpha: NonNegative = 1.0
    """α, inverse temperature of the weights exp(α·(Q − V)), in units of `energy_scale`."""
    energy_scale: EnergyScale = "advantage"
    """Unit of Q − V in the weights: its standard deviation over the batch, or its own, as published."""
    max_weight: Positive = 100.0
    """Largest weight of a transition."""
    actor_critic_steps: Count | None = None
    """Gradient steps of policy and critic; without it the whole of --steps."""

    def __post_init__(self) -> None:
        check(self)
        check_kind(self.critic, "expectile", why="iql has V of the expectile critic alone.")


def advantage_weights(critic: Critic, batch: Columns, config: IQLConfig) -> Float[Array, " n"]:
    """min(exp(α·(Q(s, a) − V(s))), w_max) of the data's actions, with the trained ensemble's Q."""
    assert critic.value is not None
    q = join(q_values(critic.q.params, batch["observations"], batch["actions"]), config.critic)
    advantage = q - critic.value.params(batch["observations"])[..., 0]
    unit = jnp.maximum(jnp.std(advantage), 1e-6) if config.energy_scale == "advantage" else 1.0
    return jnp.minimum(jnp.exp(config.alpha * advantage / unit), config.max_weight)


def build(config: IQLConfig, spec: Spec, steps: int) -> Agent:
    """The agent: one stage, in which every step is one of the critic and one of the policy."""
    steps = config.actor_critic_steps or steps
    optimizer = policy_optimizer(config.actor, steps)

    def improve(state: ActorCriticState, batch: Columns, key: PRNGKeyArray) -> Stepped:
        weights = advantage_weights(state.critic, batch, config)

        def loss(actor: Actor) -> tuple[Float[Array, ""], Metrics]:
            squares = jnp.sum((actor(batch["observations"]) - batch["actions"]) ** 2, axis=-1)
            value = jnp.mean(weights * squares) / 2
            return value, {"loss": value, "weight": jnp.mean(weights)}

        policy, metrics = gradient_step(state.policy, optimizer, loss)
        return state._replace(policy=policy), metrics

    def act(state: ActorCriticState, observations: Array, key: PRNGKeyArray) -> Array:
        return jnp.clip(state.policy.params(observations), -1.0, 1.0)

    return build_actor_critic(
        config.critic,
        spec,
        steps,
        batch_size=config.actor.batch_size,
        init_policy=lambda key: begin_actor(key, spec, config.actor, optimizer, squashed=False),
        improve=improve,
        act=act,
        deterministic=True,
    )


register("iql", IQLConfig(), build, numbers=True)
