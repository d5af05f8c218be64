"""`tiltflow tasks`: what `--task` takes, and what is known of one task: its presets and published scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from tiltflow.agents.presets import find_preset
from tiltflow.agents.registry import ALGORITHMS, has_published, named_preset
from tiltflow.cli.tables import print_table
from tiltflow.settings import diff
from tiltflow.tasks import Task, collectable, find_task, list_tasks


@dataclass(frozen=True)
class Tasks:
    """List the tasks: data set and environment, score and unit, horizon, and how to come by the data.

    Besides these, minari/ID names any Minari data set, and file/NAME own data (with --data and --env). With
    the whole name of a task: the preset of every algorithm on it and scores that others published, each with
    its source.
    """

    text: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="[TEXT]")] = ""
    """Only the tasks whose name holds this text; or the whole name of one."""

    def run(self) -> None:
        """Print the table. Raises UserError where no task is left."""
        tasks = [task for task in list_tasks() if self.text in task.name]
        if not tasks or any(task.name == self.text for task in tasks):
            _describe(find_task(self.text))
            return
        print_table(("task", "score", "horizon", "data"), _rows(tasks))


def parse(arguments: Sequence[str]) -> Tasks:
    """Read the arguments behind `tiltflow tasks`."""
    return tyro.cli(Tasks, prog="tiltflow tasks", args=arguments)


def _rows(tasks: Sequence[Task]) -> list[tuple[str, str, str, str]]:
    """One row for the tasks that their source lists by the same name, as its first task has it."""
    first: dict[str, Task] = {}
    for task in tasks:
        first.setdefault(task.source.listed(task), task)
    return [
        (name, _score(task), f"{task.horizon} steps", "collect" if collectable(task) else "file or folder")
        for name, task in first.items()
    ]


def _score(task: Task) -> str:
    return task.metric if task.unit == task.metric else f"{task.metric}, {task.unit}"


def _describe(task: Task) -> None:
    """Print what a task is, the preset of each algorithm on it, and what others have published."""
    from tiltflow.evaluation.published_scores import published

    own = "the environment's own limit of steps, or " if task.source.open_task else ""
    print(f"{task.name}: {task.description}; {_score(task)}, {own}{task.horizon} steps\n")
    print("Presets, where they differ from the algorithm's defaults (train ALGORITHM --task TASK --help):")
    rows = []
    for algorithm in ALGORITHMS.known().values():
        preset = find_preset(algorithm.name, algorithm.config, task.name)
        changed = ", ".join(
            f"{key} = {value:g}" if isinstance(value, float) else f"{key} = {value}"
            for key, (_, value) in diff(algorithm.config, preset.config).items()
        )
        rows.append((algorithm.name, changed or "–", ("found: " if preset.found else "") + preset.source))
        if has_published(algorithm.name):
            entry = named_preset(algorithm.name, task.name, "published")
            how = f"train {algorithm.name} --preset published --task {task.name} --help"
            source = ("found: " if entry.found else "") + entry.source
            rows.append((f"{algorithm.name} published", how, source))
    print_table(("algorithm", "preset", "source"), rows)
    print(f"\n{task.source.note}\n" if task.source.note else "")
    entries = published(task.name)
    scores = [(entry.algorithm, f"{entry.score:g}", entry.protocol, entry.source) for entry in entries]
    if not scores:
        print("No published score on this task has been read in its source.")
        return
    print(f"Published scores ({task.metric}), made with other code and data that may differ:")
    print_table(("algorithm", task.unit, "protocol", "source"), scores)
    for note in dict.fromkeys(f"{entry.source}: {entry.note}" for entry in entries if entry.note):
        print(f"\n{note}")
