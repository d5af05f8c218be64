"""What a user waits for besides gradient steps: drawing support actions, playing, loading, starting."""

import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import jax
import numpy as np
from benchmarks.measuring import (
    REPEATS,
    Measured,
    block,
    costliest,
    measured,
    product_rate,
    products_of,
    seconds_of,
)
from benchmarks.training_steps import Case

from tiltflow.agents.registry import build_agent, preset
from tiltflow.data.transitions import Spec

BLOCK_ROWS = 4096
STATES = 200_000
EPISODES = 20
LOADED_ROWS = 200_000


def refreshes(sizes: list[tuple[int, int]]) -> Iterator[Measured]:
    """Seconds in which support actions of 200,000 states, and their energies, are drawn anew."""
    for width, depth in sizes:
        case = Case("qipo-ot", "improvement", width, depth, 1, BLOCK_ROWS, 1)
        state, columns, _, key = jax.jit(case.begin)()
        draw = jax.jit(case.stage.precompute)
        taken = seconds_of(lambda: block(draw(state, columns, key)))  # noqa: B023
        line = measured(f"refresh: {STATES} states x 16, {width}x{depth}", taken, STATES / BLOCK_ROWS, "s")
        products = products_of(case.stage.precompute, state, columns, key)
        limit = product_rate(*costliest(products, width), width, steps=20)
        line.share = products.total() / taken[len(taken) // 2] / limit
        yield line


def playing() -> Iterator[Measured]:
    """Steps a second of 20 episodes of Pendulum played by a flow of 256x3; nothing without gymnasium.

    The reference is the simulator alone.
    """
    if find_spec("gymnasium") is None:
        return
    from tiltflow.environments import make_environment
    from tiltflow.evaluation.rollouts import rollout
    from tiltflow.tasks import find_task
    from tiltflow.training.evaluator import SLOTS
    from tiltflow.training.policy import RunState, identity_scaler, make_act, rollout_policy

    spec, task = Spec(3, 1), find_task("file/pendulum", "Pendulum-v1")
    environments = [make_environment(task) for _ in range(min(EPISODES, SLOTS))]
    agent = build_agent("bc-flow", preset("bc-flow", task.name), spec, 1000)
    state = RunState(jax.jit(agent.init)(jax.random.key(0)), identity_scaler(spec))
    policy = rollout_policy(make_act(agent), state, jax.random.key(1))

    def still(observations: np.ndarray, seeds: np.ndarray, times: np.ndarray) -> np.ndarray:
        return np.zeros((len(observations), 1), np.float32)

    ours, alone = (
        seconds_of(lambda p=player: rollout(environments, p, list(range(EPISODES))))
        for player in (policy, still)
    )
    line = measured(f"evaluation: {EPISODES} episodes of Pendulum-v1", ours, EPISODES * 200, "steps/s")
    line.ratio, line.reference = alone[REPEATS // 2] / ours[REPEATS // 2], "the simulator alone"
    yield line
    for environment in environments:
        environment.close()


def loading() -> Iterator[Measured]:
    """Loading of own data, against NumPy's reading of the same file."""
    from tiltflow.data.load import load_dataset
    from tiltflow.tasks import find_task

    random, rows = np.random.default_rng(0), LOADED_ROWS
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        ends = np.arange(1, rows + 1) % 1000 == 0
        np.savez(
            path,
            observations=random.standard_normal((rows, 28), np.float32),
            next_observations=random.standard_normal((rows, 28), np.float32),
            actions=random.uniform(-1, 1, (rows, 5)).astype(np.float32),
            rewards=random.standard_normal(rows, np.float32),
            terminals=np.zeros(rows, bool),
            timeouts=ends,
        )

        def plain() -> None:
            with np.load(path) as file:
                for name in file.files:
                    file[name]

        ours = seconds_of(lambda: load_dataset(find_task("file/own", None), path), repeats=3)
        theirs = seconds_of(plain, repeats=3)
    line = measured(f"loading: {rows} rows of own data", ours, 1.0, "s")
    line.ratio, line.reference = theirs[1] / ours[1], "np.load"
    yield line


def starting() -> Iterator[Measured]:
    """CPU seconds of `tiltflow --help`, against those of an empty program."""

    def cpu(*command: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    cpu("-m", "tiltflow", "--help")
    ours = sorted(cpu("-m", "tiltflow", "--help") for _ in range(REPEATS))
    empty = sorted(cpu("-c", "pass") for _ in range(REPEATS))
    line = measured("start: tiltflow --help", ours, 1.0, "s")
    line.ratio, line.reference = empty[REPEATS // 2] / ours[REPEATS // 2], "an empty program"
    yield line


def memory() -> Iterator[Measured]:
    """The most memory that this process has held so far, and the device."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    yield Measured("memory: peak of the process", peak, "GB", peak, peak)
    statistics = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in statistics:
        peak = statistics["peak_bytes_in_use"] / 1e9
        yield Measured("memory: peak of the device", peak, "GB", peak, peak)
