"""An actor and a critic trained side by side, one step of each on every batch: all agents of one stage."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.agents.base import Agent, Parts, Stage, flow_parts
from tiltflow.agents.bc import init_flow, make_optimizer
from tiltflow.agents.sampling import play_actions, sample_support
from tiltflow.critics import Critic, init_critic, q_value, update_critic
from tiltflow.data.transitions import Spec
from tiltflow.flow import Generator
from tiltflow.model_settings import ActorConfig, CriticConfig, FlowConfig
from tiltflow.optimize import Columns, Metrics, TrainState, begin


class ActorCriticState(NamedTuple):
    policy: TrainState
    critic: Critic
    guide: Any = None
    """What else the steps of the policy need to remember or train, where there is anything."""


Stepped = tuple[ActorCriticState, Metrics]
Backed = dict[str, Array]
Improve = Callable[[ActorCriticState, Columns, PRNGKeyArray], Stepped]


def build_actor_critic(
    config: CriticConfig,
    spec: Spec,
    steps: int,
    *,
    batch_size: int,
    init_policy: Callable[[PRNGKeyArray], TrainState],
    improve: Improve,
    act: Callable[[ActorCriticState, Array, PRNGKeyArray], Array],
    back_up: Callable[[ActorCriticState, Columns, PRNGKeyArray], Backed] = lambda state, rows, key: {},
    init_guide: Callable[[PRNGKeyArray], Any] = lambda key: None,
    parts: Callable[[ActorCriticState], Parts] | None = None,
    deterministic: bool = False,
) -> Agent:
    """The agent of one stage of so many steps, each one of the critic and then one of the policy.

    `config` is the critic's. `batch_size` is the policy's; where the critic's differs, the smaller batch is
    the beginning of the larger. `back_up` gives the columns that the policy backup reads: `next_actions`,
    and whatever else the critic asks for (see critics.py).
    """

    def init(key: PRNGKeyArray) -> ActorCriticState:
        policy_key, critic_key, guide_key = jax.random.split(key, 3)
        critic = init_critic(critic_key, spec, config)
        return ActorCriticState(init_policy(policy_key), critic, init_guide(guide_key))

    def update(state: ActorCriticState, batch: Columns, key: PRNGKeyArray) -> Stepped:
        critic_key, policy_key = jax.random.split(key)
        rows = _first_rows(batch, config.batch_size)
        if config.kind == "policy":
            rows |= back_up(state, rows, critic_key)
        critic, metrics = update_critic(state.critic, rows, config)
        named = {"critic_loss" if name == "loss" else name: value for name, value in metrics.items()}
        state, metrics = improve(state._replace(critic=critic), _first_rows(batch, batch_size), policy_key)
        return state, {**named, **metrics}

    larger = max(batch_size, config.batch_size)
    stage = Stage("actor-critic", steps, larger, update, improves_policy=True)
    return Agent(init, (stage,), act, parts, deterministic)


def build_flow_actor_critic(
    config: Any,
    spec: Spec,
    steps: int,
    optimizer: optax.GradientTransformation,
    improve: Improve,
    **more: Any,
) -> Agent:
    """The agent whose policy is a flow, trained by `optimizer`, and plays the best of `num_candidates` by Q.

    `more` is what else `build_actor_critic` takes.
    """
    return build_actor_critic(
        config.critic,
        spec,
        steps,
        batch_size=config.flow.batch_size,
        init_policy=lambda key: begin(init_flow(key, spec, config.flow), optimizer),
        improve=improve,
        act=play_best_of(config, spec),
        parts=flow_parts(config),
        **more,
    )


def policy_optimizer(
    config: FlowConfig | ActorConfig, steps: int, *, every: int = 1
) -> optax.GradientTransformation:
    """Adam of the policy, whose step size falls as configured over the stage's steps; the critic's does not.

    The policy takes a step at every so many of them.
    """
    return make_optimizer(config.learning_rate, config.decay, -(-steps // every))


def play_best_of(config: Any, spec: Spec) -> Callable[[ActorCriticState, Array, PRNGKeyArray], Array]:
    """The policy that draws `num_candidates` actions of the averaged flow and takes the one of highest Q."""

    def act(state: ActorCriticState, observations: Array, key: PRNGKeyArray) -> Array:
        flow, critic, count = state.policy.ema, state.critic, config.num_candidates
        return best_of(flow, critic, observations, key, count, spec, config.flow, config.critic)

    return act


def q_size(critic: Critic, batch: Columns, config: CriticConfig) -> Float[Array, ""]:
    """Mean |Q'(s, a)| over the batch's actions: the unit of Q in an actor's loss, as in TD3+BC."""
    values = q_value(critic, batch["observations"], batch["actions"], config)
    return jnp.maximum(jnp.mean(jnp.abs(values)), 1e-6)


def q_spread(critic: Critic, batch: Columns, config: CriticConfig) -> Float[Array, ""]:
    """How much Q' differs between two actions at a state: the data's, and that of another row of the batch.

    √(mean of the squared difference / 2), the standard deviation where both were drawn alike.
    """
    observations, actions = batch["observations"], batch["actions"]
    own = q_value(critic, observations, actions, config)
    other = q_value(critic, observations, jnp.roll(actions, 1, axis=0), config)
    return jnp.maximum(jnp.sqrt(jnp.mean((own - other) ** 2) / 2), 1e-6)


def best_of(
    policy: Generator,
    critic: Critic,
    observations: Float[Array, "n o"],
    key: PRNGKeyArray,
    count: int,
    spec: Spec,
    sampler: FlowConfig,
    config: CriticConfig,
) -> Float[Array, "n a"]:
    """Of `count` actions of the policy, as it is played, at each state the one of highest Q."""

    def value(actions: Float[Array, "n m a"]) -> Float[Array, "n m"]:
        return q_value(critic, observations[:, None], actions, config)

    if count == 1:
        return play_actions(policy, observations, key, spec, sampler, value)
    actions = sample_support(policy, observations, key, count, spec, sampler, noise=sampler.play_noise)
    best = jnp.argmax(value(actions), axis=1)
    return jnp.take_along_axis(actions, best[:, None, None], axis=1)[:, 0]


def _first_rows(batch: Columns, count: int) -> dict[str, Array]:
    return {name: column[:count] for name, column in batch.items()}
