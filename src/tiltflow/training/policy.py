"""What a checkpoint holds besides the agent's state: the observations' units; and the policy made of both."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.agents.base import Agent, Numbers
from tiltflow.data.audit import LIMIT
from tiltflow.data.moments import Moments, observation_moments
from tiltflow.data.transitions import Spec, Transitions
from tiltflow.evaluation.rollouts import Policy
from tiltflow.optimize import Buffer

_ROUNDING = 2.0**-20
"""Of the size of an entry: eight times what rounding to float32 changes."""
INIT, STAGE, EVALUATE, UNIT, CHOOSE = range(5)
"""Purposes of random keys, each with a stream of its own."""


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
    buffer: Buffer | None = None
    """Rows that a stage has added to the data."""


def identity_scaler(spec: Spec) -> ObservationScaler:
    """Units that leave observations as they are, however large."""
    size = (spec.observation_size,)
    return ObservationScaler(jnp.zeros(size), jnp.ones(size), jnp.array(jnp.inf))


def data_scaler(data: Transitions, moments: Moments | None = None) -> ObservationScaler:
    """Mean and standard deviation of each entry; a tenth of the median of the others where it does not vary.

    What varies by the rounding of float32 alone would otherwise be blown up. What lies further than 10 units
    from the mean is cut off. `moments` are those of the observations, where they are known.
    """
    mean, std = moments or observation_moments(data.observations)
    varies = std > _ROUNDING * np.abs(mean)
    std = np.where(varies, std, 0.1 * np.median(std[varies]) if varies.any() else 1.0)
    return ObservationScaler(jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32), jnp.array(LIMIT))


def seed_keys(seeds: list[int], purpose: int) -> PRNGKeyArray:
    """One key for each seed, different for every purpose."""
    return jnp.stack([jax.random.fold_in(jax.random.key(seed), purpose) for seed in seeds])


def init_state(agent: Agent, scaler: ObservationScaler, seeds: list[int]) -> RunState:
    """The state of one seed before its first step, or of several, whose arrays have a leading axis."""
    keys = seed_keys(seeds, INIT)

    def init(key: PRNGKeyArray) -> tuple[Any, Buffer | None]:
        state = agent.init(key)
        return state, _empty_buffer(agent, state, key)

    state, buffer = jax.jit(init)(keys[0]) if len(seeds) == 1 else jax.jit(jax.vmap(init))(keys)
    return RunState(state, scaler, buffer)


def _empty_buffer(agent: Agent, state: Any, key: PRNGKeyArray) -> Buffer | None:
    """The buffer of an agent one of whose stages adds rows. Raises ValueError where one precomputes, too."""
    adding = [stage for stage in agent.stages if stage.extend is not None]
    if not adding:
        return None
    if len(adding) > 1 or any(stage.precompute is not None for stage in agent.stages):
        raise ValueError(
            "one stage of an agent may add rows, and none of its stages precomputes columns then"
        )
    assert adding[0].extend is not None
    rows, capacity = jax.eval_shape(adding[0].extend, state, key), adding[0].capacity
    return Buffer(
        {name: jnp.zeros((capacity, *row.shape[1:]), row.dtype) for name, row in rows.items()}, jnp.int32(0)
    )


def of_one_seed(state: RunState, seeds: list[int], index: int) -> RunState:
    """The state of one seed of a group."""
    if len(seeds) == 1:
        return state._replace(agent=_on_one_device(state.agent))
    return RunState(_on_one_device(jax.tree.map(lambda leaf: leaf[index], state.agent)), state.scaler)


def _on_one_device(tree: Any) -> Any:
    """Arrays that lie on several devices, on the first; others as they are."""

    def moved(leaf: Any) -> Any:
        several = isinstance(leaf, jax.Array) and len(leaf.sharding.device_set) > 1
        return jax.device_put(leaf, jax.devices()[0]) if several else leaf

    return jax.tree.map(moved, tree)


def device_numbers(numbers: Numbers) -> dict[str, Array]:
    """The numbers as arguments of a compiled program."""
    return {key: jnp.asarray(value, jnp.float32) for key, value in numbers.items()}


def make_act(agent: Agent) -> partial[Array]:
    """A compiled policy(agent state, units, observations, key, episode seeds, times) -> actions.

    Row i uses the key folded with its own episode seed and time, so an action does not depend on which
    other episodes run beside it.
    """

    def act(
        numbers: Numbers,
        state: Any,
        scaler: ObservationScaler,
        observations: Array,
        key: PRNGKeyArray,
        seeds: Array,
        times: Array,
    ):
        policy = agent.at(numbers).act

        def one(observation: Array, seed: Array, time: Array) -> Array:
            row_key = jax.random.fold_in(jax.random.fold_in(key, seed), time)
            return policy(state, observation[None], row_key)[0]

        return jax.vmap(one)(scaler(observations), seeds, times)

    return partial(jax.jit(act), device_numbers(agent.numbers))


def rollout_policy(act: Callable[..., Array], state: RunState, key: PRNGKeyArray) -> Policy:
    """The policy of one seed, for rollouts."""

    def policy(observations: np.ndarray, episode_seeds: np.ndarray, times: np.ndarray) -> np.ndarray:
        return np.asarray(act(state.agent, state.scaler, observations, key, episode_seeds, times))

    return policy
