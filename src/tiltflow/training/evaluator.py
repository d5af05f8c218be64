"""Playing the policies of a group of seeds, and comparing their actions with the data's."""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tiltflow.data.transitions import Transitions
from tiltflow.environments import Environment
from tiltflow.evaluation.rollouts import Episodes, rollout
from tiltflow.evaluation.task_score import score
from tiltflow.processes.stopping import StopFlag
from tiltflow.run_folder import RunFolder
from tiltflow.tasks import Task
from tiltflow.training.policy import (
    EVALUATE,
    RunState,
    make_act,
    of_one_seed,
    rollout_policy,
    seed_keys,
)
from tiltflow.training.prepare import Prepared
from tiltflow.training.progress import Observe
from tiltflow.training.tracks import Tracks, maze_paths, path_tracks

SLOTS = 8
ACTION_STATES = 1000


def episode_seed(seed: int, number: int) -> int:
    """The environment's seed of that episode of a seed's policy."""
    return (seed + 1) * 1_000_000 + number


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

    prepared: Prepared
    seeds: list[int]
    observe: Observe
    stop: StopFlag
    environments: list[Environment] = field(default_factory=list)
    paths: dict[str, np.ndarray] | None = None
    """Of the last scheduled evaluation, in a maze: the content of episodes.npz."""

    def __post_init__(self) -> None:
        self.act = make_act(self.prepared.agent)

    def scheduled(self, state: RunState, step: int) -> dict[str, Any]:
        """Play the evaluation that is due after `step` gradient steps; its line of evaluations.jsonl."""
        clock = time.perf_counter()
        task, schedule, count = self.prepared.task, self.prepared.schedule, self.prepared.config.episodes
        tracks = path_tracks()
        episodes = self.play(state, count, len(schedule.evaluated_to(step - 1)) * count, tracks)
        maze = self.environments[0].maze()
        self.paths = None if maze is None else maze_paths(maze, tracks, self.seeds, episodes, step)
        head = {
            "step": step,
            "stage": schedule.stage_before(step).name,
            "metric": task.metric,
            "unit": task.unit,
        }
        columns = episode_columns(task, episodes)
        return {**head, **columns, "seconds": time.perf_counter() - clock}

    def play(self, state: RunState, count: int, first: int, tracks: Tracks | None = None) -> list[Episodes]:
        """`count` episodes of each seed's policy, watched by `tracks`. Raises Interrupted between two.

        Episode i of seed s has the environment seed `episode_seed(s, first + i)`.
        """
        while len(self.environments) < min(count, SLOTS):
            self.environments.append(self.prepared.make_environment())
        total = count * len(self.seeds)
        results = []
        for index, (seed, key) in enumerate(zip(self.seeds, seed_keys(self.seeds, EVALUATE), strict=True)):

            def progress(done: int, index: int = index) -> None:
                self.stop.check()
                fraction = (index * count + done) / total
                event = {"event": "activity", "seeds": self.seeds, "text": "evaluating", "fraction": fraction}
                self.observe(event)

            episode_seeds = [episode_seed(seed, first + i) for i in range(count)]
            policy = rollout_policy(self.act, of_one_seed(state, self.seeds, index), key)
            if tracks is not None:
                policy = tracks.beside(policy, episode_seeds)
            results.append(rollout(self.environments[: min(count, SLOTS)], policy, episode_seeds, progress))
        return results


def write_actions(group: RunFolder, evaluator: Any, state: RunState, data: Transitions) -> None:
    """Write actions of the data and of each seed's policy at the same states, for the report."""
    rows = np.random.default_rng(0).choice(len(data), size=min(ACTION_STATES, len(data)), replace=False)
    data = data.take(np.sort(rows))
    indices = np.arange(len(data))
    policies = []
    for index, key in enumerate(seed_keys(evaluator.seeds, EVALUATE)):
        of_seed = of_one_seed(state, evaluator.seeds, index)
        policies.append(rollout_policy(evaluator.act, of_seed, key)(data.observations, indices, 0 * indices))
    group.write_actions(data.actions, np.stack(policies))
