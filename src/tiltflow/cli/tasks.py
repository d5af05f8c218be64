"""`tiltflow tasks`: what `--task` takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from tiltflow.cli.tables import print_table
from tiltflow.errors import UserError
from tiltflow.tasks import Task, collectable, find_task, list_tasks


@dataclass(frozen=True)
class Tasks:
    """List the tasks: data set and environment, score and unit, horizon, and how to come by the data.

    Besides these, minari/ID names any Minari data set, and file/NAME own data (with --data and --env).
    """

    text: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="[TEXT]")] = ""
    """Only the tasks whose name holds this text."""

    def run(self) -> None:
        """Print the table. Raises UserError where no task is left."""
        tasks = [task for task in list_tasks() if self.text in task.name]
        if not tasks:
            find_task(self.text)
            raise UserError(f"No task has {self.text!r} in its name.")
        print_table(("task", "score", "horizon", "data"), _rows(tasks))


def parse(arguments: Sequence[str]) -> Tasks:
    """Read the arguments behind `tiltflow tasks`."""
    return tyro.cli(Tasks, prog="tiltflow tasks", args=arguments)


def _rows(tasks: Sequence[Task]) -> list[tuple[str, str, str, str]]:
    """One row a task; the five tasks of an OGBench data set share the row of its default task."""
    rows: dict[str, tuple[str, str, str, str]] = {}
    for task in tasks:
        name = task.name
        if task.family == "ogbench":
            place = name.partition("-singletask")[0]
            name = f"{place}-singletask[-task1…5]-v0"
        score = task.metric if task.unit == task.metric else f"{task.metric}, {task.unit}"
        source = "collect" if collectable(task) else "file or folder"
        rows.setdefault(name, (name, score, f"{task.horizon} steps", source))
    return list(rows.values())
