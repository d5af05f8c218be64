"""FlowQ from a finished behaviour flow and critic, guided at a clean estimate (reading `clean`, ours).

With v_μ the behaviour's velocity, x_t = t·a + (1 − t)·z and â = x_t + (1 − t)·v_μ(x_t, t, s), its estimate of
the action, the policy minimises |v(x_t, t, s) − v̂|² with

    v̂ = a − z + λ·((1 − t)/t)·(∂â/∂x_t)ᵀ∇Q(s, clip â)/u,

u the mean spread of Q over the behaviour's actions of a state. The velocity of μ·exp(λQ/u) is that of μ minus
((1 − t)/t)·∇E_t with E_t the intermediate energy −log E[exp(λQ/u) | x_t]; here Q at the mean of a given x_t
stands for it. Exact for a Gaussian μ and a linear Q: N(m, s²) becomes N(m + λs²b/u, s²). For others it is
nearer than ∇Q at x_t itself (two modes ±0.5 of deviation 0.1, Q = a, λ = 2: 87 % in the upper one, truth 88).

Departs from the paper: the estimate, the stages and the unit are ours; nothing is known of how the authors
evaluate Q's gradient. No action is sampled for a step of the policy: its cost does not depend on the steps of
the solver. (1 − t)/t is cut off at t = 0.05. Q is that of the target networks, at an estimate within the box.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.agents.actor_critic import play_best_of
from tiltflow.agents.base import Agent, Stage, flow_parts, split_steps
from tiltflow.agents.bc import init_flow, make_optimizer
from tiltflow.agents.behaviour_critic import behaviour_and_critic, energy_unit, support_energies
from tiltflow.agents.configs import FlowQConfig
from tiltflow.agents.sampling import sample_support
from tiltflow.critics import Critic, init_critic, q_value
from tiltflow.data.transitions import Spec
from tiltflow.flow import Flow
from tiltflow.optimize import Columns, Metrics, Trained, begin, gradient_step

SHARES = {"behaviour": 0.35, "critic": 0.3, "guidance": 0.35}
SMALLEST_TIME = 0.05
UNIT_ACTIONS = 16


class CleanState(NamedTuple):
    policy: Trained
    critic: Critic
    behaviour: Flow
    """μ: the averaged policy as the behaviour stage left it."""
    scale: Float[Array, ""]
    """u, the unit of Q."""


def clean_velocity(
    behaviour: Flow,
    critic: Critic,
    scale: Float[Array, ""],
    observations: Float[Array, "n o"],
    data: Float[Array, "n a"],
    noise: Float[Array, "n a"],
    t: Float[Array, " n"],
    config: FlowQConfig,
) -> tuple[Float[Array, "n a"], Float[Array, "n a"]]:
    """x_t and the target v̂ of the file's text."""
    time = t[:, None]
    x = time * data + (1.0 - time) * noise

    def estimate(x: Array) -> Array:
        return behaviour.predict("data", t, x, observations)

    def total(actions: Array) -> Array:
        return jnp.sum(q_value(critic, observations, actions, config.critic))

    clean, pull_back = jax.vjp(estimate, x)
    (slope,) = pull_back(jax.grad(total)(jnp.clip(clean, -1.0, 1.0)) / scale)
    factor = config.strength * (1.0 - time) / jnp.maximum(time, SMALLEST_TIME)
    return x, jax.lax.stop_gradient(data - noise + factor * slope)


def build(config: FlowQConfig, spec: Spec, steps: int) -> Agent:
    """The agent: behaviour, critic (then frozen), guided matching."""
    fixed = {name: getattr(config, f"{name}_steps") for name in SHARES}
    count = split_steps(steps, SHARES, fixed)
    behaviour_optimizer = make_optimizer(config.flow.learning_rate, config.flow.decay, count["behaviour"])
    optimizer = make_optimizer(config.flow.learning_rate, config.flow.decay, count["guidance"])

    def init(key: PRNGKeyArray) -> CleanState:
        flow_key, critic_key = jax.random.split(key)  # as QIPO does: both can take over stages of each other
        flow = init_flow(flow_key, spec, config.flow)
        behaviour = jax.tree.map(jnp.array, flow)
        critic = init_critic(critic_key, spec, config.critic)
        return CleanState(begin(flow, behaviour_optimizer), critic, behaviour, jnp.ones(()))

    def keep_behaviour(state: CleanState, sample: Columns, key: PRNGKeyArray) -> CleanState:
        return state._replace(behaviour=state.policy.average)

    def prepare(state: CleanState, sample: Columns, key: PRNGKeyArray) -> CleanState:
        """The policy's training starts afresh from μ, and Q gets its unit."""
        observations = sample["observations"]
        drawn = sample_support(state.behaviour, observations, key, UNIT_ACTIONS, spec, config.flow)
        unit = energy_unit(support_energies(state, observations, drawn, config), "advantage")
        return state._replace(policy=begin(state.policy.average, optimizer), scale=unit)

    def guide(state: CleanState, batch: Columns, key: PRNGKeyArray) -> tuple[CleanState, Metrics]:
        time_key, noise_key = jax.random.split(key)
        observations, data = batch["observations"], batch["actions"]
        t = jax.random.uniform(time_key, data.shape[:1])
        noise = jax.random.normal(noise_key, data.shape)
        x, velocity = clean_velocity(
            state.behaviour, state.critic, state.scale, observations, data, noise, t, config
        )

        def loss(flow: Flow) -> tuple[Float[Array, ""], Metrics]:
            value = jnp.mean((flow.network(x, t, observations) - velocity) ** 2)
            return value, {"loss": value}

        policy, metrics = gradient_step(state.policy, optimizer, loss, ema=config.flow.ema)
        return state._replace(policy=policy), {**metrics, "unit": state.scale}

    stages = behaviour_and_critic(config, spec, count, behaviour_optimizer, keep_behaviour)
    batch_size = config.flow.batch_size
    guidance = Stage("guidance", count["guidance"], batch_size, guide, improves_policy=True, renew=prepare)
    return Agent(init, (*stages, guidance), play_best_of(config, spec), flow_parts(config))
