"""One group of seeds from its last checkpoint (or none) to the end: data, agent, loop, logs, evaluations."""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tiltflow.agents.base import Agent
from tiltflow.agents.registry import build_agent
from tiltflow.data.load import Dataset, load_dataset
from tiltflow.data.rewards import rescale_rewards
from tiltflow.data.transitions import Spec
from tiltflow.environments import make_environment
from tiltflow.errors import UserError
from tiltflow.files import read_json, read_json_lines
from tiltflow.processes.stopping import StopFlag
from tiltflow.tasks import find_task
from tiltflow.training import checkpoints, logs, reuse
from tiltflow.training.config import TrainConfig, from_dict
from tiltflow.training.evaluator import Evaluator, save_actions
from tiltflow.training.loop import (
    INIT,
    Loop,
    Observe,
    device_columns,
    run,
    seed_keys,
)
from tiltflow.training.policy import (
    RunState,
    data_scaler,
    identity_scaler,
    init_state,
)
from tiltflow.training.restore import fingerprint, restore_group
from tiltflow.training.schedule import Position, Schedule
from tiltflow.trust import trusted


def read_config(run: Path) -> TrainConfig:
    """The config of a run folder. Raises UserError where `run` is none."""
    path = run / "config.json"
    if not path.exists():
        what = "it has no config.json" if run.is_dir() else "there is no such folder"
        raise UserError(
            f"{run} is not a run folder: {what}. Give the folder that `tiltflow train` wrote (its --out)."
        )
    return from_dict(read_json(path), str(path))


def check_environment_named(config: TrainConfig, run: Path) -> None:
    """Raise UserError where the config of a folder names an environment whose module would be imported."""
    module = (config.env or "").rpartition(":")[0]
    if module and module not in sys.modules and not trusted():
        raise UserError(
            f"{run / 'config.json'} names the environment {config.env}: its module would be imported, and "
            "so its code run. If you trust where the folder is from, repeat the command with --trust."
        )


def data_path(config: TrainConfig) -> Path | None:
    """Where the config says that the data are."""
    return None if config.data is None else Path(config.data)


def load_data(config: TrainConfig) -> Dataset:
    """The data set of a config's task, with the rewards that its critic learns from."""
    task = find_task(config.task, config.env)
    dataset = load_dataset(task, data_path(config))
    critic = getattr(config.agent, "critic", None)
    if critic is None:
        return dataset
    return replace(dataset, train=rescale_rewards(dataset.train, critic.rewards))


def check_environment(config: TrainConfig, spec: Spec) -> None:
    """Raise UserError where the task's environment and the data do not have the same sizes."""
    task = find_task(config.task, config.env)
    environment = make_environment(task, data_path(config))
    sizes = len(environment.reset(0)), environment.action_size
    environment.close()
    if sizes != (spec.observation_size, spec.action_size):
        raise UserError(
            f"The data of task {config.task} have observations of {spec.observation_size} and actions of "
            f"{spec.action_size} entries, but its environment {task.environment} has {sizes[0]} and "
            f"{sizes[1]}. Give the data set of this task with --data, or the environment of these data with "
            "--env."
        )


def seed_groups(config: TrainConfig, run: Path) -> list[list[int]]:
    """Seeds that train together: all of them on an accelerator, each alone on a CPU.

    What a run has begun with it keeps, wherever it goes on or is read.
    """
    seeds = config.seed_numbers
    if logs.group_folder(run, seeds).is_dir():
        return [seeds]
    if logs.group_folder(run, seeds[:1]).is_dir():
        return [[seed] for seed in seeds]
    vmapped = config.parallel == "vmap" or (config.parallel == "auto" and jax.default_backend() != "cpu")
    return [seeds] if vmapped else [[seed] for seed in seeds]


def make_agent(config: TrainConfig, spec: Spec) -> tuple[Agent, Schedule]:
    """The agent of a config and the schedule of its run."""
    agent = build_agent(config.algorithm, config.agent, spec, config.steps)
    return agent, Schedule(agent.stages, config)


def train_group(
    config: TrainConfig,
    run_folder: Path,
    seeds: list[int],
    observe: Observe,
    stop: StopFlag,
    dataset: Dataset | None = None,
) -> dict[str, Any]:
    """Train a group of seeds to the end of the schedule; returns what the run's result needs of it.

    `dataset` is that of the config, where it is loaded already. Raises UserError (data, checkpoint),
    TrainingDiverged, Interrupted (after a checkpoint).
    """
    task = find_task(config.task, config.env)
    dataset = load_data(config) if dataset is None else dataset
    spec = dataset.train.spec
    agent, schedule = make_agent(config, spec)
    scaler = data_scaler(dataset.train) if config.normalize_observations else identity_scaler(spec)
    fresh = init_state(agent, scaler, seed_keys(seeds, INIT))
    state, start, trained_before, problems = restore_group(
        config, run_folder, seeds, dataset.checksum, schedule, fresh
    )
    source, reusable = _source(config, seeds, schedule, start, spec, dataset.checksum, fresh)
    folder = logs.group_folder(run_folder, seeds)
    folder.mkdir(parents=True, exist_ok=True)
    for problem in problems:
        observe({"event": "message", "level": "warning", "text": problem})
    logs.cut(folder, start)
    loop = Loop(agent, schedule, seeds, device_columns(dataset.train, scaler), state, observe, stop)
    evaluator = Evaluator(task, data_path(config), agent, seeds, observe, stop)
    began = time.perf_counter()
    played = 0.0

    def seconds() -> float:
        return trained_before + time.perf_counter() - began - played

    def save(step: int) -> None:
        head = {
            "step": step,
            "seconds": seconds(),
            "stage_end": schedule.ends_stage(step),
            "to_play": not config.play and step in schedule.evaluated(step),
            "run": fingerprint(config, dataset.checksum, seeds),
        }
        checkpoints.save(folder / "checkpoints", loop.state, head, keep=config.keep)
        observe({"event": "checkpoint", "seeds": seeds, "step": step})

    def log(here: Position, length: int, spent: float, values: dict[str, np.ndarray]) -> None:
        stage = schedule.stages[here.stage]
        record = {
            "step": here.step + length,
            "stage": stage.name,
            "stage_step": here.stage_step + length,
            "seconds": spent,
            "steps_per_second": length / spent,
            "metrics": {name: value.mean(axis=1).tolist() for name, value in values.items()},
        }
        logs.append(folder / logs.METRICS, record)
        observe({"event": "chunk", "seeds": seeds, "stage_steps": stage.steps, **record})

    def evaluate(here: Position, length: int) -> None:
        nonlocal played
        if not config.play:
            return
        record = evaluator.scheduled(loop.state, schedule, here.step + length)
        played += record["seconds"]
        logs.append(folder / logs.EVALUATIONS, record)
        event = {"event": "evaluation", "seeds": seeds, "step": record["step"], "score": record["score"]}
        observe(event)

    def adopt(here: Position) -> bool:
        nonlocal trained_before
        if source is None or here.stage not in reusable:
            return False
        stage = schedule.stages[here.stage]
        agent_state = reuse.take(source, reusable[here.stage], stage, loop.refresh(stage, here))
        loop.state = loop.state._replace(agent=agent_state)
        trained_before += reuse.take_metrics(source, schedule, here.stage, seeds, folder)
        text = f"stage {stage.name} of seeds {seeds} is taken over from {source.run}"
        observe({"event": "message", "level": "info", "text": text})
        return True

    for here, length in schedule.chunks(0):
        logged = {record["step"] for record in read_json_lines(folder / logs.EVALUATIONS)}
        if here.step + length == start and schedule.evaluates(here, length) and start not in logged:
            evaluate(here, length)  # the run was stopped between this edge's checkpoint and its evaluation
    run(loop, start, log=log, evaluate=evaluate, save=save, adopt=adopt)
    save_actions(folder / "actions.npz", evaluator, loop, dataset)
    return {"train_seconds": seconds(), "steps": schedule.steps}


def _source(
    config: TrainConfig,
    seeds: list[int],
    schedule: Schedule,
    start: int,
    spec: Spec,
    checksum: str,
    fresh: RunState,
) -> tuple[reuse.Source | None, dict[int, Path]]:
    """The run to take stages from, and those that fit. Raises UserError where none does.

    A run that goes on at step `start` in or behind its last stage but one has nothing left to take.
    """
    last_taken = schedule.begin(len(schedule.stages) - 2) if len(schedule.stages) > 1 else 0
    if config.reuse is None or start > last_taken:
        return None, {}
    theirs = read_config(Path(config.reuse))
    agent, their_schedule = make_agent(theirs, spec)
    like = init_state(agent, identity_scaler(spec), seed_keys(seeds, INIT))
    source = reuse.Source(Path(config.reuse), their_schedule, like)
    return source, reuse.find(source, schedule, seeds, checksum, fresh)
