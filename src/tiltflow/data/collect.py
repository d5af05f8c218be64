"""Making data sets without a download, by the published protocols, every episode from its own seed."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from tiltflow.data.arrays import write_npz
from tiltflow.data.formats import Columns
from tiltflow.errors import UserError, nearest
from tiltflow.tasks import Task, collectable, list_tasks

Progress = Callable[[int, int], None]

# Training episodes of the published OGBench data sets, where they are not 1000.
_EPISODES = {"cube-triple": 3000, "cube-quadruple": 5000, "puzzle-4x5": 3000, "puzzle-4x6": 5000}


class CollectionProtocol(Protocol):
    """How the episodes of one data set are made."""

    def episode(self, random: np.random.Generator) -> Columns: ...


def default_episodes(name: str) -> int:
    """How many training episodes the published data set has, or a useful number for a point maze."""
    task = collectable_task(name)
    if task.family == "pointmaze":
        return 200
    return _EPISODES.get("-".join(task.dataset.split("-")[:2]), 1000)


def collectable_task(name: str) -> Task:
    """A task whose data set is `name` (of the data set or of the task). Raises UserError for others."""
    tasks = [task for task in list_tasks() if collectable(task)]
    for task in tasks:
        if name in (task.dataset, task.name):
            return task
    names = {task.dataset for task in tasks} | {task.name for task in tasks if task.family == "pointmaze"}
    raise UserError(
        f"The data set {name!r} cannot be collected.{nearest(name, names)} `tiltflow data list` lists those "
        "that can; all others come from a file or folder given with --data."
    )


def collect(name: str, episodes: int, out: Path, seed: int = 0, progress: Progress | None = None) -> Path:
    """Make `episodes` episodes (and a tenth as many for OGBench's -val file) and return the npz written.

    Episode i is a function of (name, seed, i), so a longer collection begins with a shorter one; equal
    arguments give equal bytes. `progress` is called with (episodes done, episodes in all).
    """
    if episodes < 1:
        raise UserError(f"--episodes {episodes}: at least one episode has to be collected.")
    task = collectable_task(name)
    protocol = _protocol(task)
    validation = max(1, episodes // 10) if task.family == "ogbench" else 0
    path = out / f"{task.dataset}.npz"
    done = 0
    for part, (count, file) in enumerate(
        [(episodes, path), (validation, path.with_name(f"{task.dataset}-val.npz"))]
    ):
        collected = []
        for index in range(count):
            collected.append(protocol.episode(np.random.default_rng([seed, part, index])))
            done += 1
            if progress:
                progress(done, episodes + validation)
        if collected:
            keys = collected[0]
            write_npz(file, {key: np.concatenate([one[key] for one in collected]) for key in keys})
    return path


def _protocol(task: Task) -> CollectionProtocol:
    if task.family == "pointmaze":
        from tiltflow.data.collect_pointmaze import PointMazeProtocol

        return PointMazeProtocol(task)
    if "-navigate" in task.dataset:
        from tiltflow.data.collect_navigate import NavigateProtocol

        return NavigateProtocol(task)
    from tiltflow.data.collect_manipulation import ManipulationProtocol

    return ManipulationProtocol(task)
