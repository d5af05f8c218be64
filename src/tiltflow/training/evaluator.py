"""Playing the policies of a group of seeds, and comparing their actions with the data's."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tiltflow.agents.base import Agent
from tiltflow.data.load import Dataset
from tiltflow.environments import Environment, make_environment
from tiltflow.evaluation.rollouts import Episodes, rollout
from tiltflow.evaluation.scores import score
from tiltflow.files import atomic_file
from tiltflow.processes.stopping import StopFlag
from tiltflow.tasks import Task
from tiltflow.training.loop import EVALUATE, Loop, Observe, seed_keys
from tiltflow.training.policy import RunState, make_act, rollout_policy
from tiltflow.training.schedule import Schedule

SLOTS = 8
ACTION_STATES = 1000


def of_one_seed(state: RunState, seeds: list[int], index: int) -> RunState:
    """The state of one seed of a group."""
    if len(seeds) == 1:
        return state
    return RunState(jax.tree.map(lambda leaf: leaf[index], state.agent), state.scaler)


def episode_columns(task: Task, episodes: list[Episodes]) -> dict[str, list]:
    """The score and the episodes of each seed, as a line of evaluations.jsonl has them."""
    return {
        "score": [float(score(task, of_seed).mean()) for of_seed in episodes],
        "returns": [of_seed.returns for of_seed in episodes],
        "successes": [of_seed.successes for of_seed in episodes],
        "lengths": [of_seed.lengths for of_seed in episodes],
    }


@dataclass
class Evaluator:
    """Plays episodes with the policies of a group; keeps its environments and the compiled policy."""

    task: Task
    data: Path | None
    agent: Agent
    seeds: list[int]
    observe: Observe
    stop: StopFlag
    environments: list[Environment] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.act = make_act(self.agent)

    def scheduled(self, state: RunState, schedule: Schedule, step: int) -> dict[str, Any]:
        """Play the evaluation that is due after `step` gradient steps; its line of evaluations.jsonl."""
        clock = time.perf_counter()
        count = schedule.config.episodes
        episodes = self.play(state, count, schedule.evaluations_before(step) * count)
        head = {
            "step": step,
            "stage": schedule.stage_before(step).name,
            "metric": self.task.metric,
            "unit": self.task.unit,
        }
        columns = episode_columns(self.task, episodes)
        return {**head, **columns, "seconds": time.perf_counter() - clock}

    def play(self, state: RunState, count: int, first: int) -> list[Episodes]:
        """`count` episodes of each seed's policy. Raises Interrupted between two episodes.

        Episode i of seed s has the environment seed (s + 1)·10⁶ + first + i.
        """
        while len(self.environments) < min(count, SLOTS):
            self.environments.append(make_environment(self.task, self.data))
        total = count * len(self.seeds)
        results = []
        for index, (seed, key) in enumerate(zip(self.seeds, seed_keys(self.seeds, EVALUATE), strict=True)):

            def progress(done: int, index: int = index) -> None:
                self.stop.check()
                fraction = (index * count + done) / total
                event = {"event": "activity", "seeds": self.seeds, "text": "evaluating", "fraction": fraction}
                self.observe(event)

            episode_seeds = [(seed + 1) * 1_000_000 + first + i for i in range(count)]
            policy = rollout_policy(self.act, of_one_seed(state, self.seeds, index), key)
            results.append(rollout(self.environments[: min(count, SLOTS)], policy, episode_seeds, progress))
        return results


def save_actions(path: Path, evaluator: Evaluator, loop: Loop, dataset: Dataset) -> None:
    """Actions of the data and of each seed's policy at the same states, for the report."""
    rows = np.random.default_rng(0).choice(
        len(dataset.train), size=min(ACTION_STATES, len(dataset.train)), replace=False
    )
    data = dataset.train.take(np.sort(rows))
    indices = np.arange(len(data))
    policies = []
    for index, key in enumerate(seed_keys(loop.seeds, EVALUATE)):
        state = of_one_seed(loop.state, loop.seeds, index)
        policies.append(rollout_policy(evaluator.act, state, key)(data.observations, indices, 0 * indices))
    with atomic_file(path) as file:
        np.savez(file, data=data.actions, policy=np.stack(policies))
