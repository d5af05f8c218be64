"""OGBench's `navigate` data for the point maze: a noisy navigator that visits one random goal after another.

The protocol of OGBench (Park et al., arXiv 2410.20092): starts in any cell, goals in cells that are not the
inside of a corridor, a unit action towards the next cell of a shortest path plus Gaussian noise of 0.5,
clipped; 1001 steps an episode.
"""

from typing import final

import numpy as np

from tiltflow.data.formats import Columns
from tiltflow.data.shortest_paths import Cell, free_cells, next_cells
from tiltflow.environments import lend_global_random, make_ogbench
from tiltflow.tasks import Task

EPISODE_STEPS = 1001
NOISE = 0.5


@final
class NavigateProtocol:
    """Collects episodes in OGBench's columns: observations, actions, terminals, qpos, qvel."""

    def __init__(self, task: Task, steps: int = EPISODE_STEPS):
        self._steps = steps
        maze = task.dataset.replace("-navigate", "")
        self._maze = make_ogbench(maze, terminate_at_goal=False).unwrapped
        self._walls = self._maze.maze_map == 1
        self._cells = free_cells(self._walls)
        self._goals = [cell for cell in self._cells if not _inside_corridor(self._walls, cell)]
        self._ways = {goal: next_cells(self._walls, goal) for goal in self._goals}

    def episode(self, random: np.random.Generator) -> Columns:
        """One episode; its last row only supplies the next observation."""
        start = self._cells[random.integers(len(self._cells))]
        goal = self._draw_goal(random)
        seed = int(random.integers(2**31))
        self._maze.action_space.seed(seed)
        # The environment draws its noise on starts and goals, and where a teleport leads, globally.
        with lend_global_random(np.random.RandomState(seed)):
            task = {"init_ij": start, "goal_ij": goal}
            state, _ = self._maze.reset(seed=seed, options={"task_info": task})
            rows = []
            for noise in random.normal(0.0, NOISE, (self._steps, 2)):
                action = np.clip(self._direction(goal) + noise, -1.0, 1.0).astype(np.float32)
                following, _, _, _, info = self._maze.step(action)
                rows.append((state, action, info["prev_qpos"], info["prev_qvel"]))
                state = following
                if info["success"]:
                    goal = self._draw_goal(random)
                    self._maze.set_goal(goal_xy=self._maze.add_noise(self._maze.ij_to_xy(goal)))
        observations, actions, qpos, qvel = (
            np.array(column, np.float32) for column in zip(*rows, strict=True)
        )
        return {
            "observations": observations,
            "actions": actions,
            "terminals": np.arange(self._steps) == self._steps - 1,
            "qpos": qpos,
            "qvel": qvel,
        }

    def _draw_goal(self, random: np.random.Generator) -> Cell:
        return self._goals[random.integers(len(self._goals))]

    def _direction(self, goal: Cell) -> np.ndarray:
        position = self._maze.get_xy()
        cell = self._maze.xy_to_ij(position)
        way = np.array(self._maze.ij_to_xy(self._ways[goal].get(cell, cell))) - position
        return way / (np.linalg.norm(way) + 1e-6)


def _inside_corridor(walls: np.ndarray, cell: Cell) -> bool:
    row, column = cell
    up, down = walls[row - 1, column], walls[row + 1, column]
    left, right = walls[row, column - 1], walls[row, column + 1]
    return bool((up and down and not left and not right) or (left and right and not up and not down))
