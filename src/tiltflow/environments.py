"""Evaluation environments behind one interface, whatever library they come from."""

import contextlib
import importlib
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, final

import numpy as np
from jaxtyping import Float, UInt8

from tiltflow.data.bounds import absurd_bounds
from tiltflow.data.interface import ActionBounds
from tiltflow.errors import UserError, nearest
from tiltflow.maze_map import MazeMap, find_maze
from tiltflow.packages import require
from tiltflow.rendering import draw_now
from tiltflow.tasks import Task

_Observation = Float[np.ndarray, " o"]
_Action = Float[np.ndarray, " a"]


@final
class Environment:
    """One environment with actions in [−1, 1], flat float32 observations and the horizon of its task.

    What happens is a function of the seed given to `reset` and of the actions after it. By `bounds`, what ±1
    means is said in the environment's units; otherwise it means the environment's own bounds.
    """

    def __init__(
        self, environment: Any, horizon: int, draws_globally: bool, bounds: ActionBounds | None = None
    ):
        self._environment = environment
        self._horizon = horizon
        self._draws_globally = draws_globally
        self._time = 0
        self._random = np.random.RandomState(0)
        self._observation_space = environment.observation_space
        space = environment.action_space
        if not hasattr(space, "low") or absurd_bounds(*np.asarray([space.low, space.high], np.float64)):
            raise UserError(
                f"{environment} has the action space {space}; only continuous actions with finite bounds "
                "can be used."
            )
        self._own = np.asarray(space.low, np.float64), np.asarray(space.high, np.float64)
        self.action_size = int(np.prod(space.shape))
        if bounds is not None and len(bounds[0]) != self.action_size:
            name = getattr(environment.spec, "id", environment)
            raise UserError(
                f"The data have actions of {len(bounds[0])} entries, {name} of {self.action_size}."
            )
        self._low, self._high = self._own
        given = self._own if bounds is None else tuple(np.reshape(side, space.shape) for side in bounds)
        if not np.array_equal(given, self._own):
            self._low, self._high = given

    @property
    def own_bounds(self) -> ActionBounds:
        """The lowest and the highest value of each entry of an action, as the environment says."""
        low, high = (tuple(np.ravel(side).tolist()) for side in self._own)
        return low, high

    def reset(self, seed: int) -> _Observation:
        """Start the episode of that seed and return its first observation."""
        self._random = np.random.RandomState(seed % 2**32)
        self._environment.action_space.seed(seed)
        self._time = 0
        with self._named("reset(seed=…)"), lend_global_random(self._random):
            observation, _ = self._environment.reset(seed=seed)
            return flatten(self._observation_space, observation)

    def step(self, action: _Action) -> tuple[_Observation, float, bool, bool, bool]:
        """Take one action: observation, reward, terminated, truncated (horizon reached), success now."""
        clipped = np.clip(np.asarray(action, np.float64).reshape(self._low.shape), -1.0, 1.0)
        scaled = self._low + (clipped + 1.0) / 2.0 * (self._high - self._low)
        if self._low is not self._own[0]:
            scaled = np.clip(scaled, *self._own)
        lend = lend_global_random(self._random) if self._draws_globally else contextlib.nullcontext()
        with self._named("step(action)"), lend:
            observation, reward, terminated, truncated, info = self._environment.step(scaled)
            self._time += 1
            reward = float(reward)
            if not math.isfinite(reward):
                raise ValueError(f"its reward is {reward}")
            return (
                flatten(self._observation_space, observation),
                reward,
                bool(terminated),
                bool(truncated) or self._time >= self._horizon,
                bool(info.get("success", info.get("is_success", False))),
            )

    @contextlib.contextmanager
    def _named(self, call: str) -> Iterator[None]:
        """What fails in there is the environment's: UserError naming it, and the call."""
        try:
            yield
        except Exception as error:
            name = getattr(self._environment.spec, "id", None) or self._environment
            raise UserError(
                f"The environment {name} failed in {call}: {type(error).__name__}: {error}. It has to be one "
                "of Gymnasium's interface: reset(seed=…) returns an observation and a dictionary; "
                "step(action) an observation, a reward that is one finite number, whether the episode has "
                "terminated, whether it is truncated, and a dictionary. --debug shows where it failed."
            ) from error

    def maze(self) -> MazeMap | None:
        """The maze that its episodes take place in, once it has been reset; None where there is none."""
        return find_maze(self._environment)

    def picture(self) -> UInt8[np.ndarray, "height width 3"]:
        """What the present state looks like. Raises UserError, saying what to install, where that fails."""
        return draw_now(self._environment)

    def close(self) -> None:
        """Free the simulator."""
        self._environment.close()


@contextlib.contextmanager
def lend_global_random(random: np.random.RandomState) -> Iterator[None]:
    """Put `random` in the place of numpy's global generator for code that draws from the latter."""
    outside = np.random.get_state()
    np.random.set_state(random.get_state())
    try:
        yield
    finally:
        random.set_state(np.random.get_state())
        np.random.set_state(outside)


def make_environment(task: Task, data: Path | None = None, bounds: ActionBounds | None = None) -> Environment:
    """Build the evaluation environment of a task; `data` is where a Minari data set lies.

    `bounds` are what ±1 means in the actions of own data, the environment's units.
    Raises UserError where the library is not installed or the task names no environment.
    """
    if not task.played:
        raise UserError(f"The task {task.name} names no environment. Give --env with a Gymnasium id.")
    environment = task.source.environment(task, data)
    chosen = task.source.open_task is not None
    own_limit = getattr(environment.spec, "max_episode_steps", None) if chosen else None
    draws_globally = chosen or "teleport" in task.environment
    return Environment(environment, own_limit or task.horizon, draws_globally, bounds)


def import_robotics() -> ModuleType:
    """Import Gymnasium with the environments of Gymnasium-Robotics registered."""
    gymnasium = require("gymnasium")
    gymnasium.register_envs(require("gymnasium_robotics"))
    return gymnasium


def make_named(name: str, **arguments: Any) -> Any:
    """The Gymnasium environment ID, or MODULE:ID where a module registers it when it is imported.

    Raises UserError where there is none of this name, or the module cannot be imported.
    """
    gymnasium = require("gymnasium")
    module, _, name = name.rpartition(":")
    if module:
        try:
            importlib.import_module(module)  # registers the environment
        except ImportError as error:
            raise UserError(
                f"The module {module} of --env {module}:{name} cannot be imported ({error}). Install it, "
                "or name its folder in PYTHONPATH."
            ) from error
    if name not in gymnasium.registry:
        gymnasium = import_robotics()
    if name not in gymnasium.registry:
        raise UserError(
            f"Gymnasium knows no environment {name!r}.{nearest(name, gymnasium.registry)} Its package may "
            "have to be installed."
        )
    with warnings.catch_warnings():
        # Bounds of 1 lose nothing in float32, and old versions of an environment may be what data need.
        warnings.simplefilter("ignore")
        return gymnasium.make(name, disable_env_checker=True, **arguments)


def make_ogbench(name: str, **arguments: Any) -> Any:
    """An OGBench environment whose resets are determined by seeds."""
    require("ogbench")
    environment = make_named(name, **arguments)
    # The manipulation environments shake the scene at reset with actions from a space that they make anew,
    # unseeded, at every access; what that leaves behind would differ from run to run.
    inner = environment.unwrapped
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        space = inner.action_space
    inner.__class__ = type(type(inner).__name__, (type(inner),), {"action_space": space})
    return environment


def flatten(space: Any, observation: Any, rows: tuple[int, ...] = ()) -> Float[np.ndarray, "*rows o"]:
    """The float32 vector of an observation, or of so many; dictionaries are joined as in their space."""
    if isinstance(observation, dict):
        return np.concatenate([flatten(space[key], observation[key], rows) for key in space.spaces], axis=-1)
    return np.asarray(observation, np.float32).reshape(*rows, -1)
