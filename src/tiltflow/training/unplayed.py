"""Playing what a training with `--no-play` has left to be played: the checkpoints that it kept for it."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tiltflow.errors import UserError
from tiltflow.evaluation.lines import read_evaluations
from tiltflow.files import write_json, write_json_lines
from tiltflow.processes.locks import locked
from tiltflow.processes.stopping import stop_on_signals
from tiltflow.tasks import find_task
from tiltflow.training import checkpoints, logs
from tiltflow.training.config import to_dict
from tiltflow.training.evaluator import Evaluator
from tiltflow.training.group import (
    check_environment,
    check_environment_named,
    data_path,
    make_agent,
    read_config,
    seed_groups,
)
from tiltflow.training.load_run import origin
from tiltflow.training.loop import INIT, Observe, seed_keys
from tiltflow.training.policy import RunState, identity_scaler, init_state
from tiltflow.training.restore import fingerprint
from tiltflow.training.run import conclude, started
from tiltflow.training.schedule import Schedule


class Kept(NamedTuple):
    """A group of seeds: where its files are, how far it has come, and a state to read checkpoints into."""

    seeds: list[int]
    folder: Path
    step: int
    seconds: float
    like: RunState


def unplayed(run: Path) -> bool:
    """Whether a run was trained without playing, and its evaluations are still to be played."""
    return not read_config(run).play


def play_kept(run: Path, observe: Observe) -> bool:
    """Play every kept checkpoint of a run whose evaluations are not logged; True when the run is finished.

    The episodes, the logs and, where the training is at its end, result.json and report.html are those of a
    run that had played while training; its config.json then says so. No data are needed. Stopped, it goes
    on with the next checkpoint when called again. Raises UserError where a checkpoint is missing or
    damaged, or the environment is not that of the data; Interrupted between two episodes.
    """
    config = read_config(run)
    check_environment_named(config, run)
    checksum, spec = origin(run)
    check_environment(config, spec)
    agent, schedule = make_agent(config, spec)
    with locked(run), stop_on_signals() as stop:
        groups = seed_groups(config, run)
        kept = [_kept(run, seeds, init_state(agent, identity_scaler(spec), seed_keys(seeds, INIT)))
                for seeds in groups]  # fmt: skip
        observe(started(config, schedule, run))
        evaluator = Evaluator(find_task(config.task, config.env), data_path(config), agent, [], observe, stop)
        for group in kept:
            evaluator.seeds = group.seeds
            _play_group(evaluator, schedule, group, fingerprint(config, checksum, group.seeds), observe)
            logs.merge(run, groups)
        if min(group.step for group in kept) < schedule.steps:
            return False
        played = replace(config, play=True)
        conclude(played, run, schedule.steps, max(group.seconds for group in kept), observe)
        write_json(run / "config.json", to_dict(played))
    return True


def _kept(run: Path, seeds: list[int], like: RunState) -> Kept:
    folder = logs.group_folder(run, seeds)
    found = checkpoints.found(folder / "checkpoints")
    if not found:
        raise UserError(f"{run} has no checkpoint of seed {seeds[0]} yet, and so nothing to play.")
    head, _ = checkpoints.read(found[-1])
    return Kept(seeds, folder, head["step"], head["seconds"], like)


def _play_group(
    evaluator: Evaluator, schedule: Schedule, group: Kept, expected: dict, observe: Observe
) -> None:
    """Play and log the evaluations that were due up to the group's newest checkpoint and are not logged."""
    records = read_evaluations(group.folder, len(group.seeds))
    there = {record["step"] for record in records}
    for step in schedule.evaluated(group.step):
        if step in there:
            continue
        path = group.folder / "checkpoints" / checkpoints.name(step)
        if not path.exists():
            raise UserError(
                f"{path} is missing: it was kept to be played. Restore it from a copy, or train again."
            )
        state, _ = checkpoints.restore(path, group.like, expected)
        record = evaluator.scheduled(state, schedule, step)
        records = sorted([*records, record], key=lambda line: line["step"])
        write_json_lines(group.folder / logs.EVALUATIONS, records)
        observe({"event": "evaluation", "seeds": group.seeds, "step": step, "score": record["score"]})
