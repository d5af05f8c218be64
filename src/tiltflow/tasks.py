"""Tasks by name, and what is asked of the sources that they come from. Standard library only."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tiltflow.errors import UserError, nearest

if TYPE_CHECKING:
    from tiltflow.data.audit import Finding
    from tiltflow.data.formats import Recording

SOURCES = (
    "pointmaze",
    "ogbench",
    "d4rl",
    "minari",
    "own_files",
)
"""The modules of data/sources, in the order in which their tasks are listed; each has a `SOURCE`."""

NO_ENVIRONMENT = "none"
"""What `--env` says where there is no simulator."""

ESTIMATED = "estimated return (not played)"
"""The metric without one: the discounted return from the first states, by fitted Q evaluation."""

CLONED = "minus the distance to held-out actions"
"""The metric where there are no rewards either: mean W₁ of the policy's actions to the recorded ones."""

DEFAULT_HORIZON = 1000
"""Steps of an episode where neither the task nor its environment says."""


@dataclass(frozen=True)
class Task:
    """What `--task` names. `reference` holds the returns that count as 0 and 100 points."""

    name: str
    dataset: str
    environment: str
    metric: str
    unit: str
    horizon: int
    reference: tuple[float, float] | None
    description: str
    played: bool = True
    """Whether there is a simulator; otherwise policies are scored on recorded episodes."""

    @property
    def source(self) -> "DataSource":
        """Where the task comes from, by the first part of its name."""
        return _sources()[self.name.partition("/")[0]]


class Collection(NamedTuple):
    """How `tiltflow data collect` makes a data set: so many episodes, each by `protocol(task).episode`."""

    episodes: int
    protocol: Callable[[Task], Any]


@dataclass(frozen=True)
class DataSource:
    """What a source of data says of its tasks, whose names begin with its own.

    Names are known without NumPy: what its functions need is imported when they are called.
    """

    name: str
    locate: Callable[[Task, Path | None], list[Path]]
    """The file(s) or the folder of a task's data, in the place given or by default."""
    environment: Callable[[Task, Path | None], Any]
    """The Gymnasium environment of a task, whose data lie at the path."""
    tasks: Callable[[], Iterable[Task]] = tuple
    """The tasks with fixed names."""
    open_task: Callable[[str, str], Task] | None = None
    """The task of any data set with any environment, whose own limit is the horizon where it has one."""
    states: bool = False
    """Whether its files hold states without rewards, as OGBench's do, with NAME-val.npz beside NAME.npz."""
    own: bool = False
    """Whether its files are the user's own, with columns of any name and actions of any bounds."""
    complete: Callable[[Task, "list[Recording]"], "list[Finding]"] = lambda task, recordings: []
    """Adds to the columns of each file what the task needs, or takes away; what there is to say of it."""
    collection: Callable[[Task], Collection | None] = lambda task: None
    """How the data of a task are made here, if they can be."""
    folders: tuple[str, ...] = ()
    """Where its own package keeps files; searched after the default folder."""
    copies: str = ""
    """Where else the file of the data set {} is had from."""
    packages: tuple[str, ...] = ()
    """The Python packages that its data need."""
    listed: Callable[[Task], str] = lambda task: task.name
    """What the list of tasks calls a task; those of one name share a row."""
    note: str = ""
    """What to know of the presets on its tasks."""


def find_task(name: str, environment: str | None = None) -> Task:
    """The task called `name`; `environment` is a Gymnasium id, for `file/` and `minari/` names only, or none.

    Without a simulator, `none` or a `file/` name alone, policies are estimated and not played. Raises
    UserError, suggesting the nearest name, where there is no such task.
    """
    if environment == NO_ENVIRONMENT:
        return estimated(find_task(name))
    prefix, _, rest = name.partition("/")
    source = _sources().get(prefix)
    if source and source.open_task and rest:
        return source.open_task(rest, environment or "")
    tasks = _tasks()
    if name not in tasks:
        raise UserError(
            f"There is no task {name!r}.{nearest(name, tasks)} `tiltflow tasks` lists them all; own data go "
            "by the name file/NAME with --data and --env, any Minari data set by minari/ID."
        )
    if environment:
        raise UserError(
            f"--env {environment} cannot be given with the task {name}, which has its own environment "
            f"({tasks[name].environment}). Use --env with file/NAME or minari/ID only."
        )
    return tasks[name]


def estimated(task: Task) -> Task:
    """The task without its simulator."""
    return replace(
        task, environment=NO_ENVIRONMENT, metric=ESTIMATED, unit="return",
        reference=None, played=False,
    )  # fmt: skip


def without_rewards(task: Task) -> Task:
    """The task on data that have none; what is played, has the environment's."""
    return task if task.played else replace(task, metric=CLONED, unit="% of their range")


def refuse_nothing_to_play(task: Task, play: bool) -> None:
    """Raise UserError for a training that leaves to be played later what nothing can play."""
    if not (task.played or play):
        raise UserError(
            f"{task.name} names no environment, and without one there is nothing that --no-play could leave "
            "to be played later. Leave one of them out, or give --env."
        )


def list_tasks() -> list[Task]:
    """All tasks with a fixed name (`minari/ID` and `file/NAME` are open sets and not among them)."""
    return list(_tasks().values())


def collectable(task: Task) -> bool:
    """Whether `tiltflow data collect` can make the data of the task without any download."""
    return task.source.collection(task) is not None


@cache
def _sources() -> dict[str, DataSource]:
    found = [import_module(f"tiltflow.data.sources.{module}").SOURCE for module in SOURCES]
    return {source.name: source for source in found}


@cache
def _tasks() -> dict[str, Task]:
    return {task.name: task for source in _sources().values() for task in source.tasks()}
