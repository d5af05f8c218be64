"""Rewards of OGBench's single-task tasks, computed by the ogbench package from the recorded positions."""

from typing import final

import numpy as np

from tiltflow.data.audit import Finding, refuse_errors
from tiltflow.data.formats import Columns
from tiltflow.environments import lend_global_random, make_gymnasium
from tiltflow.packages import require
from tiltflow.tasks import Task


@final
class Relabeller:
    """Computes the rewards of one task; building its environment takes a second, so one serves all files."""

    def __init__(self, task: Task):
        self._task = task
        self._environment = make_gymnasium(task)
        self._needed = ["qpos"]
        if task.dataset.startswith(("scene", "puzzle")):
            self._needed.append("button_states")

    def __call__(self, file: str, columns: Columns, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rewards [n] (minus the number of unmet subgoals) and terminations [n] (all met) of the given rows.

        Both are functions of the state before the action. Raises UserError where the file lacks positions
        or is of another environment.
        """
        text = f"is missing: the rewards of {self._task.name} are computed from it."
        missing = [key for key in self._needed if key not in columns]
        refuse_errors([Finding("error", file, key, None, text) for key in missing])
        size, expected = columns["observations"].shape[1], self._environment.observation_space.shape[0]
        if size != expected:
            text = f"has {size} columns, but {self._task.environment} observes {expected} numbers."
            refuse_errors([Finding("error", file, "observations", None, text)])
        recorded = {key: columns[key][rows] for key in self._needed}
        module = require("ogbench.relabel_utils")
        # It resets the environment, whose starts (not goals) are drawn from numpy's global generator.
        with lend_global_random(np.random.RandomState(0)):
            module.relabel_dataset(self._task.environment, self._environment, recorded)
        return recorded["rewards"], recorded["masks"] == 0
