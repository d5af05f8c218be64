"""`file/NAME`: the user's own data, in any format that is read, with any Gymnasium environment."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiltflow.data.locate import locate_own
from tiltflow.data.sources import d4rl
from tiltflow.errors import UserError
from tiltflow.tasks import DEFAULT_HORIZON, DataSource, Task

if TYPE_CHECKING:
    from tiltflow.data.audit import Finding
    from tiltflow.data.formats import Recording


def _task(name: str, environment: str) -> Task:
    return Task(
        f"file/{name}", name, environment, "return", "return", DEFAULT_HORIZON, None,
        "own data; environment given with --env",
    )  # fmt: skip


def _environment(task: Task, data: Path | None) -> Any:
    from tiltflow.environments import make_named

    if not task.environment:
        raise UserError(
            f"The task {task.name} names no environment. Give --env with a Gymnasium id, such as Hopper-v5."
        )
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
