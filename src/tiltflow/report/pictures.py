"""The pictures of behaviour that a run folder holds: paths through a maze, and frames of an episode."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from tiltflow.errors import UserError
from tiltflow.npz import load_npz
from tiltflow.run_folder import PATH_ARRAYS, RunFolder

_Content = TypeVar("_Content")


class MazePaths(NamedTuple):
    """Where the policies went in a maze, after `step` gradient steps; see `training.tracks.maze_paths`."""

    walls: Bool[np.ndarray, "rows columns"]
    extent: Float[np.ndarray, "4"]
    step: int
    positions: Float[np.ndarray, "n points 2"]
    goals: Float[np.ndarray, "n 2"]
    seeds: Int[np.ndarray, " n"]
    successes: Bool[np.ndarray, " n"]

    def take(self, rows: Int[np.ndarray, " m"]) -> "MazePaths":
        """Some of the episodes."""
        return self._replace(**{name: getattr(self, name)[rows] for name in PATH_ARRAYS})


class FilmStrip(NamedTuple):
    """Five frames of the median episode of `tiltflow evaluate --video`; see `training.film`."""

    frames: UInt8[np.ndarray, "5 height width 3"]
    steps: Int[np.ndarray, "5"]
    policy_step: int
    """Gradient steps of the policy."""
    seed: int
    total: float
    """Return of the episode."""
    success: bool


def read_paths(run: RunFolder) -> MazePaths | None:
    """The content of episodes.npz; None where there is none. Raises UserError where it is damaged."""
    return _read(run.episodes_file, ("walls", "extent", "step", *PATH_ARRAYS), _paths)


def read_film(run: RunFolder) -> FilmStrip | None:
    """The content of film.npz; None where there is none. Raises UserError where it is damaged."""
    return _read(run.film_file, ("frames", "steps", "policy_step", "seed", "return", "success"), _film)


def _read(
    path: Path, keys: tuple[str, ...], convert: Callable[[dict[str, np.ndarray]], _Content]
) -> _Content | None:
    if not path.exists():
        return None
    try:
        return convert(load_npz(path, *keys))
    except (UserError, ValueError, TypeError) as error:
        raise UserError(
            f"{path} holds no pictures of behaviour: {error} Delete it to write the report without them."
        ) from error


def _paths(arrays: dict[str, np.ndarray]) -> MazePaths:
    positions, seeds = arrays["positions"].astype(np.float64), arrays["seeds"].astype(np.int64)
    goals, successes = arrays["goals"].astype(np.float64), arrays["successes"].astype(bool)
    walls, extent = arrays["walls"].astype(bool), arrays["extent"].astype(np.float64)
    count = len(positions)
    shapes = [array.shape for array in (goals, seeds, successes, extent)]
    if shapes != [(count, 2), (count,), (count,), (4,)] or positions.ndim != 3 or walls.ndim != 2:
        raise ValueError("its arrays do not fit together.")
    if positions.shape[2] != 2 or not count or not walls.size or not np.isfinite(positions[:, 0]).all():
        raise ValueError("it has no paths.")
    return MazePaths(walls, extent, int(arrays["step"]), positions, goals, seeds, successes)


def _film(arrays: dict[str, np.ndarray]) -> FilmStrip:
    frames, steps = arrays["frames"], arrays["steps"].astype(np.int64)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or not frames.size:
        raise ValueError("'frames' are no pictures.")
    if steps.shape != frames.shape[:1]:
        raise ValueError("'steps' are not those of the frames.")
    policy_step, seed = int(arrays["policy_step"]), int(arrays["seed"])
    return FilmStrip(frames, steps, policy_step, seed, float(arrays["return"]), bool(arrays["success"]))
