"""Rewards of OGBench's single-task tasks, computed by the ogbench package from the recorded positions."""

import numpy as np

from tiltflow.data.audit import Finding, refuse_errors
from tiltflow.data.formats import Columns
from tiltflow.environments import make_gymnasium, require
from tiltflow.tasks import Task


def relabel(task: Task, file: str, columns: Columns, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rewards [n] (minus the number of unmet subgoals) and terminations [n] (all met) of the given rows.

    Both are functions of the state before the action. Raises UserError where the file lacks positions.
    """
    needed = ["qpos"]
    if task.dataset.startswith(("scene", "puzzle")):
        needed.append("button_states")
    text = f"is missing: the rewards of {task.name} are computed from it."
    refuse_errors([Finding("error", file, key, None, text) for key in needed if key not in columns])
    environment = make_gymnasium(task)
    recorded = {key: columns[key][rows] for key in needed}
    require("ogbench.relabel_utils").relabel_dataset(task.environment, environment, recorded)
    environment.close()
    return recorded["rewards"], recorded["masks"] == 0
