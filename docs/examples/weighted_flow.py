"""Advantage-weighted flow matching: IQL's critic, and a flow that clones good actions more than bad ones.

L = E[ min(exp(α·(Q(s, a) − V(s))/u), w_max)·|v(x_t, t, s) − u_t(x_t|a)|² ],   u the spread of Q − V
"""

from dataclasses import dataclass

import jax.numpy as jnp

from tiltflow.agents import register
from tiltflow.agents.actor_critic import build_actor_critic, policy_optimizer
from tiltflow.agents.base import flow_parts
from tiltflow.agents.bc import init_flow
from tiltflow.agents.iql import advantage_weights
from tiltflow.agents.sampling import play_actions
from tiltflow.flow import matching_loss
from tiltflow.model_settings import CriticConfig, FlowConfig
from tiltflow.optimize import begin, gradient_step
from tiltflow.settings import EnergyScale, NonNegative, Positive, check


@dataclass(frozen=True)
class WeightedFlowConfig:
    """Settings of weighted-flow. The text after each field is its help on the command line."""

    flow: FlowConfig = FlowConfig()
    critic: CriticConfig = CriticConfig(kind="expectile")
    alpha: NonNegative = 3.0
    """α, inverse temperature of the weights."""
    energy_scale: EnergyScale = "advantage"
    """Unit of Q − V: its standard deviation over the batch, or its own."""
    max_weight: Positive = 100.0
    """w_max, the largest weight of a transition."""

    def __post_init__(self):
        check(self)


def build(config, spec, steps):
    optimizer = policy_optimizer(config.flow, steps)

    def improve(state, batch, key):
        weights = advantage_weights(state.critic, batch, config)

        def loss(flow):
            value = matching_loss(flow, key, batch["actions"], batch["observations"], weights)
            return value, {"loss": value, "weight": jnp.mean(weights)}

        policy, metrics = gradient_step(state.policy, optimizer, loss, ema=config.flow.ema)
        return state._replace(policy=policy), metrics

    return build_actor_critic(
        config.critic, spec, steps, batch_size=config.flow.batch_size,
        init_policy=lambda key: begin(init_flow(key, spec, config.flow), optimizer),
        improve=improve, parts=flow_parts(config),
        act=lambda state, seen, key: play_actions(state.policy.ema, seen, key, spec, config.flow),
    )  # fmt: skip


register("weighted-flow", WeightedFlowConfig(), build, "IQL's critic, and a flow weighted by advantages")
