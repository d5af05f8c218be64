"""The data of all tasks of a benchmark: found, or missed, before anything is trained."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tiltflow.data.locate import default_folders
from tiltflow.errors import UserError
from tiltflow.packages import need
from tiltflow.processes.stopping import StopFlag
from tiltflow.tasks import Task, collectable

SEED = 0
"""Seed of data that a suite collects, the same for every benchmark."""


def missing_data(tasks: Sequence[Task], data: Path | None) -> list[Task]:
    """The tasks without data in the folder `data` (default: the usual folders), one of each data set.

    Raises UserError where `data` is a file: one file is not the data of several tasks; and where the data of
    one's own are not there.
    """
    one_place = all(task.source.own for task in tasks)
    if data is not None and data.exists() and not data.is_dir() and not one_place:
        raise UserError(
            f"--data {data} is a file: give the folder that holds the data of all tasks, one file each."
        )
    missing: dict[str, Task] = {}
    for task in tasks:
        try:
            found = data is None or data.is_dir() or one_place
            if found:
                task.source.locate(task, data)
        except UserError:
            if one_place:
                raise  # it is no data set of ours, which has a name and can be put somewhere
            found = False
        if not found:
            missing.setdefault(task.dataset, task)
    return list(missing.values())


def refuse_missing(missing: Sequence[Task], data: Path | None) -> None:
    """Raise UserError naming every data set that is missing and where it was searched."""
    if not missing:
        return
    folders = dict.fromkeys([data] if data else [f for task in missing for f in default_folders(task)])
    ways = ["put the files there", "name the folder that holds them with --data"]
    made = [task.dataset for task in missing if collectable(task)]
    if made:
        ways.append(f"make {', '.join(made)} with `tiltflow data collect NAME --out FOLDER`")
    raise UserError(
        f"These data sets are missing: {', '.join(task.dataset for task in missing)}. "
        f"NAME.npz or NAME.hdf5 was searched in {' and '.join(map(str, folders))}. Nothing was trained: "
        f"{'; or '.join(ways)}."
    )


def need_packages(tasks: Sequence[Task]) -> None:
    """Raise ModuleNotFoundError now for what every run of a task would miss later."""
    packages = {"gymnasium", "mujoco"} if any(task.played for task in tasks) else set[str]()
    packages |= {package for task in tasks for package in task.source.packages}
    packages |= {"gymnasium_robotics" for task in tasks if task.environment.startswith(("Adroit", "Point"))}
    need(*sorted(packages))


def collect_missing(
    missing: Sequence[Task], folder: Path, stop: StopFlag, advance: Callable[[str, int, int, str], None]
) -> None:
    """Collect these data sets into the folder. Raises Interrupted between two episodes."""
    from tiltflow.data.collect import collect

    for task in missing:

        def progress(done: int, total: int, name: str = task.dataset) -> None:
            stop.check()
            advance(f"collecting {name}", done, total, "")

        collect(task.dataset, None, folder, SEED, progress)
