"""OGBench's `play` and `noisy` data for cube, scene and puzzle, by the oracles in the ogbench package.

The protocol of OGBench (Park et al., arXiv 2410.20092): an oracle pursues one random target after another,
1001 steps an episode. `play` follows plans with correlated noise (0.1, smoothing 0.5); `noisy` is closed
loop, with Gaussian noise of a level drawn per episode and random actions (probability 0.1, puzzles 0.2).
Two departures from the upstream script: it ignores its seed, here every episode has one; and its oracles
see the old target for one step after it has changed, here the new one.
"""

import importlib
from typing import Any, final

import numpy as np

from tiltflow.data.collect import OGBENCH_STEPS, ogbench_columns
from tiltflow.data.formats import FileColumns
from tiltflow.environments import lend_global_random, make_ogbench
from tiltflow.tasks import Task

_NOISE = 0.1
_NOISE_SHAPE = np.array([1.0, 1.0, 1.0, 3.0, 10.0])
# Bounds of the probability, drawn per episode, that a cube is to be put on another.
_STACKING = {"cube-single": (0.0, 0.0), "cube-double": (0.0, 0.25), "cube-triple": (0.05, 0.35)}
_STACKING["cube-quadruple"] = (0.1, 0.5)
_DEFAULT_STACKING = (0.5, 0.5)


@final
class ManipulationProtocol:
    """Collects episodes in OGBench's columns."""

    def __init__(self, task: Task, steps: int = OGBENCH_STEPS):
        self._steps = steps
        self._place, _, self._kind = task.dataset.removesuffix("-v0").rpartition("-")
        self._environment = make_ogbench(
            f"{self._place}-v0", terminate_at_goal=False, mode="data_collection"
        ).unwrapped
        self._random_actions = 0.0 if self._kind == "play" else 0.2 if "puzzle" in self._place else 0.1
        self._oracles = self._make_oracles()

    def episode(self, random: np.random.Generator) -> FileColumns:
        """One episode; a function of the generator's state."""
        with lend_global_random(np.random.RandomState(int(random.integers(2**31)))):
            while True:
                columns = self._attempt(random)
                if not self._place.startswith("scene") or _cube_in_sight(columns["qpos"]):
                    return columns

    def _attempt(self, random: np.random.Generator) -> FileColumns:
        state, info = self._environment.reset(seed=int(random.integers(2**31)))
        stacking = random.uniform(*_STACKING.get(self._place, _DEFAULT_STACKING))
        level = random.uniform(0.0, _NOISE)
        oracle = self._oracles[info["privileged/target_task"]]
        oracle.reset(state, info)
        rows = []
        for _ in range(self._steps):
            action = self._action(random, oracle, state, info, level)
            following, _, _, _, info = self._environment.step(action)
            rows.append((state, action, info))
            if oracle.done:
                following, info = self._environment.set_new_target(p_stack=stacking)
                oracle = self._oracles[info["privileged/target_task"]]
                oracle.reset(following, info)
            state = following
        return ogbench_columns(rows)

    def _action(
        self, random: np.random.Generator, oracle: Any, state: np.ndarray, info: dict, level: float
    ) -> np.ndarray:
        if random.uniform() < self._random_actions:
            return random.uniform(-1.0, 1.0, 5).astype(np.float32)
        action = np.asarray(oracle.select_action(state, info))
        if self._kind == "noisy":
            action = action + random.normal(0.0, level * _NOISE_SHAPE)
        return np.clip(action, -1.0, 1.0).astype(np.float32)

    def _make_oracles(self) -> dict[str, Any]:
        targets = {"cube": ("cube",), "puzzle": ("button",), "scene": ("cube", "button", "drawer", "window")}
        place = self._place.partition("-")[0]
        return {target: self._make_oracle(target, place) for target in targets[place]}

    def _make_oracle(self, target: str, place: str) -> Any:
        style = "plan" if self._kind == "play" else "markov"
        module = importlib.import_module(f"ogbench.manipspace.oracles.{style}.{target}_{style}")
        oracle = getattr(module, f"{target.capitalize()}{style.capitalize()}Oracle")
        arguments: dict[str, Any] = (
            {"noise": _NOISE, "noise_smoothing": 0.5} if style == "plan" else {"min_norm": 0.4}
        )
        if place == "puzzle":
            arguments["gripper_always_closed"] = True
        if place == "scene" and target == "cube" and style == "markov":
            arguments["max_step"] = 100
        return oracle(env=self._environment, **arguments)


def _cube_in_sight(qpos: np.ndarray) -> bool:
    """Whether the cube stays in the scene or in the drawer; upstream repeats other episodes."""
    y, z = qpos[:, 15], qpos[:, 16]
    beside = (y <= -0.3) & ((z < 0.06) | (z > 0.08))
    return not bool(np.any(y >= 0.29) or np.any(beside))
