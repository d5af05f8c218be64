"""The preset `published`: its values, and what is clipped where a gradient is large."""

from dataclasses import replace
from operator import attrgetter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bandits import FLOW, SPEC

from tiltflow.agents.flow_ql import build
from tiltflow.agents.published import ALGORITHMS_WITH_PRESET, published_preset
from tiltflow.agents.qipo_weights import support_weights
from tiltflow.agents.registry import ALGORITHMS, build_agent, named_preset, preset
from tiltflow.errors import UserError
from tiltflow.tasks import list_tasks

pytestmark = pytest.mark.usefixtures("quickly_compiled")

HOPPER, ANTMAZE = "d4rl/hopper-medium-v2", "minari/D4RL/antmaze/umaze-v1"


@pytest.mark.parametrize(("algorithm", "path"), [("qipo-ot", "ot-clipped"), ("qipo-diff", "vp")])
def test_the_published_qipo(algorithm, path):
    config = preset(algorithm, HOPPER, "published")
    flow, critic = config.flow, config.critic
    assert (flow.path, flow.prediction, flow.solver, flow.num_steps) == (path, "noise", "dpm-solver++", 15)
    assert (flow.learning_rate, flow.batch_size, flow.decay) == (1e-4, 4096, "none")
    assert (1 - flow.ema, 1 - config.improvement_ema) == pytest.approx((0.005, 0.005))
    assert (flow.play, flow.play_noise, config.support_noise) == ("draw", 1.0, 1.0)
    assert (critic.kind, critic.ensemble, critic.aggregate) == ("in-support-softmax", 2, "min")
    assert (critic.network.width, critic.network.depth) == (256, 3)
    assert (critic.network.activation, critic.network.layer_norm) == ("relu", "none")
    assert (critic.learning_rate, critic.batch_size, critic.tau, critic.discount) == (3e-4, 256, 0.005, 0.99)
    assert (critic.num_support_actions, config.num_support_actions) == (64, 64)
    assert (config.beta, config.annealed, config.energy_scale) == (3.0, False, "none")
    assert (config.include_data_action, config.reference, config.support) == (False, "current", "dataset")
    assert (config.baseline, config.weights, config.improvement) == ("support", "loss-weights", "weighted")
    assert (config.refresh_every, config.improvement_batch_size) == (10_000, 256)
    assert flow.network.layer_norm == "none"


@pytest.mark.parametrize(
    ("task", "alpha_q", "rewards", "found"),
    [
        (HOPPER, 1.0, "return-range", True),
        (ANTMAZE, 20.0, "minus-one", True),
        ("minari/mujoco/hopper/medium-v0", 1.0, "return-range", False),
        ("ogbench/antmaze-large-navigate-singletask-v0", 1.0, "recorded", False),
        ("pointmaze/umaze-v0", 1.0, "recorded", False),
    ],
)
def test_what_the_published_qipo_has_of_its_task(task, alpha_q, rewards, found):
    entry = named_preset("qipo-ot", task, "published")
    assert (entry.config.critic.beta, entry.config.critic.rewards, entry.found) == (alpha_q, rewards, found)


@pytest.mark.parametrize(
    ("steps", "lengths"),
    [(1_200_000, (600_000, 500_000, 100_000)), (400_000, (200_000, 166_667, 33_333))],
)
def test_its_stages_have_the_published_proportion(steps, lengths):
    config = preset("qipo-ot", HOPPER, "published")
    assert named_preset("qipo-ot", HOPPER, "published").steps == 1_200_000
    agent = build_agent("qipo-ot", config, SPEC, steps)
    assert tuple(stage.steps for stage in agent.stages) == lengths


def test_each_refresh_multiplies_by_exp_beta_q_anew_with_a_softmax_over_the_drawn_actions():
    config = preset("qipo-ot", HOPPER, "published")
    q = np.random.default_rng(0).standard_normal((5, config.num_support_actions))
    for improvements in (0, 4):
        before, gain = jnp.float32(config.beta * improvements), config.beta * q
        weights = support_weights(-q, before, gain, config)
        expected = np.exp(config.beta * q) / np.exp(config.beta * q).mean(axis=1, keepdims=True)
        np.testing.assert_allclose(weights, expected, rtol=1e-5)


@pytest.mark.parametrize("algorithm", ALGORITHMS_WITH_PRESET)
def test_every_value_has_a_source_and_a_field_and_the_task_decides_what_is_found(algorithm):
    for task in ("", *(task.name for task in list_tasks())):
        entry = published_preset(algorithm, ALGORITHMS[algorithm].config, task)
        assert entry.sources.keys() == entry.rows.keys()
        for key, expected in entry.rows.items():
            assert attrgetter(key)(entry.config) == expected
            assert entry.sources[key].startswith(("found: ", "ours: "))
        assert entry.source.startswith("ours") is not entry.found


def test_the_published_diffusion_ql():
    config = preset("diffusion-ql", HOPPER, "published")
    assert (config.num_candidates, config.grad_norm, config.eta, config.flow.learning_rate) == (
        50,
        9.0,
        1.0,
        3e-4,
    )
    config = preset("diffusion-ql", "d4rl/pen-human-v1", "published")
    assert (config.num_candidates, config.grad_norm, config.eta, config.flow.learning_rate) == (
        50,
        7.0,
        0.15,
        3e-5,
    )
    entry = named_preset("diffusion-ql", "pointmaze/umaze-v0", "published")
    assert (entry.config.num_candidates, entry.found) == (50, False)


def test_an_unknown_preset_and_an_algorithm_without_it_are_refused():
    with pytest.raises(UserError, match=r"'publishd'\. Did you mean 'published'\? Known: ours, published"):
        named_preset("qipo-ot", HOPPER, "publishd")
    with pytest.raises(
        UserError, match="iql has no preset 'published'; qipo-ot, qipo-diff, diffusion-ql have"
    ):
        named_preset("iql", HOPPER, "published")


def test_a_gradient_is_scaled_down_to_the_norm_where_it_is_larger():
    """The first moment of Adam, a tenth of the gradient after one step, tells the gradient."""

    def norm(grad_norm):
        config = ALGORITHMS["flow-ql"].config
        critic = replace(config.critic, network=FLOW.network)
        config = replace(
            config, flow=replace(FLOW, num_steps=1), critic=critic, eta=100.0, grad_norm=grad_norm
        )
        agent = build(config, SPEC, 10)
        rows = np.random.default_rng(0).uniform(-1, 1, (256, 1)).astype(np.float32)
        batch = dict.fromkeys(("observations", "actions", "next_observations"), rows)
        batch |= {"rewards": rows[:, 0], "terminations": np.ones(256, np.float32)}
        state, _ = jax.jit(agent.stages[0].update)(agent.init(jax.random.key(0)), batch, jax.random.key(1))
        moments = [leaf.mu for leaf in _adam_states(state.policy.optimizer)]
        squares = [jnp.sum(leaf**2) for leaf in jax.tree.leaves(moments)]
        return float(10 * jnp.sqrt(sum(squares)))

    assert norm(None) > 1
    assert norm(0.5) == pytest.approx(0.5, rel=1e-4)


def _adam_states(tree):
    if hasattr(tree, "mu"):
        return [tree]
    return [state for part in tree for state in _adam_states(part)] if isinstance(tree, tuple) else []
