"""Runs of seconds, whose policies are called, written and served."""

import asyncio
import json
import runpy
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tiltflow.agents.registry import preset
from tiltflow.data.arrays import write_npz
from tiltflow.data.interface import PolicyInterface, Signal
from tiltflow.model_settings import NetworkConfig
from tiltflow.run_folder import RunFolder
from tiltflow.serving.policy_server import serve_policy
from tiltflow.train_config import TrainConfig
from tiltflow.training.run import train

INTERFACE = PolicyInterface(
    (Signal("gap", 1), Signal("motion", 2, ("speed", "tilt"))),
    (Signal("force", 2),),
    ((-2.0, 0.0), (2.0, 5.0)),
)


@pytest.fixture(autouse=True, scope="module")
def _quickly(quickly_compiled):
    """For all of this folder: programs are small and many."""


def _arrays() -> dict[str, np.ndarray]:
    random, rows = np.random.default_rng(0), 200
    states = random.normal(size=(rows + 1, 3)).astype(np.float32)
    actions = random.uniform(-1, 1, (rows, 2)).astype(np.float32)
    ends = np.arange(rows) % 20 == 19
    columns = (states[:-1], actions, actions[:, 0], states[1:], np.zeros(rows, bool), ends)
    names = ("observations", "actions", "rewards", "next_observations", "terminations", "ends")
    return dict(zip(names, columns, strict=True))


@pytest.fixture(scope="session")
def run_of(tmp_path_factory):
    """A run of two seeds of an algorithm, trained once for all tests: not to be changed."""
    runs: dict[str, Path] = {}
    data = tmp_path_factory.mktemp("own") / "arm.npz"
    write_npz(data, _arrays())

    def make(algorithm: str, seeds: int = 2) -> Path:
        if algorithm in runs:
            return runs[algorithm]
        config = preset(algorithm, "file/arm")
        network = NetworkConfig(width=8, depth=1)
        config = replace(config, flow=replace(config.flow, network=network, num_steps=2))
        if hasattr(config, "critic"):
            config = replace(config, critic=replace(config.critic, network=network))
        folder = tmp_path_factory.mktemp("runs") / algorithm
        options = {"seeds": seeds, "steps": 20, "chunk": 10, "parallel": "vmap", "play": False}
        run = train(
            TrainConfig(algorithm, "file/arm", config, data=str(data), env="Any-v0", **options), folder
        )
        # Actions of own bounds and entries of own names, as the data of a robot have them.
        file = RunFolder(run).environment_file
        record = json.loads(file.read_text())
        record["data"]["interface"] = INTERFACE.record()
        file.write_text(json.dumps(record))
        runs[algorithm] = run
        return run

    return make


@contextmanager
def _serving(policy, token=None):
    """The address of a server of the policy, in a thread of this process."""
    ready, said = threading.Event(), {}

    async def serve():
        said["loop"], said["stop"] = asyncio.get_running_loop(), asyncio.Event()

        def announce(port):
            said["port"] = port
            ready.set()

        await serve_policy(
            policy, host="127.0.0.1", port=0, token=token, stop=said["stop"], announce=announce
        )

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(30)
    try:
        yield f"ws://127.0.0.1:{said['port']}"
    finally:
        said["loop"].call_soon_threadsafe(said["stop"].set)
        thread.join(30)
    assert not thread.is_alive()


@pytest.fixture(scope="session")
def serving():
    return _serving


@pytest.fixture(scope="session")
def policy_client():
    """The client of the examples."""
    example = Path(__file__).parent.parent.parent / "examples" / "policy_client.py"
    return runpy.run_path(str(example))["PolicyClient"]
