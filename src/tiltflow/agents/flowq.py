"""FlowQ (arXiv 2505.14139): a flow policy that matches a path or a velocity guided by ∇Q.

The policy is π(a|s) ≈ μ(a|s)·exp(λQ(s, a)/q), q the unit of Q. With E = −Q/q and
(data, noise, t) as in flow matching, one of two readings (guidance/guided_paths.py; those of a finished
critic are in flowq_staged.py) is the target v̂ at x̂_t:

    velocity  x̂_t = t·data + (1 − t)·noise,              v̂ = data − noise − λ·c(t)·∇E(x̂_t)
    path      x̂_t = m_t − λ·h(t)·∇E(m_t) + σ·jitter,     v̂ = dx̂_t/dt,   m_t = t·data + (1 − t)·√(1 − σ²)·noise

and the policy minimises |v(x̂_t, t, s) − v̂|². No action is sampled for it: its cost does not depend on the
steps of the solver. The critic's next actions are sampled, and their cost does.

Found in public summaries of the paper: the target π ∝ μ·exp(λQ), the energy-guided path approximated by a
Gaussian one, with the energy at the intermediate action; the schedules t, t², t²/(1 − t) and a learned one;
a time of the policy's training that is constant in the number of flow steps.

Departs from the paper, where it does not say, by our choice:
- Which reading is the authors' is not known, nor are their σ and their λ. Neither reading samples
  μ·exp(λQ/q) itself, as QIPO does. In the `path` reading the policy ends one step up Q from the data's
  action, a − λ·h(1)·∇E(a) + σ·jitter, with Q's gradient at the data's action alone.
- The critic: double Q-learning with actions of the averaged policy, y = r + γ(1 − d)·min_j Q'_j(s', a'),
  trained beside the policy. With `critic.kind="expectile"` it does not ask the policy.
- λ multiplies Q/q. q is how much Q differs between actions at a state (`energy_scale = spread`), for which
  each state is given another row's action too; as in TD3+BC it can be the mean |Q| (`size`), which a constant
  added to every reward changes. q follows the critic as it learns.
- ∇Q is the target ensemble's, at x̂_t itself, in or out of the actions' box.
- h is learned by weighted matching, beside the policy: c minimises
  w·|data − noise − (v_μ(x_t, t, s) − λ·c(t)·∇E(x_t))|² with v_μ a behaviour flow that is trained along and
  w = exp(−λE(a))/mean_j exp(−λE(a_j)), at most 100, over four actions a_j of that flow. They do not include
  the data's, so that at every state w is exp(λQ/q) times something that does not depend on a. h(1) = 1.
- Playing the best of `num_candidates` actions by Q is an option, off by default.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.agents import flowq_staged
from tiltflow.agents.actor_critic import (
    ActorCriticState,
    Stepped,
    build_flow_actor_critic,
    policy_optimizer,
    q_size,
    q_spread,
)
from tiltflow.agents.base import Agent
from tiltflow.agents.bc import behaviour_update, init_flow
from tiltflow.agents.flowq_settings import FlowQConfig
from tiltflow.agents.registry import register
from tiltflow.agents.sampling import sample_actions, sample_support
from tiltflow.agents.setting_numbers import with_values
from tiltflow.critics import Critic, q_value
from tiltflow.data.transitions import Spec
from tiltflow.flow import Flow
from tiltflow.guidance.guided_paths import (
    Energy,
    EnergySchedule,
    FixedSchedule,
    LearnedSchedule,
    guided_point,
    schedule_residual,
)
from tiltflow.model_settings import SHARP_NOISE, CriticConfig, FlowConfig
from tiltflow.optimize import Columns, Metrics, TrainState, begin, gradient_step

_BEHAVIOUR_ACTIONS = 4
_MAX_WEIGHT = 100.0


class Guiding(NamedTuple):
    """What a learned schedule takes besides policy and critic."""

    behaviour: TrainState
    """μ, by plain matching."""
    schedule: TrainState
    """h."""


def energy_of(critic: Critic, batch: Columns, config: FlowQConfig) -> Energy:
    """E(a) = −Q'(s, a)/q of one action at each of the batch's states."""
    observations = batch["observations"]
    unit = q_spread if config.energy_scale == "spread" else q_size
    size = unit(critic, batch, config.critic)

    def energy(actions: Float[Array, "n a"]) -> Float[Array, " n"]:
        return -q_value(critic, observations, actions, config.critic) / size

    return energy


def schedule_of(guide: Guiding | None, config: FlowQConfig) -> EnergySchedule:
    """h: the learned one, or the fixed one, of which `rational` ends at the last time of the Euler steps."""
    if config.schedule == "learned":
        assert guide is not None
        return guide.schedule.ema
    return FixedSchedule(config.schedule, 1.0 - 1.0 / max(2, config.next_action_steps))


def match_guided(
    policy: TrainState,
    critic: Critic,
    schedule: EnergySchedule,
    batch: Columns,
    key: PRNGKeyArray,
    config: FlowQConfig,
    optimizer: optax.GradientTransformation,
) -> tuple[TrainState, Metrics]:
    """One step of the policy: matching of the configured reading."""
    data, energy = batch["actions"], energy_of(critic, batch, config)
    t, noise, jitter = _draw(key, data)
    x, velocity = guided_point(config, energy, schedule, data, noise, jitter, t, strength=config.strength)

    def loss(flow: Flow) -> tuple[Float[Array, ""], Metrics]:
        value = jnp.mean((flow.network(x, t, batch["observations"]) - velocity) ** 2)
        return value, {"loss": value}

    return gradient_step(policy, optimizer, loss, step=config.flow.average_step)


def fit_schedule(
    schedule: TrainState,
    behaviour: Flow,
    critic: Critic,
    batch: Columns,
    key: PRNGKeyArray,
    spec: Spec,
    config: FlowQConfig,
    optimizer: optax.GradientTransformation,
) -> tuple[TrainState, Metrics]:
    """One step of h on the weighted residual; its average is what the policy is trained with."""
    observations, data, energy = batch["observations"], batch["actions"], energy_of(critic, batch, config)
    draw_key, support_key = jax.random.split(key)
    t, noise, _ = _draw(draw_key, data)
    drawn = sample_support(behaviour, observations, support_key, _BEHAVIOUR_ACTIONS, spec, config.flow)
    drawn_energies = jax.vmap(energy, in_axes=1, out_axes=1)(drawn)
    log_z = logsumexp(-config.strength * drawn_energies, axis=1) - jnp.log(_BEHAVIOUR_ACTIONS)
    weights = jnp.minimum(jnp.exp(-config.strength * energy(data) - log_z), _MAX_WEIGHT)

    def loss(h: LearnedSchedule) -> tuple[Float[Array, ""], Metrics]:
        residual = schedule_residual(
            energy,
            h,
            lambda t, x: behaviour.network(x, t, observations),
            data,
            noise,
            t,
            strength=config.strength,
        )
        value = jnp.mean(weights[:, None] * residual**2)
        return value, {"schedule_loss": value}

    return gradient_step(schedule, optimizer, loss, step=config.flow.average_step)


def _draw(key: PRNGKeyArray, data: Array) -> tuple[Array, Array, Array]:
    """Times, noise and jitter for a batch of actions."""
    time_key, noise_key, jitter_key = jax.random.split(key, 3)
    t = jax.random.uniform(time_key, data.shape[:-1])
    return t, jax.random.normal(noise_key, data.shape), jax.random.normal(jitter_key, data.shape)


def build(config: FlowQConfig, spec: Spec, steps: int) -> Agent:
    """The agent: one stage, in which every step is one of the critic and one of the policy.

    Where the critic is finished first, three stages (flowq_staged.py).
    """
    if config.staged:
        return flowq_staged.build(config, spec, steps)
    steps = config.actor_critic_steps or steps
    optimizer = policy_optimizer(config.flow, steps)
    euler = with_values(config.flow, {"solver": "euler", "num_steps": config.next_action_steps})

    def init_guide(key: PRNGKeyArray) -> Guiding | None:
        if config.schedule != "learned":
            return None
        flow_key, schedule_key = jax.random.split(key)
        behaviour = begin(init_flow(flow_key, spec, config.flow), optimizer)
        return Guiding(behaviour, begin(LearnedSchedule(schedule_key), optimizer))

    def learn_guide(state: ActorCriticState, batch: Columns, key: PRNGKeyArray) -> tuple[Guiding, Metrics]:
        behaviour_key, schedule_key = jax.random.split(key)
        behaviour, losses = behaviour_update(
            state.guide.behaviour, batch, behaviour_key, config.flow, optimizer
        )
        schedule, metrics = fit_schedule(
            state.guide.schedule,
            behaviour.ema,
            state.critic,
            batch,
            schedule_key,
            spec,
            config,
            optimizer,
        )
        return Guiding(behaviour, schedule), {"behaviour_loss": losses["loss"], **metrics}

    def step(state: ActorCriticState, batch: Columns, key: PRNGKeyArray) -> Stepped:
        policy_key, guide_key = jax.random.split(key)
        guide, metrics = (None, {}) if state.guide is None else learn_guide(state, batch, guide_key)
        schedule = schedule_of(guide, config)
        policy, losses = match_guided(
            state.policy, state.critic, schedule, batch, policy_key, config, optimizer
        )
        return ActorCriticState(policy, state.critic, guide), {**metrics, **losses}

    def next_actions(state: ActorCriticState, rows: Columns, key: PRNGKeyArray) -> dict[str, Array]:
        observations = rows["next_observations"]
        return {"next_actions": sample_actions(state.policy.ema, observations, key, spec, euler)}

    return build_flow_actor_critic(
        config, spec, steps, optimizer, step, back_up=next_actions, init_guide=init_guide
    )


register(
    "flowq",
    FlowQConfig(
        flow=FlowConfig(play_noise=SHARP_NOISE),
        critic=CriticConfig(),
        reading="intermediate",
        matched="support",
        support_noise=SHARP_NOISE,
        energy_scale="spread",
    ),
    build,
    numbers=True,
)
