"""Minari's folders: checked with distrust, then read as episodes with one more observation than actions."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from tiltflow.data.audit import Finding
from tiltflow.data.formats import FileColumns
from tiltflow.data.hdf5 import check_hdf5
from tiltflow.data.minari_environment import (
    ASK_FOR_TRUST,
    build_environment,
    environment_faults,
    environment_spec,
    parse_object,
)
from tiltflow.environments import flatten, import_robotics
from tiltflow.errors import UserError
from tiltflow.files import read_object
from tiltflow.packages import require
from tiltflow.trust import trusted

_LARGEST_SPACE = 10**6


def read_minari(folder: Path) -> tuple[FileColumns, list[Finding]]:
    """The columns of `Transitions` of all episodes, and what keeps it or its environment from being used.

    `folder` holds metadata.json. Dictionary observations are joined, actions scaled to [−1, 1].
    """

    def error(key: str | None, text: str) -> tuple[FileColumns, list[Finding]]:
        return {}, [Finding("error", str(folder), key, None, text)]

    spec = environment_spec(folder, _check_metadata(folder))
    dataset = _open(folder)
    space = dataset.action_space
    if not hasattr(space, "high") or not np.all(np.isfinite([space.low, space.high])):
        return error("action_space", f"is {space}; only continuous actions with finite bounds can be used.")
    if not dataset.total_episodes:
        return error(None, "holds no episode. Copy or make it again.")
    try:
        episodes = [_episode_columns(dataset, episode) for episode in dataset.iterate_episodes()]
    except Exception as fault:  # whatever the library throws, the file is what it cannot read
        return error(None, f"cannot be read as flat, continuous episodes ({fault}). Copy or make it again.")
    columns = {key: np.concatenate([episode[key] for episode in episodes]) for key in episodes[0]}
    faults = environment_faults(spec) if spec else []
    return columns, [Finding("warning", str(folder), "env_spec", None, text) for text in faults]


def recover_environment(folder: Path) -> Any:
    """The environment that a data set names, for evaluation where it names one for that.

    `folder` holds metadata.json. Raises UserError where building it would run code that the data set names.
    """
    metadata = _check_metadata(folder)
    if trusted():
        import_robotics()
        return _open(folder).recover_environment(eval_env=True, disable_env_checker=True)
    spec = environment_spec(folder, metadata)
    if spec is None:
        raise UserError(f"The Minari data set {folder} names no environment. Name one with --env.")
    return build_environment(folder, spec)


def _check_metadata(folder: Path) -> dict[str, Any]:
    """The metadata of a data set that Minari's library may open.

    Raises UserError where opening or reading it would run code, leave the folder or exhaust memory.
    """
    require("minari")
    path = folder / "metadata.json"
    metadata = read_object(path)
    for key in ("observation_space", "action_space"):
        if key in metadata:
            _check_space(path, key, parse_object(path, key, metadata[key]))
        elif not trusted():
            raise UserError(
                f"The Minari data set {folder} cannot be opened: its metadata.json has no {key!r}, so that "
                "Minari would build the environment that it names, which runs the code of its entry point. "
                f"{ASK_FOR_TRUST}"
            )
    if metadata.get("data_format") != "hdf5":
        raise UserError(
            f"{path} has the data_format {metadata.get('data_format')!r}; only hdf5 is read. Convert the "
            "data set with Minari."
        )
    check_hdf5(folder / "main_data.hdf5")
    return metadata


def _check_space(path: Path, key: str, space: Any) -> None:
    if not isinstance(space, dict):
        raise UserError(f"{path}: {key!r} describes no space.")
    parts = space.get("subspaces")
    if isinstance(parts, dict | list):
        for part in parts.values() if isinstance(parts, dict) else parts:
            _check_space(path, key, part)
        return
    shape = space.get("shape") or []
    if not isinstance(shape, list) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise UserError(f"{path}: {key!r} has the shape {shape}.")
    if math.prod(shape) > _LARGEST_SPACE:
        raise UserError(f"{path}: {key!r} has the shape {shape}, more than {_LARGEST_SPACE:,} entries.")
    if len(shape) == 3 and space.get("dtype") == "uint8":
        raise UserError(f"{path}: {key!r} holds images {shape}; only flat observations of numbers are read.")


def _open(folder: Path) -> Any:
    minari = require("minari")
    try:
        return minari.MinariDataset(folder)
    except Exception as error:
        raise UserError(f"The Minari data set {folder} cannot be opened: {error}") from error


def _episode_columns(dataset: Any, episode: Any) -> FileColumns:
    space = dataset.action_space
    centre, reach = (space.high + space.low) / 2, (space.high - space.low) / 2
    actions = (np.asarray(episode.actions) - centre) / reach
    rows = (len(actions) + 1,)
    observations = flatten(dataset.observation_space, episode.observations, rows)
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
