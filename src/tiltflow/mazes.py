"""The point maze with a goal that stays where it is: the maze2d protocol of D4RL on Gymnasium-Robotics.

Observations are [x, y, vx, vy] (metres, metres per second); the reward is 1 while the point is within 0.5
of the goal and 0 elsewhere; reaching the goal does not end the episode.
"""

from typing import Any, final

import gymnasium
import numpy as np

from tiltflow.environments import make_named

# Row and column of the goal cell in D4RL's maze2d-*-v1, whose walls are those of Gymnasium-Robotics.
_GOAL_CELLS = {"PointMaze_UMaze-v3": (1, 1), "PointMaze_Medium-v3": (6, 6), "PointMaze_Large-v3": (7, 9)}
_GOAL_RADIUS = 0.5
# D4RL places the point 0.2 past the centre of the cell that its coordinates name.
_D4RL_OFFSET = 0.2


def make_maze(name: str, horizon: int, *, d4rl_frame: bool) -> "FixedGoal":
    """The point maze of that Gymnasium id with the goal of `_GOAL_CELLS`, for so many steps."""
    return FixedGoal(make_named(name, max_episode_steps=horizon), _GOAL_CELLS[name], d4rl_frame)


@final
class FixedGoal(gymnasium.Wrapper):
    """A Gymnasium-Robotics point maze with the goal of `_GOAL_CELLS`, in its own or in D4RL's frame.

    D4RL counts positions in cells, rows first: (row, column, row velocity, column velocity), and its
    actions push along the same axes. Data recorded there need that frame; new data use the native one.
    """

    def __init__(self, environment: gymnasium.Env, goal_cell: tuple[int, int], d4rl_frame: bool):
        super().__init__(environment)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float64)
        self._goal_cell = np.array(goal_cell)
        self._d4rl_frame = d4rl_frame
        self.maze: Any = environment.unwrapped.maze  # type: ignore[attr-defined]
        self.goal = (
            self._goal_cell.astype(np.float64) if d4rl_frame else self.maze.cell_rowcol_to_xy(goal_cell)
        )

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        """Start in a random cell other than the goal's; `options` as in Gymnasium-Robotics."""
        observation, info = self.env.reset(
            seed=seed, options={"goal_cell": self._goal_cell, **(options or {})}
        )
        return self._observe(observation["observation"]), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict]:
        """One step of 0.01 s; info["success"] says whether the point is at the goal now."""
        if self._d4rl_frame:
            action = np.stack([action[1], -action[0]])
        observation, _, _, truncated, info = self.env.step(action)
        state = self._observe(observation["observation"])
        reached = np.linalg.norm(state[:2] - self.goal, axis=-1) <= _GOAL_RADIUS
        return state, float(reached), False, truncated, info | {"success": bool(reached)}

    def in_metres(self, states: np.ndarray) -> np.ndarray:
        """Positions [*n, 2] in the maze's own frame, of states or positions [*n, 2 or more] in this one's."""
        if not self._d4rl_frame:
            return states[..., :2]
        x = states[..., 1] - self.maze.x_map_center + 0.5 + _D4RL_OFFSET
        y = self.maze.y_map_center - states[..., 0] - 0.5 - _D4RL_OFFSET
        return np.stack([x, y], axis=-1)

    def _observe(self, point: np.ndarray) -> np.ndarray:
        if not self._d4rl_frame:
            return point
        x, y, vx, vy = point
        row = self.maze.y_map_center - y - 0.5 - _D4RL_OFFSET
        column = x + self.maze.x_map_center - 0.5 - _D4RL_OFFSET
        return np.array([row, column, -vy, vx])
