"""`d4rl/`: D4RL's HDF5 files, played in the maintained environments that are nearest to its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiltflow.data.locate import locate_files
from tiltflow.data.sources.pointmaze import POINT_MAZES
from tiltflow.tasks import DataSource, Task

if TYPE_CHECKING:
    from tiltflow.data.audit import Finding
    from tiltflow.data.formats import Recording

# Reference returns: D4RL's infos.py (the -v2 names use the values of -v0, the adroit -v1 names likewise).
# Walker2d-v5 has another friction of a foot than the simulator that recorded D4RL's data; -v4 has theirs.
_LOCOMOTION = {
    "hopper": ("Hopper-v5", 1000, (-20.272305, 3234.3)),
    "halfcheetah": ("HalfCheetah-v5", 1000, (-280.178953, 12135.0)),
    "walker2d": ("Walker2d-v4", 1000, (1.629008, 4592.3)),
    "ant": ("Ant-v5", 1000, (-325.6, 3879.7)),
}
_ADROIT = {
    "pen": ("AdroitHandPen-v1", 100, (96.262799, 3076.8331017826877)),
    "door": ("AdroitHandDoor-v1", 200, (-56.512833, 2880.5693087298737)),
    "hammer": ("AdroitHandHammer-v1", 200, (-274.856578, 12794.134825156867)),
    "relocate": ("AdroitHandRelocate-v1", 200, (-6.425911, 4233.877797728884)),
}
REFERENCES = {robot: reference for robot, (_, _, reference) in (_LOCOMOTION | _ADROIT).items()}
"""The returns of a robot that count as 0 and 100 points."""

_GROUPS = (
    (_LOCOMOTION, "{}-{}-v2", ("random", "medium", "expert", "medium-replay", "full-replay", "medium-expert"),
     "run forward"),
    (_ADROIT, "{}-{}-v1", ("human", "cloned", "expert"), "24-joint hand"),
    (POINT_MAZES, "maze2d-{}-v1", ("",), "point mass in D4RL's frame"),
)  # fmt: skip

# D4RL's ant has neither contact forces in its reward nor (as numbers other than 0) in its observations.
_ANT = {"include_cfrc_ext_in_observation": False, "contact_cost_weight": 0.0}


def _tasks() -> Iterator[Task]:
    for robots, name, kinds, description in _GROUPS:
        for robot, (environment, horizon, reference) in robots.items():
            for dataset in (name.format(robot, kind) for kind in kinds):
                yield Task(
                    f"d4rl/{dataset}", dataset, environment, "normalized return", "points", horizon,
                    reference, description,
                )  # fmt: skip


def _environment(task: Task, data: Path | None) -> Any:
    from tiltflow.environments import make_named
    from tiltflow.mazes import make_maze

    if task.dataset.startswith("maze2d"):
        return make_maze(task.environment, task.horizon, d4rl_frame=True)
    arguments = _ANT if task.environment.startswith("Ant-") else {}
    return make_named(task.environment, max_episode_steps=task.horizon, **arguments)


def complete(task: Task, recordings: "list[Recording]") -> "list[Finding]":
    """D4RL's ant observes 84 contact forces after its 27 coordinates, which its simulator left at 0."""
    from tiltflow.data.audit import Finding

    findings = []
    for file, columns in recordings if task.dataset.startswith("ant-") else []:
        if columns["observations"].shape[1] == 111 and not columns["observations"][:, 27:].any():
            for key in {"observations", "next_observations"} & columns.keys():
                columns[key] = columns[key][:, :27]
            text = "the last 84 of 111 columns are 0: left out."
            findings.append(Finding("warning", file, "observations", None, text))
    return findings


SOURCE = DataSource(
    "d4rl",
    locate=locate_files,
    environment=_environment,
    tasks=_tasks,
    complete=complete,
    folders=("~/.d4rl/datasets",),
    copies="a copy of D4RL's {}.hdf5 (see https://github.com/Farama-Foundation/D4RL)",
    packages=("h5py",),
)
