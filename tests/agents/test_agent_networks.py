"""Every network of every agent is the one that its settings describe, and every stage as long and as wide."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest
from bandits import agent_of, changed

from tiltflow.agents.registry import ALGORITHMS, build_agent
from tiltflow.critics import Ensemble
from tiltflow.data.transitions import Spec
from tiltflow.flow import Flow
from tiltflow.model_settings import NetworkConfig
from tiltflow.networks import MLP, TimeNetwork
from tiltflow.paths import PATHS

SPEC = Spec(observation_size=3, action_size=2)
# No two alike, and none as it is by default.
NETWORKS = {
    "flow": NetworkConfig(width=5, depth=1, activation="gelu", layer_norm="before"),
    "actor": NetworkConfig(width=6, depth=2, activation="mish", layer_norm="after"),
    "critic": NetworkConfig(width=7, depth=4, activation="silu", layer_norm="after"),
    "energy": NetworkConfig(width=9, depth=2, activation="relu", layer_norm="before"),
}
FEATURES, MEMBERS = 4, 3


def configured(name: str, **changes):
    """The default config of an algorithm with these networks."""
    config = ALGORITHMS[name].config
    for part in ("flow", "actor", "critic"):
        if hasattr(config, part):
            config = replace(config, **{part: replace(getattr(config, part), network=NETWORKS[part])})
    if hasattr(config, "flow"):
        config = replace(config, flow=replace(config.flow, time_features=FEATURES))
    if hasattr(config, "critic"):
        config = replace(config, critic=replace(config.critic, ensemble=MEMBERS))
    if hasattr(config, "energy"):
        config = replace(config, energy=NETWORKS["energy"])
    return replace(config, **changes)


def parts_of(state, kind: type) -> list:
    leaves = jax.tree.leaves(state, is_leaf=lambda leaf: isinstance(leaf, kind))
    return [leaf for leaf in leaves if isinstance(leaf, kind)]


def described(network: MLP) -> NetworkConfig:
    return NetworkConfig(
        width=network.kernels[0].shape[-1],
        depth=len(network.kernels) - 1,
        activation=network.activation,
        layer_norm=network.layer_norm,
    )


OPTIONS = {"bc-flow": {"distill": True}, "qipo-ot": {"distill": True, "continue_critic": True}}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_networks_have_the_shapes_that_are_asked_for(name):
    config = configured(name, **OPTIONS.get(name, {}))
    state = jax.eval_shape(build_agent(name, config, SPEC, 100).init, jax.random.key(0))
    wanted = {part: NETWORKS[part] for part in NETWORKS if hasattr(config, part)}
    assert {described(network) for network in parts_of(state, MLP)} == set(wanted.values())
    for network in parts_of(state, TimeNetwork):
        if described(network.mlp) == NETWORKS["flow"]:
            assert network.mlp.kernels[0].shape[0] == SPEC.action_size + SPEC.observation_size + FEATURES
    for network in parts_of(state, MLP):
        if described(network) == NETWORKS["critic"] and network.kernels[0].ndim == 3:
            assert network.kernels[0].shape[0] == MEMBERS
    assert all(ensemble.count == MEMBERS for ensemble in parts_of(state, Ensemble))


@pytest.mark.parametrize("name", ["bc-flow", "qipo-ot", "qgpo", "flow-ql", "fql", "ifql"])
def test_flows_are_on_the_path_and_predict_what_is_asked_for(name):
    config = configured(name)
    config = replace(config, flow=replace(config.flow, path="cosine", prediction="data"))
    flows = parts_of(jax.eval_shape(build_agent(name, config, SPEC, 100).init, jax.random.key(0)), Flow)
    assert {(type(flow.path), flow.prediction) for flow in flows} == {(type(PATHS["cosine"]), "data")}


STAGES = {
    "bc-flow": (
        {"flow__batch_size": 11, "distill": True, "behaviour_steps": 21, "distill_steps": 22},
        [("behaviour", 21, 11), ("distillation", 22, 11)],
    ),
    "qipo-ot": (
        {
            "flow__batch_size": 11, "critic__batch_size": 12, "improvement_batch_size": 13,
            "behaviour_steps": 21, "critic_steps": 22, "improvement_steps": 23,
            "distill": True, "distill_steps": 24,
        },
        [("behaviour", 21, 11), ("critic", 22, 12), ("improvement", 23, 13), ("distillation", 24, 11)],
    ),
    "qgpo": (
        {
            "flow__batch_size": 11, "critic__batch_size": 12, "energy_batch_size": 13,
            "behaviour_steps": 21, "critic_steps": 22, "energy_steps": 23,
        },
        [("behaviour", 21, 11), ("critic", 22, 12), ("energy", 23, 13)],
    ),
    "flowq": (
        {
            "flow__batch_size": 11, "critic__batch_size": 12,
            "behaviour_steps": 21, "critic_steps": 22, "guidance_steps": 23,
        },
        [("behaviour", 21, 11), ("critic", 22, 12), ("guidance", 23, 11)],
    ),
    "flowq beside its critic": (
        {"reading": "velocity", "matched": "data", "flow__batch_size": 11, "actor_critic_steps": 21},
        [("actor-critic", 21, 256)],
    ),
    **{
        name: (
            {f"{part}__batch_size": 11, "critic__batch_size": 7, "actor_critic_steps": 21},
            [("actor-critic", 21, 11)],
        )
        for part, names in (("actor", ("iql", "rebrac")), ("flow", ("fql", "ifql", "flow-ql")))
        for name in names
    },
}  # fmt: skip


@pytest.mark.parametrize("name", STAGES)
def test_stages_have_the_steps_and_the_batches_that_are_asked_for(name):
    settings, expected = STAGES[name]
    algorithm = name.split()[0]
    stages = build_agent(algorithm, changed(configured(algorithm), **settings), SPEC, 1000).stages
    assert [(stage.name, stage.steps, stage.batch_size) for stage in stages] == expected


@pytest.mark.parametrize(("shares", "steps"), [("3:2:3", [300, 200, 300]), ("6:5:1", [400, 333, 67])])
def test_the_steps_of_qipo_are_shared_out_as_asked_for(shares, steps):
    stages = build_agent("qipo-ot", configured("qipo-ot", shares=shares), SPEC, 800).stages
    assert [stage.steps for stage in stages] == steps


@pytest.mark.parametrize(("refresh_every", "expected"), [(7, 7), (None, 25)])
def test_the_support_is_refreshed_as_often_as_asked_for_or_four_times(refresh_every, expected):
    config = configured("qipo-ot", improvement_steps=100, refresh_every=refresh_every)
    assert build_agent("qipo-ot", config, SPEC, 1000).stages[-1].refresh_every == expected


# Options that bring other mathematics with them.
PROGRAMS = {
    **{name: (name, {}) for name in ALGORITHMS},
    "flowq on the path": ("flowq", {"reading": "path", "matched": "data", "schedule": "rational"}),
    "flowq with a learned schedule": (
        "flowq",
        {"reading": "velocity", "matched": "data", "schedule": "learned", "critic__kind": "policy"},
    ),
    "flowq by shifts": ("flowq", {"reading": "shift"}),
    "flowq by clean actions": ("flowq", {"reading": "clean", "matched": "data"}),
    "qipo-ot with its options": (
        "qipo-ot",
        {"beta": "auto", "split_ensemble": True, "continue_critic": True, "distill": True},
    ),
    "qipo-ot over a value, tilted": (
        "qipo-ot",
        {"baseline": "value", "improvement": "tilted-path", "weights": "loss-weights", "support": "batch"},
    ),
    "fql, pessimistic": ("fql", {"critic__aggregate": "pessimistic", "flow__play": "mean-shift"}),
}


@pytest.mark.usefixtures("strict_types")
@pytest.mark.parametrize("name", PROGRAMS)
def test_no_step_promotes_a_type_or_a_rank_by_accident(name):
    """Traced, not run: x + y of shapes [n, 1] and [n] would be [n, n], and no error."""
    algorithm, settings = PROGRAMS[name]
    agent, n = agent_of(algorithm, SPEC, **settings), 8
    shapes = {
        "observations": (n, 3), "actions": (n, 2), "rewards": (n,), "next_observations": (n, 3),
        "terminations": (n,), "following_actions": (n, 2), "followed": (n,),
    }  # fmt: skip
    data = {column: jax.ShapeDtypeStruct(shape, jnp.float32) for column, shape in shapes.items()}
    key = jax.random.key(0)
    state = jax.eval_shape(agent.init, key)
    for stage in agent.stages:
        state = jax.eval_shape(stage.refresh, state, data, key)
        more = jax.eval_shape(stage.precompute, state, data, key) if stage.precompute else {}
        state, metrics = jax.eval_shape(stage.update, state, {**data, **more}, key)
        assert {leaf.shape for leaf in jax.tree.leaves(metrics)} == {()}
    actions = jax.eval_shape(agent.act, state, data["observations"], key)
    assert (actions.shape, actions.dtype) == ((n, 2), jnp.float32)
