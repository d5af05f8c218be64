"""What every agent must do, whatever it is: the same tests over all of them."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tiltflow.agents.configs import NetworkConfig
from tiltflow.agents.registry import ALGORITHMS, build_agent, preset
from tiltflow.data.transitions import Spec
from tiltflow.training import checkpoints

SPEC = Spec(observation_size=3, action_size=2)
ROWS = 64


# Options that bring another state or other derivatives with them.
OPTIONS = {
    "flowq with the path": ("flowq", {"reading": "path", "schedule": "rational", "num_candidates": 3}),
}


def small(name: str):
    algorithm, options = OPTIONS.get(name, (name, {}))
    config = replace(preset(algorithm, "file/any"), **options)
    network = NetworkConfig(width=16, depth=2)
    config = replace(config, flow=replace(config.flow, network=network, num_steps=3, batch_size=8))
    if hasattr(config, "critic"):
        config = replace(config, critic=replace(config.critic, network=network, batch_size=8))
    if hasattr(config, "num_support_actions"):
        config = replace(config, num_support_actions=3, improvement_batch_size=8)
    return build_agent(algorithm, config, SPEC, 90)


def columns(key):
    keys = jax.random.split(key, 5)
    return {
        "observations": jax.random.normal(keys[0], (ROWS, 3)),
        "actions": jax.random.uniform(keys[1], (ROWS, 2), minval=-1),
        "rewards": jax.random.normal(keys[2], (ROWS,)),
        "next_observations": jax.random.normal(keys[3], (ROWS, 3)),
        "terminations": jax.random.bernoulli(keys[4], 0.2, (ROWS,)).astype(jnp.float32),
    }


def run(agent, state, key, steps: int = 3):
    """A few updates of every stage, with its renewal and its derived columns, as the loop does."""
    data = columns(jax.random.key(1))
    for number, stage in enumerate(agent.stages):
        stage_key = jax.random.fold_in(key, number)
        state = stage.renew(state, data, stage_key)
        batch = {**data, **(stage.derive(state, data, stage_key) if stage.derive else {})}
        for step in range(steps):
            state, metrics = stage.update(state, batch, jax.random.fold_in(stage_key, step))
            assert all(jnp.isfinite(value) for value in metrics.values())
    return state


@pytest.fixture(params=[*ALGORITHMS, *OPTIONS])
def agent(request):
    return small(request.param)


def equal(one, other) -> bool:
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in leaves)


def test_stages_keep_the_structure_of_the_state_and_change_it(agent, key):
    before = agent.init(key)
    after = run(agent, before, key)
    assert jax.tree.structure(after) == jax.tree.structure(before)
    shapes = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(before)]
    assert [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(after)] == shapes
    assert not equal(after.policy.model, before.policy.model)


def test_the_same_key_gives_the_same_bits(agent, key):
    assert equal(run(agent, agent.init(key), key), run(agent, agent.init(key), key))


def test_actions_are_in_bounds_and_random_at_a_state(agent, key):
    state = run(agent, agent.init(key), key)
    actions = agent.act(state, jnp.zeros((200, 3)), key)
    assert actions.shape == (200, 2)
    assert jnp.all(jnp.abs(actions) <= 1)
    assert jnp.all(jnp.std(actions, axis=0) > 1e-3)


def test_a_saved_state_acts_as_before(agent, key, tmp_path):
    state = run(agent, agent.init(key), key)
    path = checkpoints.save(tmp_path, state, {"step": 9, "run": {"a": 1}}, keep=1)
    restored, head = checkpoints.restore(path, agent.init(jax.random.key(99)), {"a": 1})
    assert head["step"] == 9
    assert equal(restored, state)
    observations = jax.random.normal(key, (5, 3))
    np.testing.assert_array_equal(agent.act(restored, observations, key), agent.act(state, observations, key))


@pytest.mark.parametrize("agent", ALGORITHMS, indirect=True)
def test_vmapped_seeds_are_the_seeds_one_by_one(agent, key):
    keys = jax.random.split(key, 2)
    together = jax.vmap(agent.init)(keys)
    data = columns(jax.random.key(1))
    stage = agent.stages[0]
    together, _ = jax.vmap(stage.update, in_axes=(0, None, 0))(together, data, keys)
    for index in range(2):
        alone, _ = stage.update(agent.init(keys[index]), data, keys[index])
        one = jax.tree.map(lambda leaf, i=index: leaf[i], together)
        for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(one), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
