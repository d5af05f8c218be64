"""Run folders such as training writes them, of invented numbers that look like real ones."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from tiltflow.agents.qipo_settings import QIPOConfig
from tiltflow.agents.registry import ALGORITHMS
from tiltflow.evaluation.statistics import result_record
from tiltflow.files import write_json, write_json_lines
from tiltflow.run_folder import RunFolder
from tiltflow.tasks import find_task

CHUNK = 1000
METRICS = {
    "behaviour": ("loss",),
    "critic": ("value_loss", "loss", "q_mean", "target_mean"),
    "improvement": ("loss", "ess", "q_data", "q_support", "q_weighted", "refreshes", "beta"),
}


def metric(name: str, stage: str, done: float, refreshes: int, rng: np.random.Generator) -> float:
    noise = rng.normal()
    return {
        "loss": 0.9 * np.exp(-8 * done) + 0.55 + 0.012 * noise
        if stage != "critic"
        else 40 * np.exp(-9 * done) + 0.8 * np.exp(0.1 * noise),
        "value_loss": 3 * np.exp(-6 * done) + 0.1 * np.exp(0.1 * noise),
        "q_mean": -60 + 35 * done + 0.6 * noise,
        "target_mean": -60 + 36 * done + 0.8 * noise,
        "ess": 9.5 - 0.8 * refreshes + 0.15 * noise,
        "q_data": -25 + 0.1 * noise,
        "q_support": -24 + 1.2 * refreshes + 0.1 * noise,
        "q_weighted": -22.5 + 1.2 * refreshes + 0.1 * noise,
        "refreshes": float(refreshes),
        "beta": refreshes / 4,
    }[name]


def _estimates(rng, seeds: int, dimensions: int, level: float) -> dict:
    """What a line of a run without a simulator has in the place of episodes."""
    score = (100 * level + rng.normal(size=seeds)).tolist()
    distances = rng.random((2, seeds, dimensions)).tolist()
    held_out = {"matching_loss": [0.8] * seeds, "wasserstein": distances[0], "energy_distance": distances[1]}
    held_out |= {"critic_value": [[50.0, 40.0, 60.0]] * seeds}
    return {
        "score": score,
        "replicates": [(value + rng.normal(size=100)).tolist() for value in score],
        "episodes": 40,
        "beyond": [0.0] * seeds,
        "held_out": held_out,
    }


def _write_pictures(run: RunFolder, seeds: int, rng: np.random.Generator) -> None:
    """Paths through a maze of 4 by 5 cells, four of each seed and half of them cut short, and grey frames."""
    walls = np.pad(np.zeros((2, 3), bool), 1, constant_values=True)
    positions = rng.uniform([1, 1], [4, 3], (4 * seeds, 30, 2))
    positions[::2, 20:] = np.nan
    run.write_episodes(
        {"walls": walls, "extent": np.array([0.0, 5.0, 0.0, 4.0]), "step": np.array(100_000)}
        | {"positions": positions, "goals": np.full((4 * seeds, 2), 1.5)}
        | {"seeds": np.repeat(np.arange(seeds), 4), "successes": np.arange(4 * seeds) % 4 == 1}
    )
    frames = np.full((5, 24, 32, 3), 128, np.uint8)
    film = {"frames": frames, "steps": np.array([0, 250, 500, 750, 1000]), "policy_step": np.array(100_000)}
    run.write_film(film | {"seed": np.array(1), "return": np.array(321.5), "success": np.array(False)})


def make_run(
    folder: Path,
    algorithm: str = "qipo-ot",
    task_name: str = "ogbench/cube-single-play-singletask-task2-v0",
    seeds: int = 3,
    dimensions: int = 5,
    level: float = 0.6,
    finished: bool = True,
    evaluated: bool = True,
    first_seed: int = 0,
    changes: dict[str, object] | None = None,
    checksum: str = "0123456789abcdef" * 4,
    env: str | None = None,
    pictures: bool = False,
) -> Path:
    """Write the files of a run; `level` in 0..1 is how well its policy does at the end.

    `changes` are hyper-parameters of the agent other than its defaults.
    """
    rng = np.random.default_rng(7 + first_seed)
    task = find_task(task_name, env)
    agent = ALGORITHMS[algorithm].config
    qipo = isinstance(agent, QIPOConfig)
    stages = {"behaviour": 40, "critic": 40, "improvement": 20} if qipo else {"behaviour": 60}
    folder.mkdir(parents=True)

    chunks, step, refresh_every = [], 0, 5
    for stage, count in stages.items():
        for index in range(count):
            step += CHUNK
            metrics = {
                name: [
                    metric(name, stage, index / count, 1 + index // refresh_every, rng) for _ in range(seeds)
                ]
                for name in METRICS[stage]
            }
            chunks.append(
                {
                    "step": step,
                    "stage": stage,
                    "stage_step": (index + 1) * CHUNK,
                    "seconds": 2.0 + 0.1 * index,
                }
                | {"steps_per_second": 450.0, "metrics": metrics}
            )
    total, last = step, list(stages)[-1]
    if not finished:
        chunks = chunks[: -stages[last] // 3]
    write_json_lines(folder / "metrics.jsonl", chunks)

    evaluations = []
    for number in range(0 if qipo else 1, 11):
        at = total - stages[last] * CHUNK * (10 - number) // 10 if number else stages["behaviour"] * CHUNK
        if not evaluated or at > chunks[-1]["step"]:
            break
        chance = level * np.clip(0.35 + 0.8 * number / 10 + 0.06 * rng.normal(size=(seeds, 1)), 0, 1)
        successes = rng.random((seeds, 50)) < chance
        lengths = np.where(successes, rng.integers(40, task.horizon, (seeds, 50)), task.horizon)
        low, high = task.reference or (0, 0)
        sparse = task.metric == "success"
        returns = (
            -1.0 * lengths if sparse else low + (high - low) * (chance + 0.1 * rng.normal(size=(seeds, 50)))
        )
        evaluations.append(
            {
                "step": at,
                "stage": last if number else "behaviour",
                "metric": task.metric,
                "unit": task.unit,
                "seconds": 20.0,
            }
            | (
                {"returns": returns.tolist(), "lengths": lengths.tolist()}
                | {"successes": (successes & sparse).tolist()}
                if task.played
                else _estimates(rng, seeds, dimensions, level)
            )
        )
    write_json_lines(folder / "evaluations.jsonl", evaluations)

    config = {"format": 1, "agent_type": type(agent).__name__, "algorithm": algorithm, "task": task_name}
    config |= {"agent": asdict(agent) | (changes or {}), "data": "data/ogbench", "env": env}
    config |= {"seeds": seeds, "seed": first_seed}
    config |= {"steps": total, "evaluations": 10, "episodes": 50, "chunk": CHUNK, "checkpoint_every": 10_000}
    config |= {"estimate": {"held_out": 0.1, "discount": 0.99, "features": 512, "rows": 50_000}}
    config |= {"keep": 2, "normalize_observations": True, "parallel": "auto"}
    write_json(folder / "config.json", config)
    data = {"source": "cube-single-play-v0.npz", "checksum": f"sha256:{checksum}"}
    data |= {"transitions": 1_000_000, "observation_size": 28, "action_size": dimensions}
    environment = {"tiltflow": "0.1.0", "python": "3.11.7", "platform": "Linux-6.1.0-x86_64", "device": "cpu"}
    environment |= {
        "cores": 2,
        "packages": {"jax": "0.8.1", "numpy": "2.3.4", "mujoco": "3.3.7"},
        "data": data,
    }
    write_json(folder / "environment.json", environment)

    near = rng.normal(np.linspace(-0.5, 0.5, dimensions), 0.3, (2000, dimensions))
    near[:, -1] = rng.choice([-1.0, 1.0, 0.2], 2000)
    policy = near + rng.normal(0.1, 0.2 * np.linspace(0.1, 1, dimensions), (seeds, 2000, dimensions))
    arrays = {"data": near.clip(-1, 1).astype(np.float32), "policy": policy.clip(-1, 1).astype(np.float32)}
    np.savez(folder / "actions.npz", **arrays)
    if pictures:
        _write_pictures(RunFolder(folder), seeds, rng)
    if finished:
        seconds = sum(chunk["seconds"] for chunk in chunks)
        write_json(folder / "result.json", result_record(task, algorithm, evaluations, total, seconds))
    return folder


@pytest.fixture(name="make_run", scope="session")
def _make_run() -> Callable[..., Path]:
    return make_run


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "cube-qipo")


@pytest.fixture(scope="session")
def other_run(tmp_path_factory) -> Path:
    """The same task with behaviour cloning, clearly worse."""
    return make_run(tmp_path_factory.mktemp("runs") / "cube-bc", algorithm="bc-flow", level=0.15)
