"""The suites by name. Standard library only."""

from dataclasses import dataclass

from tiltflow.errors import check_names


@dataclass(frozen=True)
class Suite:
    """Tasks that are reported together. One that `collects` makes the data that are missing."""

    name: str
    description: str
    tasks: tuple[str, ...]
    collects: bool = False
    own: bool = False
    """Whether the data are the user's, and so also the environment, if there is one."""


def _d4rl(robots: tuple[str, ...], data: tuple[str, ...], version: str) -> tuple[str, ...]:
    return tuple(f"d4rl/{robot}-{kind}-{version}" for robot in robots for kind in data)


SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite(
            "toy",
            "two point mazes, whose data are collected on the spot",
            ("pointmaze/umaze-v0", "pointmaze/medium-v0"),
            collects=True,
        ),
        Suite(
            "ogbench-small",
            "four OGBench tasks: a cube, two of the scene, a point maze",
            (
                "ogbench/cube-single-play-singletask-task2-v0",
                "ogbench/scene-play-singletask-task1-v0",
                "ogbench/scene-play-singletask-task2-v0",
                "ogbench/pointmaze-medium-navigate-singletask-task1-v0",
            ),
        ),
        Suite(
            "ogbench-antmaze",
            "OGBench's ant mazes, task 1 of each (not the data and mazes of D4RL's antmaze)",
            tuple(
                f"ogbench/antmaze-{size}-navigate-singletask-task1-v0"
                for size in ("medium", "large", "giant", "teleport")
            ),
        ),
        Suite(
            "d4rl-locomotion",
            "D4RL's hopper, halfcheetah and walker2d: medium, medium-replay, medium-expert",
            _d4rl(("hopper", "halfcheetah", "walker2d"), ("medium", "medium-replay", "medium-expert"), "v2"),
        ),
        Suite(
            "adroit",
            "D4RL's pen, door, hammer and relocate: human, cloned, expert",
            _d4rl(("pen", "door", "hammer", "relocate"), ("human", "cloned", "expert"), "v1"),
        ),
        Suite(
            "own",
            "your own logs, at --data; scored without a simulator, or in --env",
            ("file/own",),
            own=True,
        ),
    )
}


def find_suite(name: str) -> Suite:
    """The suite of that name. Raises UserError that suggests the nearest one."""
    check_names("suite", (name,), SUITES)
    return SUITES[name]
