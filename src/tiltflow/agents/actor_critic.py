"""An actor and a critic trained side by side, one step of each on every batch: flowq and flow-ql."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.agents.base import Agent, Stage, split_steps
from tiltflow.agents.bc import init_flow, make_optimizer, sample_actions, sample_support
from tiltflow.agents.configs import CriticConfig, FlowConfig, FlowQConfig, FlowQLConfig
from tiltflow.critics import Critic, init_critic, q_value, update_critic
from tiltflow.data.transitions import Spec
from tiltflow.flow import Flow
from tiltflow.optimize import Columns, Metrics, Trained, begin


class ActorCriticState(NamedTuple):
    policy: Trained
    critic: Critic
    guide: Any = None
    """What else the step of the policy trains, where there is anything."""


Stepped = tuple[ActorCriticState, Metrics]
Improve = Callable[[ActorCriticState, Columns, PRNGKeyArray], Stepped]


def build_actor_critic(
    config: FlowQConfig | FlowQLConfig,
    spec: Spec,
    steps: int,
    *,
    optimizer: optax.GradientTransformation,
    next_actions: FlowConfig,
    improve: Improve,
    init_guide: Callable[[PRNGKeyArray], Any] = lambda key: None,
) -> Agent:
    """The agent of one stage, whose every step is one of the critic and then one of the policy.

    `next_actions` is the sampler by which the critic's next actions are drawn, from the averaged policy.
    Where actor and critic have different batch sizes, the smaller batch is the beginning of the larger.
    """
    count = _count_steps(config, steps)

    def init(key: PRNGKeyArray) -> ActorCriticState:
        flow_key, critic_key, guide_key = jax.random.split(key, 3)
        policy = begin(init_flow(flow_key, spec, config.flow), optimizer)
        return ActorCriticState(policy, init_critic(critic_key, spec, config.critic), init_guide(guide_key))

    def update(
        state: ActorCriticState, batch: Columns, key: PRNGKeyArray
    ) -> tuple[ActorCriticState, Metrics]:
        critic_key, policy_key = jax.random.split(key)
        rows = _first_rows(batch, config.critic.batch_size)
        if config.critic.kind == "policy":
            flow, observations = state.policy.average, rows["next_observations"]
            rows["next_actions"] = sample_actions(flow, observations, critic_key, spec, next_actions)
        critic, metrics = update_critic(state.critic, rows, config.critic)
        named = {"critic_loss" if name == "loss" else name: value for name, value in metrics.items()}
        rows = _first_rows(batch, config.flow.batch_size)
        state, metrics = improve(state._replace(critic=critic), rows, policy_key)
        return state, {**named, **metrics}

    def act(state: ActorCriticState, observations: Array, key: PRNGKeyArray) -> Array:
        policy, critic, candidates = state.policy.average, state.critic, config.num_candidates
        return best_of(policy, critic, observations, key, candidates, spec, config.flow, config.critic)

    batch_size = max(config.flow.batch_size, config.critic.batch_size)
    stage = Stage("actor-critic", count, batch_size, update, improves_policy=True)
    return Agent(init, (stage,), act)


def policy_optimizer(config: FlowQConfig | FlowQLConfig, steps: int) -> optax.GradientTransformation:
    """Adam of the policy, whose step size falls as configured over the stage; the critic's does not."""
    return make_optimizer(config.flow.learning_rate, config.flow.decay, _count_steps(config, steps))


def _count_steps(config: FlowQConfig | FlowQLConfig, steps: int) -> int:
    name = "actor-critic"
    return split_steps(steps, {name: 1.0}, {name: config.actor_critic_steps})[name]


def q_size(critic: Critic, batch: Columns, config: CriticConfig) -> Float[Array, ""]:
    """Mean |Q'(s, a)| over the batch's actions: the unit of Q in an actor's loss, as in TD3+BC."""
    values = q_value(critic, batch["observations"], batch["actions"], config)
    return jnp.maximum(jnp.mean(jnp.abs(values)), 1e-6)


def best_of(
    policy: Flow,
    critic: Critic,
    observations: Float[Array, "n o"],
    key: PRNGKeyArray,
    count: int,
    spec: Spec,
    sampler: FlowConfig,
    config: CriticConfig,
) -> Float[Array, "n a"]:
    """Of `count` actions of the policy at each state, the one of highest Q."""
    if count == 1:
        return sample_actions(policy, observations, key, spec, sampler)
    actions = sample_support(policy, observations, key, count, spec, sampler)
    best = jnp.argmax(q_value(critic, observations[:, None], actions, config), axis=1)
    return jnp.take_along_axis(actions, best[:, None, None], axis=1)[:, 0]


def _first_rows(batch: Columns, count: int) -> dict[str, Array]:
    return {name: column[:count] for name, column in batch.items()}
