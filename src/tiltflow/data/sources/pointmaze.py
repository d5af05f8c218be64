"""`pointmaze/`: a point mass in Gymnasium-Robotics' mazes, with data that are collected here in seconds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tiltflow.data.locate import locate_files
from tiltflow.tasks import Collection, DataSource, Task

POINT_MAZES = {
    "umaze": ("PointMaze_UMaze-v3", 300, (23.85, 161.86)),
    "medium": ("PointMaze_Medium-v3", 600, (13.13, 277.39)),
    "large": ("PointMaze_Large-v3", 800, (6.7, 273.99)),
}
"""Environment, horizon in steps, and D4RL's reference returns of its maze2d."""


def _tasks() -> Iterator[Task]:
    for size, (environment, horizon, _) in POINT_MAZES.items():
        yield Task(
            f"pointmaze/{size}-v0", f"pointmaze-{size}-v0", environment, "success", "%", horizon, None,
            "point mass to a fixed corner of the maze; reward 1 within 0.5 of it",
        )  # fmt: skip


def _environment(task: Task, data: Path | None) -> Any:
    from tiltflow.mazes import make_maze

    return make_maze(task.environment, task.horizon, d4rl_frame=False)


def _collection(task: Task) -> Collection:
    return Collection(200, _protocol)


def _protocol(task: Task) -> Any:
    from tiltflow.data.collect_pointmaze import PointMazeProtocol

    return PointMazeProtocol(task)


SOURCE = DataSource(
    "pointmaze", locate=locate_files, environment=_environment, tasks=_tasks, collection=_collection
)
