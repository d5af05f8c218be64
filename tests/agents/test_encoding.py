"""Observations that are no vector: an encoder turns them into the features that networks see."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tiltflow.agents.registry import build_agent, preset
from tiltflow.data.transitions import Spec
from tiltflow.model_settings import NetworkConfig

pytestmark = pytest.mark.usefixtures("quickly_compiled")

ROWS, STEPS = 64, 400


def join(observation):
    return jnp.concatenate([observation["position"], observation["velocity"]], axis=-1)


def made(name: str, encode=None):
    config, network = preset(name, "file/any"), NetworkConfig(width=16, depth=1)
    for part in {"flow", "critic", "actor"} & vars(config).keys():
        changed = replace(getattr(config, part), network=network, learning_rate=1e-2)
        config = replace(config, **{part: changed})
    if hasattr(config, "flow"):
        config = replace(config, flow=replace(config.flow, ema=0.9))
    return build_agent(name, config, Spec(5, 2, encode), STEPS)


def rows(key):
    """The best action is the position, and the more a reward the nearer an action is to it."""
    keys = jax.random.split(key, 3)
    seen = {
        "position": jax.random.uniform(keys[0], (ROWS, 2), minval=-0.8, maxval=0.8),
        "velocity": jax.random.normal(keys[1], (ROWS, 3)),
    }
    actions = jnp.clip(seen["position"] + 0.1 * jax.random.normal(keys[2], (ROWS, 2)), -1, 1)
    rewards = -jnp.sum((actions - seen["position"]) ** 2, axis=-1)
    return {
        "observations": seen,
        "actions": actions,
        "rewards": rewards,
        "next_observations": seen,
        "terminations": jnp.ones(ROWS),
    }


def trained(agent, columns, key):
    state, update = agent.init(key), jax.jit(agent.stages[0].update)
    for step in range(STEPS):
        state, metrics = update(state, columns, jax.random.fold_in(key, step))
    return state, metrics


@pytest.mark.parametrize("name", ["bc-flow", "iql"])
def test_a_dictionary_is_learned_from_as_the_vector_of_its_entries(name, key):
    columns = rows(key)
    joined = {name: join(column) if isinstance(column, dict) else column for name, column in columns.items()}
    of_tree, of_vector = made(name, join), made(name)
    one, _ = trained(of_tree, columns, key)
    other, _ = trained(of_vector, joined, key)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)
    actions = jax.jit(of_tree.act)(one, columns["observations"], key)
    np.testing.assert_array_equal(actions, jax.jit(of_vector.act)(other, joined["observations"], key))
    own = columns["observations"]["position"]
    assert np.mean((actions - own) ** 2) < np.mean((actions - np.roll(own, 1, axis=0)) ** 2) / 2


@pytest.mark.parametrize("name", ["qipo-ot", "fql"])
def test_every_function_of_a_stage_sees_features(name, key):
    columns, agent = rows(key), made(name, join)
    assert jax.tree.structure(agent.init(key)) == jax.tree.structure(made(name).init(key))
    state = agent.init(key)
    for stage in agent.stages:
        state = jax.eval_shape(stage.refresh, state, columns, key)
        more = jax.eval_shape(stage.precompute, state, columns, key) if stage.precompute else {}
        state, _ = jax.eval_shape(stage.update, state, {**columns, **more}, key)
    assert jax.eval_shape(agent.act, state, columns["observations"], key).shape == (ROWS, 2)
