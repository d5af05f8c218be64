"""Where the walls and the goal of a maze are, and where in it an observation is: of any library's mazes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float


class MazeMap(NamedTuple):
    """A maze from above, in metres: x to the right, y upwards."""

    walls: Bool[np.ndarray, "rows columns"]
    """Which cells are walls; the first row is the uppermost."""
    extent: tuple[float, float, float, float]
    """Left, right, lower and upper edge of the cells."""
    place: Callable[[Float[np.ndarray, "*n o"]], Float[np.ndarray, "*n 2"]]
    """Where one is, by the observation (its first four entries are enough)."""
    goal: Callable[[Float[np.ndarray, " o"]], Float[np.ndarray, " 2"]]
    """Where one shall go, by the first observation of an episode."""


def find_maze(environment: Any) -> MazeMap | None:
    """The maze that a Gymnasium environment, reset once, takes place in; None where it is none.

    Known are the mazes of Gymnasium-Robotics and of OGBench whose observations begin with the position.
    """
    inner = environment.unwrapped
    maze: Any = getattr(inner, "maze", None)
    if hasattr(maze, "cell_rowcol_to_xy"):  # Gymnasium-Robotics
        cells, centre = maze.maze_map, maze.cell_rowcol_to_xy
    elif hasattr(inner, "ij_to_xy") and len(environment.observation_space.shape) == 1:  # OGBench, no images
        cells, centre = inner.maze_map, inner.ij_to_xy
    else:
        return None
    frame = _frame(environment, inner)
    if frame is None:
        return None
    walls = np.array([[cell == 1 for cell in row] for row in cells])  # other cells may be letters
    corners = np.array([centre((0, 0)), centre(np.subtract(walls.shape, 1))], np.float64)
    if corners[1, 1] > corners[0, 1]:  # rows are counted from below
        walls = walls[::-1]
    half = (corners[1, 0] - corners[0, 0]) / (walls.shape[1] - 1) / 2
    (left, low), (right, high) = corners.min(axis=0) - half, corners.max(axis=0) + half
    return MazeMap(walls, (float(left), float(right), float(low), float(high)), *frame)


def _frame(environment: Any, inner: Any) -> tuple[Callable, Callable] | None:
    """The functions `place` and `goal` of a maze, where observations begin with the position."""
    if hasattr(environment, "in_metres"):  # a goal that stays where it is
        return environment.in_metres, lambda first: environment.in_metres(environment.goal)
    if list(getattr(environment.observation_space, "spaces", ()))[:2] == ["achieved_goal", "desired_goal"]:
        return _first_two, lambda first: first[2:4]
    if hasattr(inner, "ij_to_xy") and np.allclose(inner.get_ob()[:2], inner.get_xy()):
        return _first_two, lambda first: inner.cur_task_info["goal_xy"]
    return None


def _first_two(observations: Float[np.ndarray, "*n o"]) -> Float[np.ndarray, "*n 2"]:
    return observations[..., :2]
