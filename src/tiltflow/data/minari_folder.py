"""Data sets in Minari's folders: every episode with one more observation than actions."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from tiltflow.data.audit import Finding, audit_columns, refuse_errors
from tiltflow.data.formats import from_transitions
from tiltflow.data.minari_metadata import (
    EnvironmentSpec,
    build_environment,
    check_minari,
    environment_fault,
    environment_spec,
)
from tiltflow.data.transitions import Transitions
from tiltflow.environments import import_robotics
from tiltflow.errors import UserError
from tiltflow.packages import require
from tiltflow.tasks import Task
from tiltflow.trust import trusted


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
    folder = _inner(folder)
    spec = environment_spec(folder, check_minari(folder))
    dataset = _open(folder)
    space = dataset.action_space
    if not hasattr(space, "high") or not np.all(np.isfinite([space.low, space.high])):
        text = f"is {space}; only continuous actions with finite bounds can be used."
        return {}, [Finding("error", str(folder), "action_space", None, text)]
    if not dataset.total_episodes:
        return {}, [Finding("error", str(folder), None, None, "holds no episode. Copy or make it again.")]
    try:
        episodes = [_episode_columns(dataset, episode) for episode in dataset.iterate_episodes()]
    except Exception as error:  # whatever the library throws, the file is what it cannot read
        text = f"cannot be read as flat, continuous episodes ({error}). Copy or make it again."
        return {}, [Finding("error", str(folder), None, None, text)]
    columns = {key: np.concatenate([episode[key] for episode in episodes]) for key in episodes[0]}
    named = [
        Finding("warning", str(folder), "env_spec", None, text)
        for text in ([] if spec is None else _environment_faults(spec))
    ]
    return columns, audit_columns(str(folder), columns) + named


def _environment_faults(spec: EnvironmentSpec) -> list[str]:
    dropped = [f"names the wrapper {name}, which is left out." for name in spec.dropped]
    fault = environment_fault(spec, import_robotics())
    return [fault, *dropped] if fault else dropped


def recover_environment(task: Task, path: Path | None) -> Any:
    """The environment that a data set names, for evaluation where it names one for that.

    Raises UserError where there is no such data set, or where building it would run code that it names.
    """
    folder = _inner(_folder(task, path))
    metadata = check_minari(folder)
    if trusted():
        import_robotics()
        return _open(folder).recover_environment(eval_env=True, disable_env_checker=True)
    spec = environment_spec(folder, metadata)
    if spec is None:
        raise UserError(f"The Minari data set {folder} names no environment. Name one with --env.")
    return build_environment(folder, spec, import_robotics())


def _inner(folder: Path) -> Path:
    """The folder of metadata.json and the files of data."""
    return folder if (folder / "metadata.json").is_file() else folder / "data"


def _open(folder: Path) -> Any:
    minari = require("minari")
    try:
        return minari.MinariDataset(folder)
    except Exception as error:
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
