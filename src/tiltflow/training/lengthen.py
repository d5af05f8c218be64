"""Making a finished run longer: its last stage goes on from where it ended, and nothing before changes."""

import math
from dataclasses import replace

from tiltflow.agents.base import Agent, Stage
from tiltflow.agents.registry import build_agent
from tiltflow.data.transitions import Spec
from tiltflow.errors import UserError
from tiltflow.run_folder import RunFolder
from tiltflow.settings import flat, override
from tiltflow.train_config import TrainConfig


def agent_of(config: TrainConfig, spec: Spec) -> Agent:
    """The agent of a config; where the run was lengthened, with its last stage as long as that needs.

    Raises UserError for an algorithm whose last stage cannot be lengthened without changing an earlier one.
    """
    agent = build_agent(config.algorithm, config.agent, spec, config.steps)
    if not config.ends:
        return agent
    steps = {stage.name: stage.steps for stage in agent.stages}
    more = config.ends[-1] - sum(steps.values())
    settings = config.agent
    if hasattr(settings, "lengthened"):
        settings = settings.lengthened(steps)
    steps[agent.stages[-1].name] += more
    fields = [name for name in vars(settings) if name.endswith("_steps")]
    rows = {
        field: count
        for name, count in steps.items()
        for field in fields
        if name.replace("-", "_").startswith(field.removesuffix("_steps"))
    }
    longer = build_agent(config.algorithm, override(settings, rows), spec, config.ends[-1])
    if {stage.name: stage.steps for stage in longer.stages} != steps:
        raise UserError(
            f"{config.algorithm} cannot be lengthened: its settings do not fix the steps of each stage "
            f"({', '.join(steps)}), and those before the last one would change."
        )
    return longer


def lengthened(
    config: TrainConfig, run: RunFolder, steps: int, done: int, groups: list[list[int]]
) -> TrainConfig:
    """The config of the run with so many gradient steps in all, where `done` are its end so far.

    Raises UserError where that is no more, or where a seed has not come to the end yet.
    """
    if steps <= done:
        raise UserError(
            f"--steps {steps}: {run.path} has {done:,} gradient steps already. Give the new sum "
            f"of all stages: more than {done}."
        )
    reached = min(max((int(p.stem[5:]) for p in run.group(g).checkpoints()), default=0) for g in groups)
    if reached < done:
        raise UserError(
            f"{run.path} is at step {reached:,} of {done:,}: a run is lengthened when it is trained. First: "
            f"tiltflow train --resume {run.path}"
        )
    return replace(config, ends=(*(config.ends or (done,)), steps))


def told(config: TrainConfig, before: Stage, after: Stage) -> str:
    """What becomes of the last stage, in words."""
    text = f"The stage {after.name} goes from {before.steps:,} to {after.steps:,} gradient steps."
    decays = {
        key
        for key, value in flat(config.agent).items()
        if key.split(".")[-1] == "decay" and value == "cosine"
    }
    if decays:
        left = 50 * (1 + math.cos(math.pi * before.steps / after.steps))
        text += (
            f" Step sizes that fall along a cosine ({', '.join(sorted(decays))}) had come to 0, and "
            f"go on along the cosine of the longer stage: from {left:.0f} % of their start to 0 again."
        )
    return text
