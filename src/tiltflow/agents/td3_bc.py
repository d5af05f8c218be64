"""TD3+BC (arXiv 2106.06860) and ReBRAC (arXiv 2305.09836): TD3 that is held near the data's actions.

The actor is deterministic, a = π(s). With d(a, b) the squared distance of two actions (their entries' mean in
td3-bc, their sum in rebrac), a' = π'(s') + clipped noise, and a'_D the data's next action:

    y   = r + γ(1 − d)·(Q'(s', a') − c_critic·d(a', a'_D))
    L_π = E[ c_actor·d(π(s), a) − Q(s, π(s))/q ],       q = mean |Q(s, π(s))|,

with c_critic = 0 in TD3+BC, whose α is 1/c_actor; Q' is the target ensemble's, Q the trained one's, joined as
configured. The actor takes one step every `actor_every` of the critic.

Departs from the papers: Q in td3-bc's actor loss is the ensemble's minimum, TD3+BC's its first member; the
target critic is averaged at each of the critic's steps, the authors' at the actor's alone; where the data
does not say what the next action is (a time limit, or rows that are not in order), rebrac's penalty of that
row is left out; rewards keep their scale. td3-bc has three hidden layers, where the authors have two. Where
no preset does, penalties are not chosen for each data set, as ReBRAC's are.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from tiltflow.agents.actor import Actor, begin_actor, clipped_noise
from tiltflow.agents.actor_critic import ActorCriticState, Stepped, build_actor_critic, policy_optimizer
from tiltflow.agents.base import Agent
from tiltflow.agents.registry import register
from tiltflow.critics import join, q_values
from tiltflow.data.transitions import Spec
from tiltflow.model_settings import ActorConfig, CriticConfig, NetworkConfig, check_kind
from tiltflow.optimize import Columns, Metrics, gradient_step
from tiltflow.settings import Count, Distance, NonNegative, check


@dataclass(frozen=True)
class TD3BCConfig:
    """TD3 with a penalty on the distance to the data's actions (arXiv 2106.06860, 2305.09836)."""

    actor: ActorConfig = ActorConfig()
    critic: CriticConfig = CriticConfig(kind="policy")
    actor_penalty: NonNegative = 0.4
    """Weight of the squared distance to the data's action in the actor's loss, beside Q over mean |Q|."""
    critic_penalty: NonNegative = 0.0
    """Weight of the squared distance of the next action to the data's next action, taken off the backup."""
    distance: Distance = "mean"
    """How the squared distances of an action's entries are joined (td3-bc: mean, rebrac: sum)."""
    target_noise: NonNegative = 0.2
    """Standard deviation of the noise on the next action of the backup."""
    target_noise_limit: NonNegative = 0.5
    """Bound of that noise."""
    actor_every: Count = 2
    """Critic steps to one step of the actor."""
    actor_critic_steps: Count | None = None
    """Gradient steps of policy and critic; without it the whole of --steps."""

    def __post_init__(self) -> None:
        check(self)
        check_kind(self.critic, "policy", why="that of td3-bc and rebrac values their own next actions.")


def build(config: TD3BCConfig, spec: Spec, steps: int) -> Agent:
    """The agent: one stage; `state.guide` counts the critic's steps."""
    steps = config.actor_critic_steps or steps
    optimizer = policy_optimizer(config.actor, steps, every=config.actor_every)

    def distance(one: Float[Array, "n a"], other: Float[Array, "n a"]) -> Float[Array, " n"]:
        join = jnp.mean if config.distance == "mean" else jnp.sum
        return join((one - other) ** 2, axis=-1)

    def back_up(state: ActorCriticState, rows: Columns, key: PRNGKeyArray) -> dict[str, Array]:
        """a', and what the backup takes off Q'(s', a')."""
        actions = state.policy.ema(rows["next_observations"])
        noise = clipped_noise(key, actions, config.target_noise, config.target_noise_limit)
        actions = jnp.clip(actions + noise, -1.0, 1.0)
        penalty = config.critic_penalty * distance(actions, rows["following_actions"]) * rows["followed"]
        return {"next_actions": actions, "next_penalty": penalty}

    def step_actor(state: ActorCriticState, batch: Columns) -> Stepped:
        observations = batch["observations"]

        def loss(actor: Actor) -> tuple[Float[Array, ""], Metrics]:
            actions = actor(observations)
            q = join(q_values(state.critic.q.params, observations, actions), config.critic)
            size = jnp.maximum(jax.lax.stop_gradient(jnp.mean(jnp.abs(q))), 1e-6)
            cloning = jnp.mean(distance(actions, batch["actions"]))
            value = config.actor_penalty * cloning - jnp.mean(q) / size
            return value, {"loss": value, "matching_loss": cloning, "q_policy": jnp.mean(q)}

        policy, metrics = gradient_step(state.policy, optimizer, loss, step=config.critic.tau)
        return state._replace(policy=policy), metrics

    def improve(state: ActorCriticState, batch: Columns, key: PRNGKeyArray) -> Stepped:
        count: Int[Array, ""] = state.guide["steps"]
        last: Metrics = state.guide["metrics"]
        state, metrics = jax.lax.cond(
            count % config.actor_every == 0,
            lambda: step_actor(state._replace(guide=None), batch),
            lambda: (state._replace(guide=None), last),
        )
        return state._replace(guide={"steps": count + 1, "metrics": metrics}), metrics

    def init_guide(key: PRNGKeyArray) -> dict[str, object]:
        nothing = {name: jnp.zeros(()) for name in ("loss", "matching_loss", "q_policy")}
        return {"steps": jnp.zeros((), jnp.int32), "metrics": nothing}

    def act(state: ActorCriticState, observations: Array, key: PRNGKeyArray) -> Array:
        return state.policy.params(observations)

    return build_actor_critic(
        config.critic,
        spec,
        steps,
        batch_size=config.actor.batch_size,
        init_policy=lambda key: begin_actor(key, spec, config.actor, optimizer, squashed=True),
        improve=improve,
        act=act,
        deterministic=True,
        back_up=back_up,
        init_guide=init_guide,
    )


_PLAIN = NetworkConfig(activation="relu")

register("td3-bc", TD3BCConfig(critic=CriticConfig(kind="policy", network=_PLAIN)), build, numbers=True)
register(
    "rebrac",
    TD3BCConfig(
        critic=CriticConfig(kind="policy", network=replace(_PLAIN, layer_norm="after")),
        actor_penalty=0.1,
        critic_penalty=0.01,
        distance="sum",
    ),
    build,
    numbers=True,
)
