"""IFQL and IDQL (arXiv 2304.10573): behaviour cloning, IQL's critic, and the best of N actions by Q.

The policy is a flow (ifql, as in arXiv 2502.02538) or a diffusion (idql) of the data's actions; value
learning never asks it (critics.py, expectile). Where it is played, a = argmax_i Q'(s, a_i), a_1 … a_N ~
μ(·|s): `resample` of the behaviour at test time, with all weight on the best.

Departs from the public code of IFQL: the flow's parameters are averaged and its step size decays
(`flow.ema`, `flow.decay`), it takes 5 midpoint steps instead of 10 of Euler, times enter by a cosine series
(`flow.time_features`), and Q' is the target ensemble's, not the trained one's. Departs from IDQL: the
diffusion has the variance-preserving path in continuous time, predicts its velocity with a plain perceptron
and samples by DPM-Solver++, where the authors take 5 denoising steps, each cut off at the actions' box, of a
residual network with dropout; critics are normalised, and the policy takes one step on 256 rows for each of
the critic's, theirs two on 512; a = argmax of Q, which the authors use for their tables, and not a draw by
the implicit weights. Rewards keep their scale, which IDQL's authors change for D4RL.
"""

from dataclasses import dataclass

from jaxtyping import PRNGKeyArray

from tiltflow.agents.actor_critic import ActorCriticState, Stepped, build_flow_actor_critic, policy_optimizer
from tiltflow.agents.base import Agent
from tiltflow.agents.bc import behaviour_update
from tiltflow.agents.registry import register
from tiltflow.data.transitions import Spec
from tiltflow.model_settings import DIFFUSION, CriticConfig, FlowConfig, check_kind
from tiltflow.optimize import Columns
from tiltflow.settings import Count, check


@dataclass(frozen=True)
class BestOfNConfig:
    """Behaviour cloning beside IQL's critic; the best of N actions by Q is played (ifql, idql)."""

    flow: FlowConfig = FlowConfig()
    critic: CriticConfig = CriticConfig(kind="expectile")
    num_candidates: Count = 32
    """N, the actions drawn at a state, of which the one of highest Q is taken."""
    actor_critic_steps: Count | None = None
    """Gradient steps of policy and critic; without it the whole of --steps."""

    def __post_init__(self) -> None:
        check(self)
        check_kind(self.critic, "expectile", why="ifql and idql are defined by expectile.")


def build(config: BestOfNConfig, spec: Spec, steps: int) -> Agent:
    """The agent: one stage, in which every step is one of the critic and one of plain matching."""
    steps = config.actor_critic_steps or steps
    optimizer = policy_optimizer(config.flow, steps)

    def clone(state: ActorCriticState, batch: Columns, key: PRNGKeyArray) -> Stepped:
        policy, metrics = behaviour_update(state.policy, batch, key, config.flow, optimizer)
        return state._replace(policy=policy), metrics

    return build_flow_actor_critic(config, spec, steps, optimizer, clone)


register("ifql", BestOfNConfig(), build, numbers=True)
register("idql", BestOfNConfig(flow=DIFFUSION, num_candidates=64), build, numbers=True)
