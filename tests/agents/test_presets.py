"""Presets: each belongs to a task that there is, and says where its values are from."""

from dataclasses import dataclass

import pytest

from tiltflow.agents.fql import FQLConfig
from tiltflow.agents.presets import find_preset, presets
from tiltflow.agents.registry import ALGORITHMS, preset
from tiltflow.agents.td3_bc import TD3BCConfig
from tiltflow.tasks import list_tasks

NAMES = [task.name for task in list_tasks()]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_preset_fits_a_task_and_its_source_says_whether_it_is_ours(name):
    default = ALGORITHMS[name].config
    for entry in presets(name, default):
        assert any(task.startswith(entry.tasks) for task in NAMES), entry.tasks
        assert type(entry.config) is type(default)
        assert entry.source.startswith("ours") is not entry.found


def test_the_values_that_fql_gives_in_its_readme():
    expected = {
        "ogbench/humanoidmaze-medium-navigate-singletask-v0": (30.0, 0.995, "mean"),
        "ogbench/antmaze-large-navigate-singletask-task3-v0": (10.0, 0.99, "min"),
        "ogbench/puzzle-4x4-play-singletask-v0": (1000.0, 0.99, "mean"),
        "d4rl/hammer-cloned-v1": (10_000.0, 0.99, "min"),
    }
    for task, values in expected.items():
        config = preset("fql", task)
        assert isinstance(config, FQLConfig)
        assert (config.alpha, config.critic.discount, config.critic.aggregate) == values
        assert not config.normalize_q


@pytest.mark.parametrize("name", ALGORITHMS)
def test_what_a_source_says_of_one_data_set_is_not_claimed_for_another_of_the_domain(name):
    default = ALGORITHMS[name].config
    play = find_preset(name, default, "ogbench/cube-single-play-singletask-v0")
    noisy = find_preset(name, default, "ogbench/cube-single-noisy-singletask-v0")
    assert noisy.config == play.config
    assert not noisy.found
    assert find_preset("fql", ALGORITHMS["fql"].config, "ogbench/scene-play-singletask-v0").found


def test_the_values_of_rebracs_configs_are_those_of_one_data_set_each():
    expected = {"hopper-medium-v2": (0.01, 0.001), "halfcheetah-medium-replay-v2": (0.001, 0.1)}
    for task, values in expected.items():
        config = preset("rebrac", f"d4rl/{task}")
        assert (config.actor_penalty, config.critic_penalty) == values
        assert config.actor.batch_size == config.critic.batch_size == 1024
    assert preset("rebrac", "d4rl/hopper-medium-replay-v2") == ALGORITHMS["rebrac"].config


@pytest.mark.parametrize("name", ["fql", "iql", "ifql", "rebrac"])
def test_networks_of_the_public_code_for_ogbench_are_gelu(name):
    for part in vars(preset(name, "ogbench/cube-single-play-singletask-task2-v0")).values():
        assert getattr(part, "network", None) is None or part.network.activation == "gelu"
    critic = preset(name, "ogbench/cube-single-play-singletask-task2-v0").critic
    assert critic.network.layer_norm == "after"


def test_fql_in_adroit_has_the_networks_of_its_public_code_too():
    config = preset("fql", "d4rl/pen-human-v1")
    assert (config.flow.network.activation, config.critic.network.activation) == ("gelu", "gelu")
    assert config.critic.network.layer_norm == "after"


def test_layer_normalisation_tells_rebrac_from_td3_bc_on_every_task():
    for task in NAMES:
        assert preset("td3-bc", task).critic.network.layer_norm == "none"
        assert preset("rebrac", task).critic.network.layer_norm == "after"


def test_ifqls_candidates_are_not_idqls():
    for task in NAMES:
        assert preset("idql", task).num_candidates == ALGORITHMS["idql"].config.num_candidates == 64
        assert not find_preset("idql", ALGORITHMS["idql"].config, task).found
    assert preset("ifql", "ogbench/humanoidmaze-medium-navigate-singletask-v0").num_candidates == 32


def test_td3_bc_and_rebrac_share_a_config_but_not_presets():
    task = "ogbench/cube-double-play-singletask-v0"
    td3, rebrac = preset("td3-bc", task), preset("rebrac", task)
    assert isinstance(td3, TD3BCConfig)
    assert isinstance(rebrac, TD3BCConfig)
    assert (td3.actor_penalty, td3.critic_penalty) == (0.4, 0.0)
    assert (rebrac.actor_penalty, rebrac.critic_penalty) == (0.1, 0.0)


def test_a_task_without_a_preset_has_the_defaults():
    for algorithm in ALGORITHMS.values():
        entry = find_preset(algorithm.name, algorithm.config, "file/own")
        assert entry.config == algorithm.config
        assert not entry.found


def test_an_agent_without_a_critic_works_on_every_task():
    @dataclass(frozen=True)
    class Own:
        width: int = 3

    for task in NAMES:
        assert find_preset("own", Own(), task).config == Own()
