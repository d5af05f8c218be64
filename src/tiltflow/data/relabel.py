"""Rewards of OGBench's single-task tasks, computed by the ogbench package from the recorded positions."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tiltflow.data.audit import Finding, audit_columns, refuse_errors
from tiltflow.data.formats import FileColumns, Recording, has_rewards, state_rows
from tiltflow.environments import lend_global_random
from tiltflow.packages import require
from tiltflow.tasks import Task


def add_rewards(task: Task, recordings: Sequence[Recording]) -> list[Finding]:
    """Add the rewards and terminations of a task to the files that have none; what the audit says of them.

    Rewards are minus the number of unmet subgoals, terminations are where all are met: functions of the state
    before the action. Raises UserError where a file lacks positions or is of another environment.
    """
    environment, findings = None, []
    for file, columns in recordings:
        rows = state_rows(columns["terminals"])
        if not has_rewards(columns):
            if environment is None:  # building it takes a second
                environment = task.source.environment(task, None)
            rewards, met = _rewards(task, environment, file, columns, rows)
            for key, values in (("rewards", rewards), ("terminations", met)):
                columns[key] = np.zeros(len(columns["terminals"]), values.dtype)
                columns[key][rows] = values
        findings += audit_columns(file, {"rewards": columns["rewards"][rows]})
    return findings


def _rewards(
    task: Task, environment: Any, file: str, columns: FileColumns, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    needed = ["qpos", *(["button_states"] if task.dataset.startswith(("scene", "puzzle")) else [])]
    text = f"is missing: the rewards of {task.name} are computed from it."
    refuse_errors([Finding("error", file, key, None, text) for key in needed if key not in columns])
    size, expected = columns["observations"].shape[1], environment.observation_space.shape[0]
    if size != expected:
        text = f"has {size} columns, but {task.environment} observes {expected} numbers."
        refuse_errors([Finding("error", file, "observations", None, text)])
    recorded = {key: columns[key][rows] for key in needed}
    module = require("ogbench.relabel_utils")
    # It resets the environment, whose starts (not goals) are drawn from numpy's global generator.
    with lend_global_random(np.random.RandomState(0)):
        module.relabel_dataset(task.environment, environment, recorded)
    return recorded["rewards"], recorded["masks"] == 0
