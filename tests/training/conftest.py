"""A small real data set, random actions in Gymnasium's pendulum, and runs of a few seconds on it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tiltflow.agents.registry import preset
from tiltflow.data.arrays import write_npz
from tiltflow.environments import make_environment
from tiltflow.model_settings import NetworkConfig
from tiltflow.tasks import find_task
from tiltflow.train_config import TrainConfig, to_dict
from tiltflow.training.run import train

TASK, ENVIRONMENT = "file/pendulum", "Pendulum-v1"


def pendulum_arrays(episodes: int = 2) -> dict[str, np.ndarray]:
    """Transitions of uniformly random torques."""
    environment = make_environment(find_task(TASK, ENVIRONMENT))
    random = np.random.default_rng(0)
    rows: list[tuple] = []
    for episode in range(episodes):
        observation, over = environment.reset(episode), False
        while not over:
            action = random.uniform(-1, 1, environment.action_size).astype(np.float32)
            following, reward, terminated, truncated, _ = environment.step(action)
            over = terminated or truncated
            rows.append((observation, action, reward, following, terminated, over))
            observation = following
    names = ("observations", "actions", "rewards", "next_observations", "terminations", "ends")
    kinds = (np.float32, np.float32, np.float32, np.float32, bool, bool)
    columns = zip(*rows, strict=True)
    return {name: np.array(c, kind) for name, c, kind in zip(names, columns, kinds, strict=True)}


@pytest.fixture(autouse=True, scope="module")
def _quickly(quickly_compiled):
    """For all of this folder: runs are shared by its modules, and compared to the bit."""


@pytest.fixture(scope="session")
def pendulum(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "pendulum.npz"
    write_npz(path, pendulum_arrays())
    return path


@pytest.fixture(scope="session")
def small_config(pendulum):
    """A config of a run that takes seconds: small networks, a few hundred steps, two short evaluations.

    QIPO's stages are of 100, 60 and 40 steps.
    """

    def make(algorithm: str, **changes) -> TrainConfig:
        agent = preset(algorithm, TASK)
        network = NetworkConfig(width=16, depth=2)
        agent = replace(agent, flow=replace(agent.flow, network=network, num_steps=2, batch_size=32))
        if hasattr(agent, "critic"):
            critic = replace(agent.critic, network=network, batch_size=32, num_support_actions=4)
            agent = replace(agent, critic=critic, refresh_every=30, num_support_actions=4)
            agent = replace(agent, behaviour_steps=100, critic_steps=60, improvement_steps=40)
        defaults = {
            "data": str(pendulum), "env": ENVIRONMENT, "steps": 200, "evaluations": 2, "episodes": 2,
            "chunk": 20, "checkpoint_every": 20, "parallel": "vmap",
        }  # fmt: skip
        return TrainConfig(algorithm, TASK, agent, **{**defaults, **changes})

    return make


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The finished run of a config that nothing disturbed, trained once for all tests: not to be changed."""
    runs: dict[str, Path] = {}

    def run(config: TrainConfig) -> Path:
        key = json.dumps(to_dict(config))
        if key not in runs:
            runs[key] = train(config, tmp_path_factory.mktemp("trained") / "run", in_this_process=True)
        return runs[key]

    return run
