"""Making data sets without a download, by the published protocols, every episode from its own seed."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tiltflow.data.arrays import write_npz
from tiltflow.data.formats import FileColumns
from tiltflow.errors import UserError, nearest
from tiltflow.tasks import Collection, Task, list_tasks

OGBENCH_STEPS = 1001
"""Rows of an episode of OGBench's data."""

_Progress = Callable[[int, int], None]


def collect(
    name: str, episodes: int | None, out: Path, seed: int = 0, progress: _Progress | None = None
) -> Path:
    """Make the data set `name` (of the data set or of a task) and return the npz written.

    `episodes` are those of training, by default as many as the source says; OGBench's -val file gets a tenth
    as many. Episode i is a function of (name, seed, i), so a longer collection begins with a shorter one;
    equal arguments give equal bytes. `progress` is called with (episodes done, episodes in all).
    Raises UserError where the data set cannot be collected, or is there already.
    """
    task, collection = _find(name)
    episodes = collection.episodes if episodes is None else episodes
    if episodes < 1:
        raise UserError(f"--episodes {episodes}: at least one episode has to be collected.")
    protocol = collection.protocol(task)
    parts = {out / f"{task.dataset}.npz": episodes}
    if task.source.states:
        parts[out / f"{task.dataset}-val.npz"] = max(1, episodes // 10)
    if taken := [file for file in parts if file.exists()]:  # runs may have been trained on it
        raise UserError(f"{taken[0]} is there already. Move it away, or name another folder (--out).")
    done = 0
    for part, (file, count) in enumerate(parts.items()):
        collected = []
        for index in range(count):
            collected.append(protocol.episode(np.random.default_rng([seed, part, index])))
            done += 1
            if progress:
                progress(done, sum(parts.values()))
        write_npz(file, {key: np.concatenate([one[key] for one in collected]) for key in collected[0]})
    return out / f"{task.dataset}.npz"


def ogbench_columns(rows: Sequence[tuple[np.ndarray, np.ndarray, dict]]) -> FileColumns:
    """OGBench's columns of one episode, of the state, the action and the info after it at every step.

    The last row only supplies the next observation.
    """
    states, actions, infos = zip(*rows, strict=True)
    columns = {
        "observations": np.array(states, np.float32),
        "actions": np.array(actions, np.float32),
        "terminals": np.arange(len(rows)) == len(rows) - 1,
        "qpos": np.array([info["prev_qpos"] for info in infos], np.float32),
        "qvel": np.array([info["prev_qvel"] for info in infos], np.float32),
    }
    if len(infos[0].get("prev_button_states", ())):
        columns["button_states"] = np.array([info["prev_button_states"] for info in infos], np.int64)
    return columns


def _find(name: str) -> tuple[Task, Collection]:
    made = [(task, collection) for task in list_tasks() if (collection := task.source.collection(task))]
    for task, collection in made:
        if name in (task.dataset, task.name):
            return task, collection
    raise UserError(
        f"The data set {name!r} cannot be collected.{nearest(name, {task.dataset for task, _ in made})} "
        "`tiltflow data list` lists those that can; all others come from a file or folder given with --data."
    )
