"""What every agent must do, whatever it is: the same tests over all of them."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from outside import EXAMPLE, EXAMPLE_NAME, outside_agents
from tiltflow.agents.base import Agent, Stage
from tiltflow.agents.registry import ALGORITHMS, build_agent, preset
from tiltflow.data.transitions import Spec
from tiltflow.model_settings import CriticConfig, NetworkConfig
from tiltflow.plugins import run_plugin
from tiltflow.run_folder import RunFolder
from tiltflow.serving.policy_files import export_program
from tiltflow.training import checkpoints
from tiltflow.training.policy import ObservationScaler, RunState, device_numbers

SPEC = Spec(observation_size=3, action_size=2)
ROWS = 64
NAMES = [*ALGORITHMS, EXAMPLE_NAME]


@pytest.fixture(scope="module", autouse=True)
def own_agent():
    """That of the tutorial is held to the contract too."""
    with outside_agents():
        run_plugin(EXAMPLE)
        yield


# Options that bring another state or other derivatives with them.
OPTIONS = {
    "flowq with the path": (
        "flowq",
        {"reading": "path", "matched": "data", "schedule": "rational", "num_candidates": 3},
    ),
    "flowq beside its critic": (
        "flowq",
        {"reading": "velocity", "matched": "data", "critic": CriticConfig(kind="policy")},
    ),
    "qipo-ot with its options": (
        "qipo-ot",
        {"beta": "auto", "split_ensemble": True, "continue_critic": True, "distill": True},
    ),
}


def small_settings(name: str) -> tuple[str, Any]:
    """The algorithm of that name and its settings, with tiny networks."""
    algorithm, options = OPTIONS.get(name, (name, {}))
    config = replace(preset(algorithm, "file/any"), **options)
    network = NetworkConfig(width=16, depth=1)
    if hasattr(config, "flow"):
        config = replace(config, flow=replace(config.flow, network=network, num_steps=2, batch_size=8))
    if hasattr(config, "actor"):
        config = replace(config, actor=replace(config.actor, network=network, batch_size=8))
    if hasattr(config, "critic"):
        config = replace(config, critic=replace(config.critic, network=network, batch_size=8))
    if getattr(config, "num_candidates", 1) > 3:
        config = replace(config, num_candidates=3)
    if hasattr(config, "num_support_actions"):
        config = replace(config, num_support_actions=3)
    if hasattr(config, "improvement_batch_size"):
        config = replace(config, improvement_batch_size=8)
    if hasattr(config, "energy_batch_size"):
        config = replace(config, energy_batch_size=8, energy=network)
    return algorithm, config


def small(name: str) -> Agent:
    return build_agent(*small_settings(name), SPEC, 90)


def columns(key):
    keys = jax.random.split(key, 7)
    return {
        "observations": jax.random.normal(keys[0], (ROWS, 3)),
        "actions": jax.random.uniform(keys[1], (ROWS, 2), minval=-1),
        "rewards": jax.random.normal(keys[2], (ROWS,)),
        "next_observations": jax.random.normal(keys[3], (ROWS, 3)),
        "terminations": jax.random.bernoulli(keys[4], 0.2, (ROWS,)).astype(jnp.float32),
        "following_actions": jax.random.uniform(keys[5], (ROWS, 2), minval=-1),
        "followed": jax.random.bernoulli(keys[6], 0.9, (ROWS,)).astype(jnp.float32),
    }


pytestmark = pytest.mark.usefixtures("quickly_compiled")


class Made(NamedTuple):
    """An agent with its functions compiled, but for `init`: its small operations are those of all agents."""

    agent: Agent
    state: Any
    """As it begins."""
    updates: list[Callable]
    run: Callable
    act: Callable


def compiled(part: Agent | Stage, name: str) -> Callable:
    """That function of it, compiled for all values of its numbers."""
    function = jax.jit(lambda numbers, *arguments: getattr(part.at(numbers), name)(*arguments))
    return partial(function, device_numbers(part.numbers))


# By module: the tests of an agent come one after the other, and what one has compiled serves the next.
@pytest.fixture(scope="module", params=[*NAMES, *OPTIONS])
def made(request) -> Made:
    agent = small(request.param)
    updates, refreshes, precomputes = (
        [compiled(stage, name) if getattr(stage, name) else None for stage in agent.stages]
        for name in ("update", "refresh", "precompute")
    )

    def run(state, key, steps: int = 3):
        """A few updates of every stage, with its refresh and its precomputed columns, as the loop does."""
        data = columns(jax.random.key(1))
        for number, (update, refresh, precompute) in enumerate(
            zip(updates, refreshes, precomputes, strict=True)
        ):
            stage_key = jax.random.fold_in(key, number)
            state = refresh(state, data, stage_key)
            batch = {**data, **(precompute(state, data, stage_key) if precompute else {})}
            for step in range(steps):
                state, metrics = update(state, batch, jax.random.fold_in(stage_key, step))
                assert all(jnp.isfinite(value) for value in metrics.values())
        return state

    return Made(agent, agent.init(jax.random.key(0)), updates, run, compiled(agent, "act"))


plain = pytest.mark.parametrize("made", NAMES, indirect=True)
"""Without the options."""


def equal(one, other) -> bool:
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in leaves)


def test_stages_keep_the_structure_of_the_state_and_change_it(made, key):
    before = made.state
    after = made.run(before, key)
    assert jax.tree.structure(after) == jax.tree.structure(before)
    shapes = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(before)]
    assert [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(after)] == shapes
    assert not equal(after.policy.params, before.policy.params)


def test_the_same_key_gives_the_same_bits(made, key):
    assert equal(made.run(made.agent.init(key), key), made.run(made.state, key))


def test_actions_are_in_bounds_and_random_at_a_state_where_the_policy_is(made, key):
    actions = made.act(made.run(made.state, key), jnp.zeros((200, 3)), key)
    assert actions.shape == (200, 2)
    assert jnp.all(jnp.abs(actions) <= 1)
    spread = jnp.std(actions, axis=0)
    assert jnp.all(spread < 1e-6) if made.agent.deterministic else jnp.all(spread > 1e-3)


def test_a_saved_state_acts_as_before(made, key, tmp_path):
    state = made.run(made.state, key)
    path = checkpoints.save(RunFolder(tmp_path), state, {"step": 9, "run": {"a": 1}}, keep=1)
    restored, head = checkpoints.restore(path, jax.tree.map(jnp.zeros_like, made.state), {"a": 1})
    assert head["step"] == 9
    assert equal(restored, state)
    assert equal(made.run(restored, key), made.run(state, key))
    observations = jax.random.normal(key, (200, 3))
    np.testing.assert_array_equal(made.act(restored, observations, key), made.act(state, observations, key))


@plain
def test_an_exported_policy_acts_as_the_agent(made, key):
    scaler = ObservationScaler(jnp.full(3, 0.5), jnp.full(3, 2.0), jnp.array(10.0))
    state = RunState(made.run(made.state, key), scaler)

    def actions(observations, key):
        return made.agent.act(state.agent, scaler(observations), key)

    policy = jax.export.deserialize(bytearray(export_program(actions, SPEC.observation_size)))
    observations = jax.random.normal(key, (200, 3))
    expected = made.act(state.agent, scaler(observations), jax.random.key(5))
    np.testing.assert_allclose(policy.call(observations, np.uint32(5)), expected, atol=1e-5)


# Of each kind of state and of stage: a flow alone, one with a critic before or beside it, an actor with one.
@pytest.mark.parametrize("made", ["qipo-ot", "iql", "fql", "flow-ql", "bc-flow"], indirect=True)
def test_vmapped_seeds_are_the_seeds_one_by_one(made, key):
    keys = jax.random.split(key, 2)
    begun = [made.agent.init(key) for key in keys]
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *begun)
    data = columns(jax.random.key(1))
    update = made.updates[0]
    together, _ = jax.jit(jax.vmap(update, in_axes=(0, None, 0)))(together, data, keys)
    for index in range(2):
        state, _ = update(begun[index], data, keys[index])
        one = jax.tree.map(lambda leaf, i=index: leaf[i], together)
        for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(one), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
