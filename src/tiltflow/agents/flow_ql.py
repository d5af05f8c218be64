"""Diffusion-QL (arXiv 2208.06193), as flow-ql with a flow in the place of its diffusion, or as diffusion-ql.

The policy minimises, with q the mean |Q'| of the data's actions,

    E|v(x_t, t, s) − u_t|² − η/q · E[Q(s, a_π)],   a_π = the sampler's action at s,

differentiated through every step of the sampler: the cost of a step grows with their number. In
diffusion-ql the error is turned into that of the noise, which is the authors' (`error`): η means the same.
The critic is double Q-learning, y = r + γ(1 − d)·min_j Q'_j(s', a'), a' ~ π(·|s'), trained beside the policy.

Departs from the paper: diffusion-ql has the variance-preserving path in continuous time, predicts its
velocity and samples by DPM-Solver++, where the authors take denoising steps with fresh noise in each and cut
every clean estimate off at the actions' box, as here only the end is; the matching loss is a mean over the
action's entries. Q is the trained ensemble's minimum, over mean |Q'| of the data's actions by the target's;
the authors take one trained network at random, over mean |Q| of the policy's actions by the other. Critics
are normalised layer by layer, as all here that are not defined without. What is played has averaged
parameters, the authors' only the backup; no backup takes the maximum over several next actions, as theirs
does in some mazes, and rewards stay as they are, which theirs do not in mazes and adroit. By default one
action is drawn, no gradient is clipped and η is 1 on every task. Their 50 candidates, step size, η and bound
on the norm of the gradient on each task, and critics without normalisation, are the preset `published` of
diffusion-ql (published.py); of the candidates it plays the best by Q, where they draw one by softmax of Q,
and it bounds the policy's gradient alone, where they bound the critic's too. Nobody has published a flow-ql:
its η = 1 is our choice.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.agents.actor_critic import (
    ActorCriticState,
    Stepped,
    build_flow_actor_critic,
    policy_optimizer,
    q_size,
)
from tiltflow.agents.base import Agent
from tiltflow.agents.registry import register
from tiltflow.agents.sampling import sample_actions
from tiltflow.critics import Critic, join, q_values
from tiltflow.data.transitions import Spec
from tiltflow.errors import UserError
from tiltflow.flow import Flow, matching_loss
from tiltflow.model_settings import BESIDE, DIFFUSION, CriticConfig, FlowConfig, check_kind
from tiltflow.optimize import Columns, Metrics, TrainState, gradient_step
from tiltflow.settings import Count, MatchingError, NonNegative, Positive, check


@dataclass(frozen=True)
class FlowQLConfig:
    """Behaviour cloning plus Q of the policy's own actions, through its sampler (arXiv 2208.06193)."""

    flow: FlowConfig = FlowConfig()
    critic: CriticConfig = CriticConfig(kind="policy")
    eta: NonNegative = 1.0
    """η, the weight of Q of the policy's actions, in units of the mean |Q| of the data's actions."""
    error: MatchingError = "prediction"
    """Whose squared error the matching loss is, against which η is weighed: that of the network's prediction
    or of the noise, as in Diffusion-QL (on the variance-preserving path 1/37 of a velocity's)."""
    num_candidates: Count = 1
    """Actions drawn where the policy is played, of which the one of highest Q is taken."""
    grad_norm: Positive | None = None
    """Norm to which the policy's gradient is scaled down where it is larger; without it never."""
    actor_critic_steps: Count | None = None
    """Gradient steps of policy and critic; without it the whole of --steps."""

    def __post_init__(self) -> None:
        check(self)
        check_kind(self.critic, "policy", "expectile", why=BESIDE)
        if self.error == "noise" and self.flow.prediction == "data" and self.flow.path != "vp":
            raise UserError(
                f"error = noise is unbounded at the data end of flow.path = {self.flow.path}, where the data "
                "say nothing of the noise: choose flow.prediction = velocity, or error = prediction."
            )


def clone_and_climb(
    policy: TrainState,
    critic: Critic,
    batch: Columns,
    key: PRNGKeyArray,
    spec: Spec,
    config: FlowQLConfig,
    optimizer: optax.GradientTransformation,
) -> tuple[TrainState, Metrics]:
    """One step of the policy: plain matching, and more Q of its own actions."""
    observations, size = batch["observations"], q_size(critic, batch, config.critic)
    loss_key, sample_key = jax.random.split(key)

    def loss(flow: Flow) -> tuple[Float[Array, ""], Metrics]:
        measure = flow.prediction if config.error == "prediction" else config.error
        matching = matching_loss(flow, loss_key, batch["actions"], observations, measure=measure)
        actions = sample_actions(flow, observations, sample_key, spec, config.flow)
        values = q_values(critic.q.params, observations, actions)
        q = jnp.mean(join(values, config.critic))
        value = matching - config.eta / size * q
        return value, {"loss": value, "matching_loss": matching, "q_policy": q}

    return gradient_step(policy, optimizer, loss, step=config.flow.average_step)


def build(config: FlowQLConfig, spec: Spec, steps: int) -> Agent:
    """The agent: one stage, in which every step is one of the critic and one of the policy."""
    steps = config.actor_critic_steps or steps
    optimizer = policy_optimizer(config.flow, steps)
    if config.grad_norm is not None:
        optimizer = optax.chain(optax.clip_by_global_norm(config.grad_norm), optimizer)

    def next_actions(state: ActorCriticState, rows: Columns, key: PRNGKeyArray) -> dict[str, Array]:
        observations = rows["next_observations"]
        return {"next_actions": sample_actions(state.policy.ema, observations, key, spec, config.flow)}

    def step(state: ActorCriticState, batch: Columns, key: PRNGKeyArray) -> Stepped:
        policy, metrics = clone_and_climb(state.policy, state.critic, batch, key, spec, config, optimizer)
        return state._replace(policy=policy), metrics

    return build_flow_actor_critic(config, spec, steps, optimizer, step, back_up=next_actions)


register("flow-ql", FlowQLConfig(), build, numbers=True)
register(
    "diffusion-ql", FlowQLConfig(flow=replace(DIFFUSION, num_steps=5), error="noise"), build, numbers=True
)
