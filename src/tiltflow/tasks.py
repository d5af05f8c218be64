"""Tasks by name: a data set, the environment it is evaluated in, and how an episode is scored."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from tiltflow.errors import UserError, nearest


@dataclass(frozen=True)
class Task:
    """What `--task` names. `reference` holds the returns that count as 0 and 100 points."""

    name: str
    family: str
    dataset: str
    environment: str
    metric: str
    unit: str
    horizon: int
    reference: tuple[float, float] | None
    description: str


# Official horizons (environment steps) of OGBench 1.2.
_MANIPULATION = {
    "cube-single": 200,
    "cube-double": 500,
    "cube-triple": 1000,
    "cube-quadruple": 1000,
    "scene": 750,
    "puzzle-3x3": 500,
    "puzzle-4x4": 500,
    "puzzle-4x5": 1000,
    "puzzle-4x6": 1000,
}
_NAVIGATION = {
    "pointmaze-medium": 1000,
    "pointmaze-large": 1000,
    "pointmaze-giant": 1000,
    "pointmaze-teleport": 1000,
    "antmaze-medium": 1000,
    "antmaze-large": 1000,
    "antmaze-giant": 1000,
    "antmaze-teleport": 1000,
    "humanoidmaze-medium": 2000,
    "humanoidmaze-large": 2000,
    "humanoidmaze-giant": 4000,
    "antsoccer-arena": 1000,
    "antsoccer-medium": 1000,
}
_OGBENCH = {
    **{f"{name}-{kind}": steps for name, steps in _MANIPULATION.items() for kind in ("play", "noisy")},
    **{f"{name}-navigate": steps for name, steps in _NAVIGATION.items()},
}

# Reference returns: D4RL's infos.py (the -v2 names use the values of -v0, the adroit -v1 names likewise).
# Walker2d-v5 has another friction of a foot than the simulator that recorded D4RL's data; -v4 has theirs.
_LOCOMOTION = {
    "hopper": ("Hopper-v5", (-20.272305, 3234.3)),
    "halfcheetah": ("HalfCheetah-v5", (-280.178953, 12135.0)),
    "walker2d": ("Walker2d-v4", (1.629008, 4592.3)),
    "ant": ("Ant-v5", (-325.6, 3879.7)),
}
_LOCOMOTION_DATA = ("random", "medium", "expert", "medium-replay", "full-replay", "medium-expert")
_ADROIT = {
    "pen": ("AdroitHandPen-v1", 100, (96.262799, 3076.8331017826877)),
    "door": ("AdroitHandDoor-v1", 200, (-56.512833, 2880.5693087298737)),
    "hammer": ("AdroitHandHammer-v1", 200, (-274.856578, 12794.134825156867)),
    "relocate": ("AdroitHandRelocate-v1", 200, (-6.425911, 4233.877797728884)),
}
_POINT_MAZES = {
    "umaze": ("PointMaze_UMaze-v3", 300, (23.85, 161.86)),
    "medium": ("PointMaze_Medium-v3", 600, (13.13, 277.39)),
    "large": ("PointMaze_Large-v3", 800, (6.7, 273.99)),
}
_DEFAULT_HORIZON = 1000

OPEN = ("file", "minari")
"""Families of any data set with any environment, whose own limit is the horizon where it has one."""


def find_task(name: str, environment: str | None = None) -> Task:
    """The task called `name`; `environment` is a Gymnasium id, for `file/` and `minari/` names only.

    Raises UserError, suggesting the nearest name, where there is no such task.
    """
    family, _, rest = name.partition("/")
    if family == "minari" and rest:
        return _minari(rest, environment or "")
    if family == "file" and rest:
        return Task(
            name, "file", rest, environment or "", "return", "return", _DEFAULT_HORIZON, None,
            "own data; environment given with --env",
        )  # fmt: skip
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


def list_tasks() -> list[Task]:
    """All tasks with a fixed name (`minari/ID` and `file/NAME` are open sets and not among them)."""
    return list(_tasks().values())


def collectable(task: Task) -> bool:
    """Whether `tiltflow data collect` can make the data of the task without any download."""
    return task.family == "pointmaze" or (
        task.family == "ogbench" and task.dataset.startswith(("pointmaze", "cube", "scene", "puzzle"))
    )


@cache
def _tasks() -> dict[str, Task]:
    return {task.name: task for tasks in (_pointmaze(), _ogbench(), _d4rl()) for task in tasks}


def _pointmaze() -> Iterator[Task]:
    for size, (environment, horizon, _) in _POINT_MAZES.items():
        yield Task(
            f"pointmaze/{size}-v0", "pointmaze", f"pointmaze-{size}-v0", environment, "success", "%",
            horizon, None, "point mass to a fixed corner of the maze; reward 1 within 0.5 of it",
        )  # fmt: skip


def _ogbench() -> Iterator[Task]:
    for data, horizon in _OGBENCH.items():
        place = data.rpartition("-")[0]
        for suffix in ("", *(f"-task{number}" for number in range(1, 6))):
            yield Task(
                f"ogbench/{data}-singletask{suffix}-v0", "ogbench", f"{data}-v0",
                f"{place}-singletask{suffix}-v0", "success", "%", horizon, None,
                f"{place}, {'default task' if not suffix else suffix[1:]}; reward −(unmet subgoals)",
            )  # fmt: skip


def _d4rl() -> Iterator[Task]:
    for robot, (environment, reference) in _LOCOMOTION.items():
        for data in _LOCOMOTION_DATA:
            yield _d4rl_task(f"{robot}-{data}-v2", environment, 1000, reference, "run forward")
    for robot, (environment, horizon, reference) in _ADROIT.items():
        for data in ("human", "cloned", "expert"):
            yield _d4rl_task(f"{robot}-{data}-v1", environment, horizon, reference, "24-joint hand")
    for size, (environment, horizon, reference) in _POINT_MAZES.items():
        yield _d4rl_task(f"maze2d-{size}-v1", environment, horizon, reference, "point mass in D4RL's frame")


def _d4rl_task(
    dataset: str, environment: str, horizon: int, reference: tuple[float, float], description: str
) -> Task:
    return Task(
        f"d4rl/{dataset}", "d4rl", dataset, environment, "normalized return", "points", horizon,
        reference, description,
    )  # fmt: skip


def _minari(dataset: str, environment: str) -> Task:
    """Score of a Minari data set: success in mazes, D4RL's reference where its robot has one, else return."""
    words = dataset.lower().split("/")
    references = {robot: reference for robot, (_, reference) in _LOCOMOTION.items()}
    references |= {robot: reference for robot, (_, _, reference) in _ADROIT.items()}
    reference = next((references[word] for word in words if word in references), None)
    if any(word in ("pointmaze", "antmaze") for word in words):
        metric, unit, reference = "success", "%", None
    elif reference:
        metric, unit = "normalized return", "points"
    else:
        metric, unit = "return", "return"
    return Task(
        f"minari/{dataset}", "minari", dataset, environment, metric, unit, _DEFAULT_HORIZON, reference,
        "Minari data set; environment recovered from it",
    )  # fmt: skip
