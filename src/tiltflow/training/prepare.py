"""A run, made ready once from its config: what training, playing and reading it all take from here."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tiltflow.accelerators import compute_deterministically
from tiltflow.agents.base import Agent
from tiltflow.data.audit import Finding
from tiltflow.data.columns import HOW_TO_REWARD
from tiltflow.data.held_out import hold_out
from tiltflow.data.interface import PolicyInterface, plain_interface, stored_interface
from tiltflow.data.load import Dataset, load_dataset
from tiltflow.data.rewards import rescale_rewards
from tiltflow.data.transitions import Spec
from tiltflow.environments import Environment, make_environment
from tiltflow.errors import UserError
from tiltflow.packages import device_fault
from tiltflow.run_folder import RunFolder
from tiltflow.tasks import Task, find_task, refuse_nothing_to_play, without_rewards
from tiltflow.train_config import TrainConfig, to_dict
from tiltflow.training.lengthen import agent_of
from tiltflow.training.mismatch import audit_bounds, audit_overlap
from tiltflow.training.policy import RunState, identity_scaler, init_state
from tiltflow.training.schedule import Schedule
from tiltflow.training.shared_data import read_shared_data
from tiltflow.trust import trusted

# What may change between a run and its resumption without changing any of its bits.
_FREE = (
    "data", "columns", "reward", "action_bounds", "data_on", "keep", "checkpoint_every", "parallel", "reuse",
    "deterministic", "play", "seeds", "seed", "format", "ends",
)  # fmt: skip


@dataclass(frozen=True)
class Prepared:
    """The config of a run and what follows from it. The rows of its data are passed beside it."""

    config: TrainConfig
    task: Task
    spec: Spec
    interface: PolicyInterface
    """What observations and actions are outside of the agent."""
    checksum: str
    """Of the data."""
    agent: Agent
    schedule: Schedule

    def with_config(self, config: TrainConfig) -> "Prepared":
        """Another config of the same task and data."""
        return _prepared(config, self.task, self.spec, self.interface, self.checksum)

    def init(self, seeds: list[int]) -> RunState:
        """The state of a group of seeds before its first step, with observations as they are."""
        return init_state(self.agent, identity_scaler(self.spec), seeds)

    def fingerprint(self, seeds: list[int]) -> dict[str, Any]:
        """What a checkpoint is a function of: the config without its free keys, the data and the seeds."""
        record = {key: value for key, value in to_dict(self.config).items() if key not in _FREE}
        return {**record, "data_checksum": self.checksum, "group": seeds}

    def make_environment(self) -> Environment:
        """The environment that the run is evaluated in."""
        return make_environment(self.task, _data_path(self.config), self.interface.bounds)


def _prepared(
    config: TrainConfig, task: Task, spec: Spec, interface: PolicyInterface | None, checksum: str
) -> Prepared:
    agent = agent_of(config, spec)
    schedule = Schedule(agent.stages, config)
    return Prepared(config, task, spec, interface or plain_interface(spec), checksum, agent, schedule)


def prepare(config: TrainConfig) -> tuple[Prepared, Dataset]:
    """A run that is to be trained, and its data, with the rewards that its critic learns from.

    Raises UserError for an unknown task, for data that are missing or wrong, for settings that do not fit.
    """
    if config.deterministic:
        compute_deterministically()
    if fault := device_fault():
        raise UserError(fault)
    task = find_task(config.task, config.env)
    refuse_nothing_to_play(task, config.play)
    dataset = load_data(config, task)
    return _prepared_on(config, task, dataset), dataset


def prepare_from_shared(run: RunFolder) -> tuple[Prepared, Dataset]:
    """The same in a process of some seeds of the run, of what the process that started it has loaded."""
    config = run.read_config()
    if config.deterministic:
        compute_deterministically()
    dataset = read_shared_data(run, config.estimate.held_out)
    return _prepared_on(config, find_task(config.task, config.env), dataset), dataset


def _prepared_on(config: TrainConfig, task: Task, dataset: Dataset) -> Prepared:
    task = task if dataset.rewarded else without_rewards(task)
    return _prepared(config, task, dataset.train.spec, dataset.interface, dataset.checksum)


def load_data(config: TrainConfig, task: Task) -> Dataset:
    """The data set of the task, with the rewards that the config's critic learns from."""
    dataset = load_dataset(task, _data_path(config), config.column_choice())
    if not task.played:
        train, held_out = hold_out(dataset.train, config.estimate.held_out)
        dataset = replace(dataset, train=train, validation=held_out.rows, held_out=held_out, moments=None)
    dataset = replace(dataset, findings=(*dataset.findings, *audit_overlap(dataset)))
    critic = getattr(config.agent, "critic", None)
    if critic is None:
        return dataset
    if not dataset.rewarded:
        raise UserError(
            f"{config.algorithm} learns from rewards, and {dataset.source} has none. {HOW_TO_REWARD}; or "
            "train bc-flow or bc-diffusion, which clone."
        )
    return replace(dataset, train=rescale_rewards(dataset.train, critic.rewards))


def prepare_folder(run: RunFolder, *, to_play: bool = False) -> Prepared:
    """A run that has been trained, without its data: their sizes and checksum stand in its folder.

    Raises UserError where the folder is no run's or is damaged; and, of a run to be played, where it names
    code to be run that nobody has vouched for.
    """
    config = run.read_config()
    if to_play:
        check_trusted(config, run)
    data = run.read_environment()["data"]
    try:
        spec, checksum = Spec(data["observation_size"], data["action_size"]), data["checksum"]
    except KeyError as error:
        raise UserError(
            f"{run.environment_file} is damaged: 'data' has no {error}. Restore it from a copy."
        ) from error
    interface = stored_interface(data, spec, str(run.environment_file))
    return _prepared(config, run.read_task(), spec, interface, checksum)


def seed_groups(config: TrainConfig, run: RunFolder) -> list[list[int]]:
    """Seeds that train together: all of them on an accelerator, each alone on a CPU.

    What a run has begun with it keeps, wherever it goes on or is read.
    """
    seeds = config.seed_numbers
    apart = [[seed] for seed in seeds]
    if run.group(seeds).path.is_dir():
        return [seeds]
    if run.group(seeds[:1]).path.is_dir():
        return apart
    return [seeds] if vmapped(config) else apart


def vmapped(config: TrainConfig) -> bool:
    """Whether what has one program trains as an axis of it, and not in processes."""
    wanted = config.parallel in ("vmap", "shard")
    return wanted or (config.parallel == "auto" and jax.default_backend() != "cpu")


def check_trusted(config: TrainConfig, run: RunFolder) -> None:
    """Raise UserError where the config of a folder names an environment whose module would be imported."""
    module = (config.env or "").rpartition(":")[0]
    if module and module not in sys.modules and not trusted():
        raise UserError(
            f"{run.config_file} names the environment {config.env}: its module would be imported, and "
            "so its code run. If you trust where the folder is from, repeat the command with --trust."
        )


def check_environment(prepared: Prepared, dataset: Dataset | None = None) -> list[Finding]:
    """Warnings of a task's environment, where its data are given.

    Raises UserError where the environment and the data do not have the same sizes.
    """
    task, spec = prepared.task, prepared.spec
    if not task.played:
        return []
    environment = prepared.make_environment()
    sizes = len(environment.reset(0)), environment.action_size
    environment.step(np.zeros(environment.action_size, np.float32))
    environment.close()
    if sizes != (spec.observation_size, spec.action_size):
        raise UserError(
            f"The data of task {task.name} have observations of {spec.observation_size} and actions of "
            f"{spec.action_size} entries, but its environment {task.environment} has {sizes[0]} and "
            f"{sizes[1]}. Give the data set of this task with --data, or the environment of these data with "
            "--env."
        )
    if dataset is None or task.source.open_task is None:
        return []
    return audit_bounds(dataset, environment, task.environment)


def _data_path(config: TrainConfig) -> Path | None:
    return None if config.data is None else Path(config.data)
