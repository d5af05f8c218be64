"""`minari/ID`: any data set in Minari's format, with the environment that it names."""

import os
from pathlib import Path
from typing import Any

from tiltflow.data.locate import minari_inside
from tiltflow.data.sources.d4rl import REFERENCES
from tiltflow.errors import UserError
from tiltflow.tasks import DEFAULT_HORIZON, DataSource, Task


def _task(dataset: str, environment: str) -> Task:
    """Scored by success in mazes, by D4RL's reference where its robot has one, else by the return."""
    words = dataset.lower().split("/")
    reference = next((REFERENCES[word] for word in words if word in REFERENCES), None)
    if any(word in ("pointmaze", "antmaze") for word in words):
        metric, unit, reference = "success", "%", None
    elif reference:
        metric, unit = "normalized return", "points"
    else:
        metric, unit = "return", "return"
    return Task(
        f"minari/{dataset}", dataset, environment, metric, unit, DEFAULT_HORIZON, reference,
        "Minari data set; environment recovered from it",
    )  # fmt: skip


def _locate(task: Task, path: Path | None) -> list[Path]:
    """The data set's folder: `path` itself, or the one of its ID in `path` or in Minari's own root."""
    root = path or Path(os.environ.get("MINARI_DATASETS_PATH") or "~/.minari/datasets").expanduser()
    for folder in (root / task.dataset, root):
        if minari_inside(folder):
            return [folder]
    raise UserError(
        f"The Minari data set {task.dataset} is neither in {root / task.dataset} nor in {root} itself. "
        f"Fetch it with `minari download {task.dataset}`, or give --data the folder that holds it."
    )


def _environment(task: Task, data: Path | None) -> Any:
    from tiltflow.data.minari_folder import recover_environment
    from tiltflow.environments import make_named

    if task.environment:
        return make_named(task.environment)
    (place,) = _locate(task, data)
    return recover_environment(minari_inside(place) or place)


SOURCE = DataSource(
    "minari",
    locate=_locate,
    environment=_environment,
    open_task=_task,
    packages=("minari", "h5py"),
)
