"""Data sets in Minari's folders: every episode with one more observation than actions."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from tiltflow.data.audit import Finding, audit_columns, refuse_errors
from tiltflow.data.formats import from_transitions
from tiltflow.data.transitions import Transitions
from tiltflow.errors import UserError
from tiltflow.packages import require
from tiltflow.tasks import Task


def is_minari(path: Path) -> bool:
    """Whether the folder is a Minari data set (or its `data` folder)."""
    return any((path / part / "metadata.json").is_file() for part in ("", "data"))


def load_minari(task: Task, path: Path | None) -> tuple[Transitions, str, list[Finding]]:
    """Transitions of all episodes; dictionary observations are joined, actions scaled to [−1, 1].

    `path` is the data set's folder or the root that holds it by its ID; by default Minari's own root.
    Raises UserError where there is no such data set or the audit finds an error.
    """
    folder = _folder(task, path)
    columns, findings = read_minari(folder)
    refuse_errors(findings)
    return from_transitions(columns), str(folder), findings


def read_minari(folder: Path) -> tuple[dict[str, np.ndarray], list[Finding]]:
    """The columns of `Transitions` of a Minari folder and what is wrong with them."""
    dataset = _open(folder)
    space = dataset.action_space
    if not hasattr(space, "high") or not np.all(np.isfinite([space.low, space.high])):
        text = f"is {space}; only continuous actions with finite bounds can be used."
        return {}, [Finding("error", str(folder), "action_space", None, text)]
    if not dataset.total_episodes:
        return {}, [Finding("error", str(folder), None, None, "holds no episode. Copy or make it again.")]
    try:
        episodes = [_episode_columns(dataset, episode) for episode in dataset.iterate_episodes()]
    except (OSError, KeyError, ValueError, TypeError) as error:
        text = f"cannot be read as flat, continuous episodes ({error}). Copy or make it again."
        return {}, [Finding("error", str(folder), None, None, text)]
    columns = {key: np.concatenate([episode[key] for episode in episodes]) for key in episodes[0]}
    return columns, audit_columns(str(folder), columns)


def open_minari(task: Task, path: Path | None) -> Any:
    """The `minari.MinariDataset` of a task. Raises UserError where it is not to be found or read."""
    return _open(_folder(task, path))


def _open(folder: Path) -> Any:
    minari = require("minari")
    try:
        return minari.MinariDataset(folder if (folder / "metadata.json").is_file() else folder / "data")
    except (OSError, KeyError, ValueError, AssertionError) as error:
        raise UserError(f"The Minari data set {folder} cannot be opened: {error}") from error


def _folder(task: Task, path: Path | None) -> Path:
    root = path or Path(os.environ.get("MINARI_DATASETS_PATH") or "~/.minari/datasets").expanduser()
    for folder in (root / task.dataset, root):
        if is_minari(folder):
            return folder
    raise UserError(
        f"The Minari data set {task.dataset} is neither in {root / task.dataset} nor in {root} itself. "
        f"Fetch it with `minari download {task.dataset}`, or give --data the folder that holds it."
    )


def _episode_columns(dataset: Any, episode: Any) -> dict[str, np.ndarray]:
    observations = _flatten_rows(dataset.observation_space, episode.observations)
    space = dataset.action_space
    centre, reach = (space.high + space.low) / 2, (space.high - space.low) / 2
    actions = (np.asarray(episode.actions) - centre) / reach
    terminations = np.asarray(episode.terminations, bool)
    ends = terminations | np.asarray(episode.truncations, bool)
    ends[-1] = True
    return {
        "observations": observations[:-1],
        "actions": actions.reshape(len(actions), -1).astype(np.float32),
        "rewards": np.asarray(episode.rewards, np.float32),
        "next_observations": observations[1:],
        "terminations": terminations,
        "ends": ends,
    }


def _flatten_rows(space: Any, values: Any) -> np.ndarray:
    """Observations [T + 1, o] of one episode, joined in the order in which `environments.flatten` does."""
    if isinstance(values, dict):
        return np.concatenate([_flatten_rows(space[key], values[key]) for key in space.spaces], axis=1)
    return np.asarray(values, np.float32).reshape(len(values), -1)
