"""The two stages with which QIPO, QGPO and a FlowQ of stages begin: the behaviour policy, then its critic.

The critic is fixed from then on.

Their states are named tuples with the fields `policy` (TrainState) and `critic`. The policy stays μ to the
end of the critic's stage.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.accelerators import in_slices
from tiltflow.agents.base import Stage
from tiltflow.agents.bc import behaviour_stage, behaviour_update, trained_by
from tiltflow.agents.sampling import sample_support
from tiltflow.critics import Critic, q_value, update_critic
from tiltflow.data.transitions import Spec
from tiltflow.model_settings import CriticConfig, FlowConfig
from tiltflow.optimize import Columns, Metrics
from tiltflow.settings import EnergyScale


def behaviour_and_critic(
    flow_config: FlowConfig,
    critic_config: CriticConfig,
    spec: Spec,
    count: dict[str, int],
    optimizer: optax.GradientTransformation,
    begin_critic: Callable[[Any, Columns, PRNGKeyArray], Any] = lambda state, sample, key: state,
) -> tuple[Stage, Stage]:
    """Both stages, of `count["behaviour"]` and `count["critic"]` gradient steps.

    `begin_critic` is the refresh with which the critic's stage begins.
    """

    def behave(state: Any, batch: Columns, key: PRNGKeyArray) -> tuple[Any, Metrics]:
        policy, metrics = behaviour_update(state.policy, batch, key, flow_config, optimizer)
        return state._replace(policy=policy), metrics

    def next_support(state: Any, rows: Columns, key: PRNGKeyArray) -> dict[str, Array]:
        behaviour, M = state.policy.ema, critic_config.num_support_actions
        actions = sample_support(behaviour, rows["next_observations"], key, M, spec, flow_config)
        return {"next_support_actions": actions}

    def learn_q(state: Any, batch: Columns, key: PRNGKeyArray) -> tuple[Any, Metrics]:
        critic, metrics = update_critic(state.critic, batch, critic_config)
        return state._replace(critic=critic), metrics

    softmax_critic = critic_config.kind == "in-support-softmax"
    backed_by = {"flow": trained_by(flow_config), "behaviour_steps": count["behaviour"]}
    return (
        behaviour_stage(flow_config, count["behaviour"], behave),
        Stage(
            "critic",
            count["critic"],
            critic_config.batch_size,
            learn_q,
            improves_policy=False,
            refresh=begin_critic,
            precompute=next_support if softmax_critic else None,
            precompute_reason="drawing support actions of the next states",
            owns=("critic",),
            depends={"critic": asdict(critic_config)} | (backed_by if softmax_critic else {}),
        ),
    )


def support_energies(
    critic: Critic,
    observations: Float[Array, "n o"],
    actions: Float[Array, "n m a"],
    config: CriticConfig,
) -> Float[Array, "n m"]:
    """E = −Q of the support actions of each state."""

    def energies(actions: Float[Array, "k m a"], observations: Float[Array, "k o"]) -> Float[Array, "k m"]:
        return -q_value(critic, observations[:, None], actions, config)

    return in_slices(energies, actions, observations)


def energy_unit(energies: Float[Array, "n m"], scale: EnergyScale) -> Float[Array, ""]:
    """One unit of energy: the mean spread over a state's actions, or 1."""
    spread = jnp.mean(jnp.std(energies, axis=1))
    return jnp.maximum(spread, 1e-6) if scale == "advantage" else jnp.ones(())
