"""Flow Q-learning (FQL, arXiv 2502.02538): a one-step policy, distilled from a flow, that maximises Q.

    flow      L_flow = E|v(x_t, t, s) − (a − noise)|²                         plain flow matching
    policy    L_π    = α·E|μ(s, z) − ODE(s, z)|² − E[Q(s, μ(s, z))]/q,        z ~ N(0, I)
    critic    y      = r + γ(1 − d)·Q'(s', μ(s', z'))

ODE(s, z) is where the flow's Euler steps carry the noise z; its gradient is not taken. Only μ is played, and
cut off to the actions' box. Q is the mean of the trained ensemble, Q' the target's, joined as configured.
q is mean |Q'| of the data's actions, or 1 (`normalize_q=False`, as published for OGBench, with an α for each
domain).

Departs from the paper: times enter by a cosine series instead of as one number; the distances are means
over an action's entries, as in the public code; q is of the data's actions, where that takes the policy's;
the policy that is played may be averaged over steps (`flow.ema`).
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.agents.actor_critic import (
    ActorCriticState,
    Stepped,
    build_actor_critic,
    policy_optimizer,
    q_size,
)
from tiltflow.agents.base import Agent
from tiltflow.agents.bc import init_flow
from tiltflow.agents.one_step import apply_one_step, make_one_step
from tiltflow.agents.registry import register
from tiltflow.critics import q_values
from tiltflow.data.transitions import Spec
from tiltflow.flow import Flow, matching_loss, standard_normal
from tiltflow.model_settings import CriticConfig, FlowConfig, check_kind
from tiltflow.networks import MLP
from tiltflow.optimize import Columns, Metrics, begin, gradient_step
from tiltflow.settings import Count, NonNegative, check


@dataclass(frozen=True)
class FQLConfig:
    """Flow Q-learning: a one-step policy, distilled from a flow, that maximises Q (arXiv 2502.02538)."""

    flow: FlowConfig = FlowConfig(decay="none", ema=0.0, solver="euler", num_steps=10)
    critic: CriticConfig = CriticConfig(kind="policy", aggregate="mean")
    alpha: NonNegative = 1.0
    """Weight of the squared distance to the flow's action of the same noise."""
    normalize_q: bool = True
    """Whether Q in the policy's loss is divided by the mean |Q| of the data's actions."""
    actor_critic_steps: Count | None = None
    """Gradient steps of policy and critic; without it the whole of --steps."""

    def __post_init__(self) -> None:
        check(self)
        check_kind(self.critic, "policy", why="fql's values the one-step policy's own next actions.")


class Distilled(NamedTuple):
    """The behaviour flow, and μ: a network from an observation and noise to an action."""

    flow: Flow
    one_step: MLP


def build(config: FQLConfig, spec: Spec, steps: int) -> Agent:
    """The agent: one stage, in which every step is one of the critic and one of both flow and policy."""
    steps = config.actor_critic_steps or steps
    optimizer = policy_optimizer(config.flow, steps)

    def init_policy(key: PRNGKeyArray):
        flow_key, one_step_key = jax.random.split(key)
        one_step = make_one_step(one_step_key, spec, config.flow)
        return begin(Distilled(init_flow(flow_key, spec, config.flow), one_step), optimizer)

    def draw(
        one_step: MLP, observations: Array, key: PRNGKeyArray, scale: float = 1.0
    ) -> Float[Array, "n a"]:
        noise = scale * standard_normal(key, (observations.shape[0], spec.action_size))
        return jnp.clip(apply_one_step(one_step, observations, noise), -1.0, 1.0)

    def next_actions(state: ActorCriticState, rows: Columns, key: PRNGKeyArray) -> dict[str, Array]:
        return {"next_actions": draw(state.policy.params.one_step, rows["next_observations"], key)}

    def improve(state: ActorCriticState, batch: Columns, key: PRNGKeyArray) -> Stepped:
        observations = batch["observations"]
        flow_key, noise_key = jax.random.split(key)
        noise = jax.random.normal(noise_key, batch["actions"].shape)
        sampler = {"num_steps": config.flow.num_steps, "solver": config.flow.solver}
        of_flow = jnp.clip(state.policy.params.flow.integrate(noise, observations, **sampler), -1.0, 1.0)
        size = q_size(state.critic, batch, config.critic) if config.normalize_q else 1.0

        def loss(policy: Distilled) -> tuple[Float[Array, ""], Metrics]:
            matching = matching_loss(policy.flow, flow_key, batch["actions"], observations)
            actions = apply_one_step(policy.one_step, observations, noise)
            distilled = jnp.mean((actions - of_flow) ** 2)
            q = jnp.mean(q_values(state.critic.q.params, observations, jnp.clip(actions, -1.0, 1.0)))
            value = matching + config.alpha * distilled - q / size
            parts = {"matching_loss": matching, "distillation_loss": distilled, "q_policy": q}
            return value, {"loss": value, **parts}

        policy, metrics = gradient_step(state.policy, optimizer, loss, step=config.flow.average_step)
        return state._replace(policy=policy), metrics

    def act(state: ActorCriticState, observations: Array, key: PRNGKeyArray) -> Array:
        return draw(state.policy.ema.one_step, observations, key, config.flow.play_noise)

    return build_actor_critic(
        config.critic,
        spec,
        steps,
        batch_size=config.flow.batch_size,
        init_policy=init_policy,
        improve=improve,
        act=act,
        back_up=next_actions,
    )


register("fql", FQLConfig(), build, numbers=True)
