"""What a run has learned, read back from its folder."""

from pathlib import Path
from typing import NamedTuple

from tiltflow.agents.base import Agent
from tiltflow.data.transitions import Spec
from tiltflow.errors import UserError
from tiltflow.files import read_object
from tiltflow.training.config import TrainConfig
from tiltflow.training.evaluator import of_one_seed
from tiltflow.training.group import make_agent, read_config, seed_groups
from tiltflow.training.loop import INIT, Observe, seed_keys
from tiltflow.training.policy import RunState, identity_scaler, init_state
from tiltflow.training.restore import restore_group
from tiltflow.training.schedule import Schedule


class LoadedRun(NamedTuple):
    """What a run has learned: its agent, and the state of each seed, after `step` gradient steps."""

    config: TrainConfig
    agent: Agent
    schedule: Schedule
    spec: Spec
    checksum: str
    states: list[RunState]
    step: int


def origin(run: Path) -> tuple[str, Spec]:
    """The checksum and the sizes of the data that a run was trained on. Raises UserError without them."""
    path = run / "environment.json"
    data = read_object(path, "data")["data"]
    try:
        return data["checksum"], Spec(data["observation_size"], data["action_size"])
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged: 'data' has no {error}. Restore it from a copy.") from error


def load_run(run: Path, observe: Observe) -> LoadedRun:
    """The newest checkpoints of a run; `observe` is told what is damaged or unfinished.

    Raises UserError where a seed has none, or seeds have come to different steps.
    """
    config = read_config(run)
    checksum, spec = origin(run)
    agent, schedule = make_agent(config, spec)
    states, steps = [], dict[int, int]()
    for seeds in seed_groups(config, run):
        fresh = init_state(agent, identity_scaler(spec), seed_keys(seeds, INIT))
        state, step, _, problems = restore_group(config, run, seeds, checksum, None, fresh)
        for problem in problems:
            observe({"event": "message", "level": "warning", "text": problem})
        steps |= dict.fromkeys(seeds, step)
        states += [of_one_seed(state, seeds, index) for index in range(len(seeds))]
    if max(steps.values()) == 0:
        raise UserError(
            f"{run} has no checkpoint yet, and so no policy. Train it with: tiltflow train --resume {run}"
        )
    if len(set(steps.values())) > 1:
        reached = ", ".join(f"seed {seed}: {step:,}" for seed, step in steps.items())
        raise UserError(
            f"The policies of {run} are not those of one training: every seed needs a checkpoint of the same "
            f"step, and the newest are of {reached}. Train to the end with: tiltflow train --resume {run}"
        )
    if step < schedule.steps:
        text = f"{run} is not finished: this is its state after step {step:,} of {schedule.steps:,}."
        observe({"event": "message", "level": "warning", "text": text})
    return LoadedRun(config, agent, schedule, spec, checksum, states, step)
