"""What a checkpoint holds besides the agent's state: the observations' units; and the policy made of both."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.agents.base import Agent
from tiltflow.data.transitions import Spec, Transitions
from tiltflow.evaluation.rollouts import Policy

LIMIT = 10.0


class ObservationScaler(NamedTuple):
    """Shift and scale of observations, and the size beyond which an entry is cut off afterwards."""

    mean: Float[Array, " o"]
    std: Float[Array, " o"]
    limit: Float[Array, ""]

    def __call__(self, observations: Float[Array, "*batch o"]) -> Float[Array, "*batch o"]:
        return jnp.clip((observations - self.mean) / self.std, -self.limit, self.limit)


class RunState(NamedTuple):
    """Everything that evaluating or resuming one seed (or one vmapped group of seeds) needs."""

    agent: Any
    scaler: ObservationScaler


def identity_scaler(spec: Spec) -> ObservationScaler:
    """Units that leave observations as they are, however large."""
    size = (spec.observation_size,)
    return ObservationScaler(jnp.zeros(size), jnp.ones(size), jnp.array(jnp.inf))


def data_scaler(data: Transitions) -> ObservationScaler:
    """Mean and standard deviation of each entry, the latter at least a tenth of the median of what varies.

    An entry that hardly varies in the data would otherwise be blown up, and throw the policy off wherever
    it takes another value. What lies further than 10 units from the mean is cut off.
    """
    mean = data.observations.mean(axis=0, dtype=np.float64)
    std = data.observations.std(axis=0, dtype=np.float64)
    floor = 0.1 * np.median(std[std > 0]) if std.any() else 1.0
    std = np.maximum(std, floor)
    return ObservationScaler(jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32), jnp.array(LIMIT))


def init_state(agent: Agent, scaler: ObservationScaler, keys: PRNGKeyArray) -> RunState:
    """The fresh state of one seed (one key) or of a group of seeds (a leading axis of several keys)."""
    init = agent.init if keys.shape[0] == 1 else jax.vmap(agent.init)
    return RunState(jax.jit(init)(keys[0] if keys.shape[0] == 1 else keys), scaler)


def make_act(agent: Agent) -> Callable[..., Array]:
    """A compiled policy(agent state, units, observations, key, episode seeds, times) -> actions.

    Row i uses the key folded with its own episode seed and time, so an action does not depend on which
    other episodes run beside it.
    """

    def act(
        state: Any,
        scaler: ObservationScaler,
        observations: Array,
        key: PRNGKeyArray,
        seeds: Array,
        times: Array,
    ):
        def one(observation: Array, seed: Array, time: Array) -> Array:
            row_key = jax.random.fold_in(jax.random.fold_in(key, seed), time)
            return agent.act(state, observation[None], row_key)[0]

        return jax.vmap(one)(scaler(observations), seeds, times)

    return jax.jit(act)


def rollout_policy(act: Callable[..., Array], state: RunState, key: PRNGKeyArray) -> Policy:
    """The policy of one seed, for rollouts."""

    def policy(observations: np.ndarray, episode_seeds: np.ndarray, times: np.ndarray) -> np.ndarray:
        return np.asarray(act(state.agent, state.scaler, observations, key, episode_seeds, times))

    return policy
