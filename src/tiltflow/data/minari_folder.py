"""Data sets in Minari's folders: every episode with one more observation than actions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tiltflow.data.audit import Finding
from tiltflow.data.bounds import absurd_bounds
from tiltflow.data.formats import FileColumns
from tiltflow.data.interface import PolicyInterface, Signal
from tiltflow.data.minari_metadata import build_environment, check_metadata, environment_faults
from tiltflow.environments import flatten, import_robotics
from tiltflow.errors import UserError
from tiltflow.packages import require
from tiltflow.trust import trusted


def read_minari(folder: Path, bounded: bool = True) -> tuple[FileColumns, list[Finding]]:
    """The columns of `Transitions` of all episodes, and what keeps it or its environment from being used.

    `folder` holds metadata.json. Dictionary observations are joined, actions scaled to [−1, 1] where their
    space has bounds, and as they are otherwise where `bounded` is not demanded.
    """

    def error(key: str | None, text: str) -> tuple[FileColumns, list[Finding]]:
        return {}, [Finding("error", str(folder), key, None, text)]

    faults = environment_faults(folder, check_metadata(folder))
    dataset = _open(folder)
    space = dataset.action_space
    if not hasattr(space, "high") or (bounded and not _has_bounds(space)):
        return error("action_space", f"is {space}; only continuous actions with finite bounds can be used.")
    if not dataset.total_episodes:
        return error(None, "holds no episode. Copy or make it again.")
    try:
        episodes = [_episode_columns(dataset, episode) for episode in dataset.iterate_episodes()]
    except Exception as fault:  # whatever the library throws, the file is what it cannot read
        return error(None, f"cannot be read as flat, continuous episodes ({fault}). Copy or make it again.")
    columns = {key: np.concatenate([episode[key] for episode in episodes]) for key in episodes[0]}
    return columns, [Finding("warning", str(folder), "env_spec", None, text) for text in faults]


def minari_interface(folder: Path) -> PolicyInterface:
    """The parts of an observation by their names, and the bounds of an action where they are finite.

    `folder` is one that `read_minari` has read.
    """
    check_metadata(folder)
    dataset = _open(folder)
    space, bounds = dataset.action_space, None
    if _has_bounds(space):
        bounds = tuple(map(float, np.ravel(space.low))), tuple(map(float, np.ravel(space.high)))
    actions = (Signal("actions", int(np.prod(space.shape))),)
    return PolicyInterface(tuple(_signals("observations", dataset.observation_space)), actions, bounds)


def _signals(name: str, space: Any) -> Iterator[Signal]:
    """The parts of a space in the order in which `flatten` joins them."""
    if not hasattr(space, "spaces"):
        yield Signal(name, int(np.prod(space.shape)))
        return
    for key in space.spaces:
        yield from _signals(key if name == "observations" else f"{name}/{key}", space[key])


def recover_environment(folder: Path) -> Any:
    """The environment that a data set names, for evaluation where it names one for that.

    `folder` holds metadata.json. Raises UserError where building it would run code that the data set names.
    """
    metadata = check_metadata(folder)
    if trusted():
        import_robotics()
        return _open(folder).recover_environment(eval_env=True, disable_env_checker=True)
    return build_environment(folder, metadata)


def _has_bounds(space: Any) -> bool:
    return not absurd_bounds(np.asarray(space.low, np.float64), np.asarray(space.high, np.float64))


def _open(folder: Path) -> Any:
    minari = require("minari")
    try:
        return minari.MinariDataset(folder)
    except Exception as error:
        raise UserError(f"The Minari data set {folder} cannot be opened: {error}") from error


def _episode_columns(dataset: Any, episode: Any) -> FileColumns:
    space, actions = dataset.action_space, np.asarray(episode.actions)
    if _has_bounds(space):
        # Whole numbers and halves overflow in their own type.
        kind: Any = np.float32 if space.dtype == np.float32 else np.float64
        low, high = np.asarray(space.low, kind), np.asarray(space.high, kind)
        pinned = low == high
        actions = np.where(pinned, 0, (actions - (high + low) / 2) / np.where(pinned, 1, (high - low) / 2))
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
