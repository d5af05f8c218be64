import json
import shlex
from dataclasses import replace

import pytest

from tiltflow.agents.flowq_settings import FlowQConfig
from tiltflow.agents.qipo_settings import QIPOConfig
from tiltflow.agents.registry import ALGORITHMS
from tiltflow.cli.train import parse
from tiltflow.report.command import train_command
from tiltflow.train_config import TrainConfig, to_dict

TASK = "ogbench/cube-single-play-singletask-task2-v0"


def changed(name):
    """A config in which options of every kind differ from the defaults."""
    agent = ALGORITHMS[name].config
    part = "flow" if hasattr(agent, "flow") else "actor"
    model = getattr(agent, part)
    model = replace(model, batch_size=7, network=replace(model.network, width=64, layer_norm="before"))
    agent = replace(agent, **{part: model})
    if hasattr(agent, "behaviour_steps"):
        agent = replace(agent, behaviour_steps=1234)
    if isinstance(agent, QIPOConfig):
        agent = replace(agent, beta=2.5, include_data_action=False, energy_scale="none")
    if isinstance(agent, FlowQConfig):
        agent = replace(agent, schedule="rational", hessian=False, actor_critic_steps=1234)
    return TrainConfig(name, TASK, agent, data="my data/cube", seeds=3, seed=5, steps=777, keep=1)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("make", [lambda name: TrainConfig(name, TASK, ALGORITHMS[name].config), changed])
def test_the_command_gives_the_same_config_again(algorithm, make):
    config = make(algorithm)
    words = shlex.split(train_command(json.loads(json.dumps(to_dict(config)))))
    assert words[:2] == ["tiltflow", "train"]
    assert parse(words[2:]).config == config


def test_the_command_leaves_out_defaults():
    config = TrainConfig("bc-flow", TASK, ALGORITHMS["bc-flow"].config, seeds=2)
    assert train_command(to_dict(config)) == f"tiltflow train bc-flow --task {TASK} --seeds 2"
