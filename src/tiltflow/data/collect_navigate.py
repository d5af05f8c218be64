"""OGBench's `navigate` data for the point maze: a noisy navigator that visits one random goal after another.

The protocol of OGBench (Park et al., arXiv 2410.20092): starts in any cell, goals in cells that are not the
inside of a corridor, a unit action towards the next cell of a shortest path plus Gaussian noise of 0.5,
clipped; 1001 steps an episode.
"""

from typing import final

import numpy as np

from tiltflow.data.collect import OGBENCH_STEPS, ogbench_columns
from tiltflow.data.formats import FileColumns
from tiltflow.data.shortest_paths import MazeCell, free_cells, next_cells
from tiltflow.environments import lend_global_random, make_ogbench
from tiltflow.tasks import Task

_NOISE = 0.5


@final
class NavigateProtocol:
    """Collects episodes in OGBench's columns."""

    def __init__(self, task: Task, steps: int = OGBENCH_STEPS):
        self._steps = steps
        maze = task.dataset.replace("-navigate", "")
        self._maze = make_ogbench(maze, terminate_at_goal=False).unwrapped
        self._walls = self._maze.maze_map == 1
        self._cells = free_cells(self._walls)
        self._goals = [cell for cell in self._cells if not _inside_corridor(self._walls, cell)]
        self._ways = {goal: next_cells(self._walls, goal) for goal in self._goals}

    def episode(self, random: np.random.Generator) -> FileColumns:
        """One episode; a function of the generator's state."""
        start = self._cells[random.integers(len(self._cells))]
        goal = self._draw_goal(random)
        seed = int(random.integers(2**31))
        self._maze.action_space.seed(seed)
        # The environment draws its noise on starts and goals, and where a teleport leads, globally.
        with lend_global_random(np.random.RandomState(seed)):
            task = {"init_ij": start, "goal_ij": goal}
            state, _ = self._maze.reset(seed=seed, options={"task_info": task})
            rows = []
            for noise in random.normal(0.0, _NOISE, (self._steps, 2)):
                action = np.clip(self._direction(goal) + noise, -1.0, 1.0).astype(np.float32)
                following, _, _, _, info = self._maze.step(action)
                rows.append((state, action, info))
                state = following
                if info["success"]:
                    goal = self._draw_goal(random)
                    self._maze.set_goal(goal_xy=self._maze.add_noise(self._maze.ij_to_xy(goal)))
        return ogbench_columns(rows)

    def _draw_goal(self, random: np.random.Generator) -> MazeCell:
        return self._goals[random.integers(len(self._goals))]

    def _direction(self, goal: MazeCell) -> np.ndarray:
        position = self._maze.get_xy()
        cell = self._maze.xy_to_ij(position)
        way = np.array(self._maze.ij_to_xy(self._ways[goal].get(cell, cell))) - position
        return way / (np.linalg.norm(way) + 1e-6)


def _inside_corridor(walls: np.ndarray, cell: MazeCell) -> bool:
    row, column = cell
    up, down = walls[row - 1, column], walls[row + 1, column]
    left, right = walls[row, column - 1], walls[row, column + 1]
    return bool((up and down and not left and not right) or (left and right and not up and not down))
