"""Point-maze data after D4RL's maze2d: a controller that visits one random goal after another.

The force is proportional to the way to the next cell of the shortest path, damped by the velocity, with
Gaussian noise, and clipped; gains and noise are D4RL's (10, −1, 0.5). Its waypoint planner is replaced by
a breadth-first search. An episode lasts as long as one of the task; when a goal is reached the next is drawn.
"""

from typing import final

import numpy as np

from tiltflow.data.formats import FileColumns
from tiltflow.data.shortest_paths import MazeCell, free_cells, next_cells
from tiltflow.tasks import Task

_POSITION_GAIN, _VELOCITY_GAIN, _NOISE = 10.0, -1.0, 0.5
_ARRIVED = 0.25


@final
class PointMazeProtocol:
    """Collects episodes of a `pointmaze/` task with the rewards of its evaluation goal."""

    def __init__(self, task: Task):
        self._environment = task.source.environment(task, None)
        self._horizon = task.horizon
        self._maze = self._environment.maze
        self._walls = np.array(self._maze.maze_map) == 1
        self._cells = free_cells(self._walls)
        self._ways = {cell: next_cells(self._walls, cell) for cell in self._cells}

    def episode(self, random: np.random.Generator) -> FileColumns:
        """One episode in the columns of `Transitions`; a function of the generator's state."""
        state, _ = self._environment.reset(seed=int(random.integers(2**31)))
        goal_cell, goal = self._draw_goal(random)
        observations, actions, rewards = [state], [], []
        for noise in random.normal(0.0, _NOISE, (self._horizon, 2)):
            if np.hypot(*(state[:2] - goal)) < _ARRIVED:
                goal_cell, goal = self._draw_goal(random)
            force = _POSITION_GAIN * (self._waypoint(state, goal_cell, goal) - state[:2])
            action = np.clip(force + _VELOCITY_GAIN * state[2:] + noise, -1.0, 1.0).astype(np.float32)
            state, reward, *_ = self._environment.step(action)
            observations.append(state)
            actions.append(action)
            rewards.append(reward)
        path = np.array(observations, np.float32)
        last = np.arange(self._horizon) == self._horizon - 1
        return {
            "observations": path[:-1],
            "actions": np.array(actions),
            "rewards": np.array(rewards, np.float32),
            "next_observations": path[1:],
            "terminations": np.zeros_like(last),
            "ends": last,
        }

    def _draw_goal(self, random: np.random.Generator) -> tuple[MazeCell, np.ndarray]:
        cell = self._cells[random.integers(len(self._cells))]
        return cell, self._maze.cell_rowcol_to_xy(cell) + random.uniform(-0.25, 0.25, 2)

    def _waypoint(self, state: np.ndarray, goal_cell: MazeCell, goal: np.ndarray) -> np.ndarray:
        row, column = self._maze.cell_xy_to_rowcol(state[:2])
        cell = (int(row), int(column))
        # A point squeezed against a wall may be just across the border of its cell.
        following = self._ways[goal_cell].get(cell, goal_cell)
        return goal if cell == goal_cell else self._maze.cell_rowcol_to_xy(following)
