"""Trainings of seconds, to be stopped, killed and resumed, and what their results are compared by."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

STEPS = 240
_NETWORK = {"width": 16, "depth": 2}
_SMALL = {
    "flow.num_steps": 2,
    "flow.batch_size": 32,
    "critic.batch_size": 32,
    "critic.num_support_actions": 4,
    "num_support_actions": 4,
    "refresh_every": 30,
    "energy_batch_size": 32,
    "improvement_batch_size": 32,
    "next_action_steps": 2,
} | {f"{part}.{key}": value for part in ("flow.network", "critic.network") for key, value in _NETWORK.items()}
_SMALL |= {f"energy.{key}": value for key, value in _NETWORK.items()}


def write_data(path: Path) -> None:
    """Random transitions with the sizes of Gymnasium's pendulum."""
    draw, rows = np.random.default_rng(0), 2000
    np.savez(
        path,
        observations=draw.normal(size=(rows, 3)).astype(np.float32),
        actions=draw.uniform(-1, 1, (rows, 1)).astype(np.float32),
        rewards=draw.normal(size=rows).astype(np.float32),
        terminals=np.zeros(rows, bool),
        timeouts=np.arange(rows) % 200 == 199,
    )


def small(algorithm: str, data: Path, seeds: int, **changes):
    """A training of seconds, a process a seed, with refreshes, evaluations and a checkpoint a chunk."""
    from tiltflow.agents.registry import preset
    from tiltflow.settings import flat, override
    from tiltflow.train_config import TrainConfig

    agent = preset(algorithm, "file/x")
    known = flat(agent)
    agent = override(agent, {key: value for key, value in _SMALL.items() if key in known})
    config = TrainConfig(
        algorithm, "file/x", agent, data=str(data), env="Pendulum-v1", seeds=seeds, steps=STEPS,
        evaluations=3, episodes=2, chunk=15, checkpoint_every=15, parallel="process",
    )  # fmt: skip
    return replace(config, **changes)


def children() -> list[int]:
    """The processes that this one has started and that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if entry.name.isdigit() and int(fields[1]) == os.getpid() and fields[0] != "Z":
            found.append(int(entry.name))
    return found


def record_of(run: Path) -> list:
    """The arrays of the newest checkpoints, and what the logs say, without times."""
    from tiltflow.run_folder import RunFolder
    from tiltflow.training import checkpoints

    said = []
    for name in ("metrics.jsonl", "evaluations.jsonl"):
        for line in (run / name).read_text().splitlines():
            record = json.loads(line)
            said.append({k: v for k, v in record.items() if k not in ("seconds", "steps_per_second")})
    groups = [RunFolder(path) for path in sorted(run.glob("seeds/*"))]
    return [said, *(checkpoints.read(group.checkpoints()[-1])[1] for group in groups)]
