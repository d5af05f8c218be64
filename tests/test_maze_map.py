"""Maps of mazes agree with the simulators that they are taken from."""

import numpy as np
import pytest

from tiltflow.environments import make_environment
from tiltflow.tasks import find_task


@pytest.mark.parametrize(
    ("task", "environment"),
    [
        ("pointmaze/medium-v0", None),
        ("d4rl/maze2d-medium-v1", None),
        ("file/own", "PointMaze_Medium-v3"),
        ("ogbench/pointmaze-medium-navigate-singletask-task2-v0", None),
        ("ogbench/antmaze-medium-navigate-singletask-task2-v0", None),
    ],
)
def test_places_and_goals_are_those_of_the_simulator_and_lie_in_free_cells(task, environment):
    if task.startswith("ogbench"):
        pytest.importorskip("ogbench")
    made = make_environment(find_task(task, environment))
    inner = made._environment.unwrapped
    for seed in range(4):
        first = made.reset(seed)
        maze = made.maze()
        np.testing.assert_allclose(maze.place(first), inner.data.qpos[:2], atol=1e-5)
        left, right, low, high = maze.extent
        assert (right - left) / maze.walls.shape[1] == pytest.approx((high - low) / maze.walls.shape[0])
        for x, y in (maze.place(first), maze.goal(first)):
            cell = np.floor([(high - y), (x - left)] / np.float64((right - left) / maze.walls.shape[1]))
            assert not maze.walls[tuple(cell.astype(int))]
    assert maze.walls[0].all()
    assert maze.walls[:, -1].all()
    made.close()


def test_what_is_no_maze_has_no_map():
    made = make_environment(find_task("file/own", "Hopper-v5"))
    made.reset(0)
    assert made.maze() is None
    made.close()
