"""Which runs of a sweep train as one program."""

from dataclasses import replace

import pytest

from tiltflow.agents.registry import ALGORITHMS
from tiltflow.settings import override
from tiltflow.train_config import TrainConfig
from tiltflow.tuning.trial_runs import _side_by_side

CONFIG = TrainConfig("iql", "pointmaze/umaze-v0", ALGORITHMS.find("iql").config, parallel="vmap")
SETTINGS = {
    "a": {},
    "b": {"alpha": 3.0, "critic.tau": 0.01},
    "c": {"alpha": 3.0, "critic.aggregate": "mean"},
    "d": {"actor.batch_size": 128},
    "e": {"critic.aggregate": "mean"},
}


def configs(**changes):
    config = replace(CONFIG, **changes)
    given = {name: replace(config, agent=override(config.agent, rows)) for name, rows in SETTINGS.items()}
    return {**given, "f": replace(given["b"], seed=1)}


def test_vmapped_runs_that_differ_in_numbers_and_seeds_alone_are_one_program():
    assert _side_by_side(configs()) == [["a", "b", "f"], ["c", "e"], ["d"]]


@pytest.mark.parametrize("parallel", ["auto", "process", "shard"])
def test_on_a_cpu_and_where_several_devices_share_a_run_each_is_alone(parallel):
    assert _side_by_side(configs(parallel=parallel)) == [[name] for name in "abcdef"]
