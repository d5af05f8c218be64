"""`ogbench/`: the single-task tasks of OGBench 1.2, on published files or on data collected here."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiltflow.data.locate import locate_files
from tiltflow.tasks import Collection, DataSource, Task

if TYPE_CHECKING:
    from tiltflow.data.audit import Finding
    from tiltflow.data.formats import Recording

# Official horizons, in environment steps.
_MANIPULATION = {
    "cube-single": 200, "cube-double": 500, "cube-triple": 1000, "cube-quadruple": 1000, "scene": 750,
    "puzzle-3x3": 500, "puzzle-4x4": 500, "puzzle-4x5": 1000, "puzzle-4x6": 1000,
}  # fmt: skip
_NAVIGATION = {
    "pointmaze-medium": 1000, "pointmaze-large": 1000, "pointmaze-giant": 1000, "pointmaze-teleport": 1000,
    "antmaze-medium": 1000, "antmaze-large": 1000, "antmaze-giant": 1000, "antmaze-teleport": 1000,
    "humanoidmaze-medium": 2000, "humanoidmaze-large": 2000, "humanoidmaze-giant": 4000,
    "antsoccer-arena": 1000, "antsoccer-medium": 1000,
}  # fmt: skip
_HORIZONS = {
    **{f"{place}-{kind}": steps for place, steps in _MANIPULATION.items() for kind in ("play", "noisy")},
    **{f"{place}-navigate": steps for place, steps in _NAVIGATION.items()},
}

# Training episodes of the published data sets, where they are not 1000.
_EPISODES = {"cube-triple": 3000, "cube-quadruple": 5000, "puzzle-4x5": 3000, "puzzle-4x6": 5000}


def _tasks() -> Iterator[Task]:
    for data, horizon in _HORIZONS.items():
        place = data.rpartition("-")[0]
        for suffix in ("", *(f"-task{number}" for number in range(1, 6))):
            yield Task(
                f"ogbench/{data}-singletask{suffix}-v0", f"{data}-v0", f"{place}-singletask{suffix}-v0",
                "success", "%", horizon, None,
                f"{place}, {'default task' if not suffix else suffix[1:]}; reward −(unmet subgoals)",
            )  # fmt: skip


def _environment(task: Task, data: Path | None) -> Any:
    """Success and reward after the step, as in OGBench 1.1, with which the published numbers were made."""
    from tiltflow.environments import make_ogbench

    return make_ogbench(task.environment, max_episode_steps=task.horizon, success_timing="post")


def _complete(task: Task, recordings: "list[Recording]") -> "list[Finding]":
    from tiltflow.data.relabel import add_rewards

    return add_rewards(task, recordings)


def _collection(task: Task) -> Collection | None:
    if not task.dataset.startswith(("pointmaze", "cube", "scene", "puzzle")):
        return None
    place = task.dataset.removesuffix("-v0").rpartition("-")[0]
    return Collection(_EPISODES.get(place, 1000), _protocol)


def _protocol(task: Task) -> Any:
    if "-navigate" in task.dataset:
        from tiltflow.data.collect_navigate import NavigateProtocol

        return NavigateProtocol(task)
    from tiltflow.data.collect_manipulation import ManipulationProtocol

    return ManipulationProtocol(task)


def _listed(task: Task) -> str:
    """The five tasks of a data set share the row of its default task."""
    return f"{task.name.partition('-singletask')[0]}-singletask[-task1…5]-v0"


SOURCE = DataSource(
    "ogbench",
    locate=locate_files,
    environment=_environment,
    tasks=_tasks,
    states=True,
    complete=_complete,
    collection=_collection,
    folders=("~/.ogbench/data",),
    copies="a copy of the published {}.npz (see https://github.com/seohongpark/ogbench)",
    packages=("ogbench",),
    listed=_listed,
    note=(
        "FQL's code, where presets were found, has networks of 4×512, takes observations as they are\n"
        "and trains for 1,000,000 steps. Here none of it is so unless it is given: --network 512x4\n"
        "(benchmark) or --set. (train), --normalize-observations False, --steps 1000000."
    ),
)
