"""What is to be run: tasks × agents × variants × seeds, and each config. Standard library only."""

import re
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from tiltflow.agents.registry import ALGORITHMS, PRESETS, named_preset
from tiltflow.benchmark.vary import variants, with_variant
from tiltflow.benchmark_file import PlannedRun
from tiltflow.errors import UserError, check_names
from tiltflow.model_settings import NetworkConfig
from tiltflow.tasks import find_task, refuse_nothing_to_play
from tiltflow.train_config import TrainConfig


@dataclass(frozen=True)
class Plan:
    """Which tasks, agents and seeds, and how long.

    `network` is (units of a layer, hidden layers); of `vary`, "KEY=VALUE,VALUE", all combinations are run.

    Raises UserError for unknown names, names that occur twice and numbers that are out of range.
    """

    tasks: tuple[str, ...]
    agents: tuple[str, ...]
    seeds: int
    seed: int
    steps: int | None
    """None: those of each preset, else those of any training; likewise `evaluations`."""
    evaluations: int | None
    episodes: int
    data: str | None = None
    network: tuple[int, int] | None = None
    normalize_observations: bool = True
    play: bool = True
    preset: str = PRESETS[0]
    vary: tuple[str, ...] = ()
    env: str | None = None
    columns: str | None = None
    reward: str | None = None
    action_bounds: str | None = None

    def __post_init__(self) -> None:
        check_names("task", self.tasks)
        check_names("agent", self.agents)
        for task in self.tasks:
            refuse_nothing_to_play(find_task(task, self.env), self.play)
        for agent in self.agents:
            ALGORITHMS.find(agent)
        if self.seeds < 1:
            raise UserError(f"seeds = {self.seeds}: it must be at least 1.")
        for run in self.runs():
            self.config(run)

    def runs(self) -> list[PlannedRun]:
        """Every run, in the order of the queue: one seed of everything before the next seed."""
        return [
            PlannedRun(task, agent, seed, variant)
            for seed in range(self.seed, self.seed + self.seeds)
            for task in self.tasks
            for agent in self.agents
            for variant in variants(agent, ALGORITHMS.find(agent).config, self.vary)
        ]

    def config(self, run: PlannedRun) -> TrainConfig:
        """The training that this run is: the plan's preset of its algorithm on its task."""
        start = named_preset(run.agent, run.task, self.preset)
        agent, steps, evaluations = start.config, self.steps, self.evaluations
        if steps is None:
            steps = start.steps or TrainConfig.steps
        if evaluations is None:
            evaluations = start.evaluations or TrainConfig.evaluations
        if self.network is not None:
            agent = with_networks(agent, *self.network)
        return TrainConfig(
            algorithm=run.agent,
            task=run.task,
            agent=with_variant(run.agent, agent, run.variant),
            data=self.data,
            seed=run.seed,
            steps=steps,
            evaluations=evaluations,
            episodes=self.episodes,
            normalize_observations=self.normalize_observations,
            play=self.play,
            env=self.env,
            columns=self.columns,
            reward=self.reward,
            action_bounds=self.action_bounds,
        )


def parse_network(text: str) -> tuple[int, int]:
    """Read "256x3": units of each hidden layer, number of hidden layers. Raises UserError for other text."""
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise UserError(f"--network {text}: write WIDTHxDEPTH, as in 256x3 for three layers of 256 units.")
    return int(match[1]), int(match[2])


def with_networks(config: Any, width: int, depth: int) -> Any:
    """The same config with this width and depth in every network that it holds, however deep inside."""
    if isinstance(config, NetworkConfig):
        return replace(config, width=width, depth=depth)
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    inner = {
        name: with_networks(value, width, depth) for name, value in values.items() if is_dataclass(value)
    }
    return replace(config, **inner)
