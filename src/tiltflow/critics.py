"""Value learning from transitions: an ensemble of Q networks with targets, and three backups.

in-support softmax (QGPO, arXiv 2304.12824):
    y = r + γ(1 − d)·Σ_j softmax_j(β_Q·Q'(s', a'_j))·Q'(s', a'_j),   a'_j ~ μ(·|s') drawn beforehand.
expectile (IQL, arXiv 2110.06169):
    V minimises |τ − 1[Q' < V]|·(Q'(s, a) − V(s))²,   y = r + γ(1 − d)·V(s').
policy (clipped double Q-learning, arXiv 1802.09477, for a policy that is sampled):
    y = r + γ(1 − d)·Q'(s', a'),   a' ~ π(·|s'), one action of the policy, or of its average.
Q' is the target ensemble, joined by its minimum, its mean, or its mean less ρ standard deviations. Every
member of the ensemble is fitted to y. All members are one batched network, so that on an accelerator ten cost
far less than ten networks.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from operator import itemgetter
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.data.transitions import Spec
from tiltflow.model_settings import CriticConfig, NetworkConfig
from tiltflow.networks import MLP
from tiltflow.optimize import Columns, Metrics, TrainState, begin, gradient_step


class Ensemble(eqx.Module):
    """Q networks of one shape, as one whose arrays have the members as their first axis."""

    members: Any
    count: int = eqx.field(static=True)

    @classmethod
    def of(cls, members: Sequence[Any]) -> "Ensemble":
        """The ensemble of these networks."""
        return cls(jax.tree.map(lambda *arrays: jnp.stack(arrays), *members), len(members))

    def part(self, first: int, end: int) -> "Ensemble":
        """Members `first` up to before `end`."""
        return Ensemble(jax.tree.map(lambda array: array[first:end], self.members), end - first)

    def split(self) -> tuple[Any, ...]:
        """Each member alone."""
        return tuple(jax.tree.map(itemgetter(i), self.members) for i in range(self.count))

    def __call__(self, inputs: Float[Array, "*batch i"]) -> Array:
        """Every member's outputs [members, *batch, 1]."""
        # A copy for each: one CPU product of shared inputs and all kernels would have to be reordered.
        copies = jnp.broadcast_to(inputs, (self.count, *inputs.shape))
        return jax.vmap(lambda member, own: member(own))(self.members, copies)


class Critic(NamedTuple):
    """Q networks (their average is the target network) and, for the expectile backup, a V network."""

    q: TrainState
    value: TrainState | None


def build_mlp(key: PRNGKeyArray, inputs: int, outputs: int, config: NetworkConfig) -> MLP:
    """The network that a config describes."""
    return MLP(key, inputs, outputs, **asdict(config))


def init_critic(key: PRNGKeyArray, spec: Spec, config: CriticConfig) -> Critic:
    """A fresh critic for observations and actions of the given sizes."""
    value_key, *keys = jax.random.split(key, config.ensemble + 1)
    size = spec.observation_size + spec.action_size
    q = Ensemble.of([build_mlp(k, size, 1, config.network) for k in keys])
    optimizer = optax.adam(config.learning_rate)
    value = None
    if config.kind == "expectile":
        value = begin(build_mlp(value_key, spec.observation_size, 1, config.network), optimizer)
    return Critic(begin(q, optimizer), value)


def q_values(
    q: Ensemble,
    observations: Float[Array, "*#batch o"],
    actions: Float[Array, "*batch a"],
) -> Float[Array, "members *batch"]:
    """Q of every member of the ensemble, in units of discounted return.

    Observations are broadcast against the actions: [n, 1, o] and [n, m, a] give m values at each of n states.
    """
    observations = jnp.broadcast_to(observations, (*actions.shape[:-1], observations.shape[-1]))
    inputs = jnp.concatenate([observations, actions], axis=-1)
    return q(inputs)[..., 0]


def join(values: Float[Array, "members *batch"], config: CriticConfig) -> Float[Array, "*batch"]:
    """One value of the ensemble: its minimum, its mean, or mean − ρ·(standard deviation over members)."""
    match config.aggregate:
        case "min":
            return jnp.min(values, axis=0)
        case "mean":
            return jnp.mean(values, axis=0)
    mean = jnp.mean(values, axis=0)
    if len(values) == 1:  # its deviation is 0, where a square root has no slope
        return mean
    return mean - config.pessimism * jnp.std(values, axis=0)


def q_value(
    critic: Critic,
    observations: Float[Array, "*#batch o"],
    actions: Float[Array, "*batch a"],
    config: CriticConfig,
) -> Float[Array, "*batch"]:
    """Q(s, a) of the target ensemble, joined: what actions are weighted, guided and chosen by."""
    return join(q_values(critic.q.ema, observations, actions), config)


def softmax_backup(values: Float[Array, "*batch m"], beta: float) -> Float[Array, "*batch"]:
    """Σ_j softmax_j(β·Q_j)·Q_j over the last axis: the mean of Q under the tilted support."""
    return jnp.sum(jax.nn.softmax(beta * values, axis=-1) * values, axis=-1)


def update_critic(critic: Critic, batch: Columns, config: CriticConfig) -> tuple[Critic, Metrics]:
    """One gradient step of the configured backup on a batch of transitions.

    The softmax backup reads the column `next_support_actions` [batch, M, a], that of the policy the column
    `next_actions` [batch, a] and, where there is one, `next_penalty` [batch], which is taken off Q'(s', a').
    Where there is a column `discounts` [batch], it takes the place of the config's discount.
    """
    optimizer = optax.adam(config.learning_rate)
    metrics: dict[str, Array] = {}
    value = critic.value
    if config.kind == "expectile":
        assert value is not None
        value, value_metrics = gradient_step(value, optimizer, _value_loss(critic, batch, config))
        metrics |= value_metrics
        next_value = value.params(batch["next_observations"])[..., 0]
    elif config.kind == "policy":
        next_value = q_value(critic, batch["next_observations"], batch["next_actions"], config)
        next_value = next_value - batch.get("next_penalty", 0.0)
    else:
        states, support = batch["next_observations"][:, None], batch["next_support_actions"]
        next_value = softmax_backup(q_value(critic, states, support, config), config.beta)
    discount = batch.get("discounts", config.discount)
    target = batch["rewards"] + discount * (1.0 - batch["terminations"]) * next_value

    def q_loss(q: Ensemble) -> tuple[Float[Array, ""], Metrics]:
        values = q_values(q, batch["observations"], batch["actions"])
        loss = jnp.mean(jnp.sum((values - target[None]) ** 2, axis=0))
        return loss, {"loss": loss, "q_mean": jnp.mean(values), "target_mean": jnp.mean(target)}

    q, q_metrics = gradient_step(critic.q, optimizer, q_loss, step=config.tau)
    return Critic(q, value), metrics | dict(q_metrics)


def _value_loss(
    critic: Critic, batch: Columns, config: CriticConfig
) -> Callable[[MLP], tuple[Float[Array, ""], Metrics]]:
    q = q_value(critic, batch["observations"], batch["actions"], config)

    def loss(network: MLP) -> tuple[Float[Array, ""], Metrics]:
        error = q - network(batch["observations"])[..., 0]
        weight = jnp.where(error < 0, config.other_expectile, config.expectile)
        value = jnp.mean(weight * error**2)
        return value, {"value_loss": value}

    return loss
