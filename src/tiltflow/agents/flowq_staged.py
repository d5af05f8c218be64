"""FlowQ in three stages: a behaviour flow, its critic (then frozen), a guided flow (flowq_targets.py).

    behaviour  v_μ minimises |v(x_t, t, s) − (a − z)|²
    critic     Q, of the data's actions
    guidance   v minimises |v(x_t, t, s) − v̂|² with v̂ of the reading; it begins with v_μ

The first two are QIPO's, and either agent can take them over from a run of the other (`--reuse`).

Departs from the paper, of which nothing is known of how Q's gradient is evaluated:
- The readings, the stages and the unit of Q are ours.
- No action is sampled for a step of the policy, whose cost does not depend on the steps of the solver. What
  is drawn at each state (`matched = support`, reading `shift`) is drawn once, before the stage.
- Q is that of the target networks.
- The guidance is short, a seventh of the training: in our measurements the guided policy is at its best after
  some 40,000 steps, and falls when it goes on (results/cube.md).
- `matched = support`: a ~ μ with the noise temperature `support_noise` instead of the data's action. The tilt
  is then one of a narrower μ, as in QIPO.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.agents.actor_critic import play_best_of
from tiltflow.agents.base import Agent, Stage, flow_parts, split_steps
from tiltflow.agents.bc import init_flow, make_optimizer
from tiltflow.agents.behaviour_critic import behaviour_and_critic, energy_unit, support_energies
from tiltflow.agents.flowq_settings import FlowQConfig
from tiltflow.agents.flowq_targets import (
    Slope,
    clean_guidance,
    intermediate_guidance,
    intermediate_loss,
    shifted,
)
from tiltflow.agents.sampling import sample_support
from tiltflow.critics import Critic, init_critic, q_value
from tiltflow.data.transitions import Spec
from tiltflow.flow import Flow
from tiltflow.guidance.score_shift import Potential, init_potential
from tiltflow.optimize import Columns, Metrics, TrainState, begin, gradient_step

_SHARES = {"behaviour": 0.5, "critic": 0.35, "guidance": 0.15}


class StagedState(NamedTuple):
    policy: TrainState
    critic: Critic
    behaviour: Flow
    """μ: the averaged policy as the behaviour stage left it."""
    scale: Float[Array, ""]
    """u, the unit of Q."""
    value: TrainState | None
    """f, of the reading `intermediate`."""


def build(config: FlowQConfig, spec: Spec, steps: int) -> Agent:
    """The agent: behaviour, critic (then frozen), guided matching."""
    fixed = {name: getattr(config, f"{name}_steps") for name in _SHARES}
    count = split_steps(steps, _SHARES, fixed)
    behaviour_optimizer = make_optimizer(config.flow.learning_rate, config.flow.decay, count["behaviour"])
    optimizer = make_optimizer(config.flow.learning_rate, config.flow.decay, count["guidance"])

    def init(key: PRNGKeyArray) -> StagedState:
        flow_key, critic_key = jax.random.split(key)  # as QIPO does: both can take over stages of each other
        flow = init_flow(flow_key, spec, config.flow)
        behaviour = jax.tree.map(jnp.array, flow)
        critic = init_critic(critic_key, spec, config.critic)
        value = init_value(jax.random.fold_in(key, 2)) if config.reading == "intermediate" else None
        return StagedState(begin(flow, behaviour_optimizer), critic, behaviour, jnp.ones(()), value)

    def init_value(key: PRNGKeyArray) -> TrainState:
        flow, sizes = config.flow, (spec.action_size, spec.observation_size)
        return begin(init_potential(key, *sizes, flow.network, "ot", features=flow.time_features), optimizer)

    def keep_behaviour(state: StagedState, sample: Columns, key: PRNGKeyArray) -> StagedState:
        return state._replace(behaviour=state.policy.ema)

    def draw(state: StagedState, rows: Columns, key: PRNGKeyArray) -> Float[Array, "n m a"]:
        """Actions of μ at each state."""
        noise, M = config.support_noise, config.num_support_actions
        return sample_support(state.behaviour, rows["observations"], key, M, spec, config.flow, noise=noise)

    def support(state: StagedState, rows: Columns, key: PRNGKeyArray) -> dict[str, Array]:
        """These actions and, where f is learned of them, Q/u of each."""
        drawn = draw(state, rows, key)
        if config.reading != "intermediate":
            return {"support_actions": drawn}
        energies = support_energies(state.critic, rows["observations"], drawn, config.critic)
        return {"support_actions": drawn, "support_values": -energies / state.scale}

    def prepare(state: StagedState, sample: Columns, key: PRNGKeyArray) -> StagedState:
        """The policy's training starts afresh from μ, and Q gets its unit."""
        drawn = draw(state, sample, key)
        energies = support_energies(state.critic, sample["observations"], drawn, config.critic)
        unit = energy_unit(energies, "advantage")
        return state._replace(policy=begin(state.policy.ema, optimizer), scale=unit)

    def slope_of(state: StagedState, observations: Float[Array, "n o"]) -> Slope:
        def total(actions: Float[Array, "n a"]) -> Float[Array, ""]:
            return jnp.sum(q_value(state.critic, observations, actions, config.critic)) / state.scale

        return jax.grad(total)

    def advantages(state: StagedState, batch: Columns, j: Array) -> Float[Array, " n"]:
        """Q/u of the matched action, less a level of the state that does not depend on it.

        That is the mean of the other draws, which leaves little variance, or the expectile critic's V.
        """
        if config.matched == "support":
            values = jnp.roll(batch["support_values"], j, axis=1)
            return values[:, 0] - jnp.mean(values[:, 1:], axis=1)
        q = q_value(state.critic, batch["observations"], batch["actions"], config.critic)
        value = state.critic.value
        return (q if value is None else q - value.params(batch["observations"])[..., 0]) / state.scale

    def learn_value(
        state: StagedState, observations: Array, x: Array, t: Array, advantage: Float[Array, " n"]
    ) -> tuple[TrainState, Metrics]:
        """One step of f."""
        assert state.value is not None
        log_weights = config.strength * advantage

        def loss(value: Potential) -> tuple[Float[Array, ""], Metrics]:
            result = intermediate_loss(value, observations, x, t, log_weights)
            return result, {"value_loss": result}

        return gradient_step(state.value, optimizer, loss, step=config.flow.average_step)

    def guide(state: StagedState, batch: Columns, key: PRNGKeyArray) -> tuple[StagedState, Metrics]:
        time_key, noise_key, choice_key = jax.random.split(key, 3)
        observations, actions, drawn = batch["observations"], batch["actions"], batch.get("support_actions")
        j = jax.random.randint(choice_key, (), 0, config.num_support_actions)
        if config.matched == "support":
            assert drawn is not None
            drawn = jnp.roll(drawn, j, axis=1)
            actions, drawn = drawn[:, 0], drawn[:, 1:]
        t = jax.random.uniform(time_key, actions.shape[:1])
        noise = jax.random.normal(noise_key, actions.shape)
        slope, time = slope_of(state, observations), t[:, None]
        if config.reading == "shift":
            assert drawn is not None
            actions = shifted(slope, actions, drawn, config.strength)
        x = time * actions + (1.0 - time) * noise
        value, metrics, velocity = state.value, dict[str, Array](), actions - noise
        if config.reading == "clean":
            guidance = clean_guidance(state.behaviour, slope, observations, x, t)
            velocity = velocity + config.strength * guidance
        elif config.reading == "intermediate":
            value, losses = learn_value(state, observations, x, t, advantages(state, batch, j))
            velocity = velocity + intermediate_guidance(value.ema, observations, x, t)
            metrics = dict(losses)

        def loss(flow: Flow) -> tuple[Float[Array, ""], Metrics]:
            result = jnp.mean((flow.network(x, t, observations) - jax.lax.stop_gradient(velocity)) ** 2)
            return result, {"loss": result}

        policy, losses = gradient_step(state.policy, optimizer, loss, step=config.flow.average_step)
        return state._replace(policy=policy, value=value), {**losses, **metrics, "unit": state.scale}

    draws = config.matched == "support" or config.reading == "shift"
    guidance = Stage(
        "guidance",
        count["guidance"],
        config.flow.batch_size,
        guide,
        improves_policy=True,
        refresh=prepare,
        precompute=support if draws else None,
        precompute_reason="drawing the behaviour's actions",
    )
    stages = behaviour_and_critic(
        config.flow, config.critic, spec, count, behaviour_optimizer, keep_behaviour
    )
    return Agent(init, (*stages, guidance), play_best_of(config, spec), flow_parts(config))
