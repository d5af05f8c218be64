"""`file/NAME`: the user's own data, in any format that is read, with any Gymnasium environment."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiltflow.data.locate import locate_own
from tiltflow.data.sources import d4rl
from tiltflow.tasks import DEFAULT_HORIZON, DataSource, Task, estimated

if TYPE_CHECKING:
    from tiltflow.data.audit import Finding
    from tiltflow.data.formats import Recording


def _task(name: str, environment: str) -> Task:
    task = Task(
        f"file/{name}", name, environment, "return", "return", DEFAULT_HORIZON, None,
        "own data",
    )  # fmt: skip
    return task if environment else estimated(task)


def _environment(task: Task, data: Path | None) -> Any:
    from tiltflow.environments import make_named

    return make_named(task.environment)


def _complete(task: Task, recordings: "list[Recording]") -> "list[Finding]":
    from tiltflow.data.audit import Finding
    from tiltflow.data.formats import layout_of

    text = f"is missing: time limits are taken to fall every {task.horizon} steps after an end."
    return d4rl.complete(task, recordings) + [
        Finding("warning", file, "timeouts", None, text)
        for file, columns in recordings
        if layout_of(columns, states=False) == "steps" and "timeouts" not in columns
    ]


SOURCE = DataSource(
    "file",
    locate=locate_own,
    environment=_environment,
    open_task=_task,
    complete=_complete,
    own=True,
)
