"""Taking over finished stages of another run, where training them anew would give the same bits.

A stage's outcome is a function of its first weights, its config, its steps, the data and the seed.
Behaviour cloning is the first stage of QIPO, say, and a critic may serve several policies: trained once,
both can be reused while the improvement is varied.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from tiltflow.accelerators import on_accelerator
from tiltflow.agents.base import Stage
from tiltflow.errors import UserError
from tiltflow.files import read_json_lines
from tiltflow.run_folder import RunFolder
from tiltflow.tasks import find_task
from tiltflow.train_config import TrainConfig
from tiltflow.training import checkpoints
from tiltflow.training.policy import RunState
from tiltflow.training.prepare import Prepared, seed_groups
from tiltflow.training.schedule import Schedule
from tiltflow.training.under_way import Training


@dataclass(frozen=True)
class Reusable:
    """What can be taken over from another run: its checkpoints at the end of stages, by their numbers."""

    run: Path
    group: RunFolder
    schedule: Schedule
    like: RunState
    """A state of the other run's structure, to read checkpoints into."""
    checkpoints: dict[int, Path]

    def take(self, index: int, stage: Stage, state: Any) -> Any:
        """The agent's state with the fields that the stage owns as they are in the other run's checkpoint."""
        path = self.checkpoints[index]
        theirs = checkpoints.decode(path, *checkpoints.read(path), self.like)
        return state._replace(**{name: getattr(theirs.agent, name) for name in stage.owns})

    def take_metrics(self, index: int, begin: int, group: RunFolder) -> float:
        """Copy into `group` what was logged in the stage, which begins at step `begin` here; its seconds.

        Evaluations are not copied: they may be more or fewer than this run's, of other episodes or in
        another environment.
        """
        name, shift = self.schedule.stages[index].name, begin - self.schedule.begin(index)
        seconds = 0.0
        for line in read_json_lines(self.group.metrics_file):
            if line["stage"] == name:
                group.log_metrics({**line, "step": line["step"] + shift})
                seconds += line["seconds"]
        return seconds


def find_reusable(prepared: Prepared, seeds: list[int], start: int, fresh: RunState) -> Reusable | None:
    """What the run that `config.reuse` names has finished with the same outcome; None where none is asked.

    Both runs must begin with the same bits of what a stage owns: `fresh` is this run's first state. The last
    stage is never taken: it is evaluated on its way, which needs states that no checkpoint holds. A run that
    goes on at step `start` in or after its last stage but one has nothing left to take. Raises UserError
    where nothing fits.
    """
    schedule, reuse = prepared.schedule, prepared.config.reuse
    if reuse is None or start > schedule.begin(max(len(schedule.stages) - 2, 0)):
        return None
    folder = RunFolder(Path(reuse))
    theirs = prepared.with_config(folder.read_config())
    source = Reusable(folder.path, folder.group(seeds), theirs.schedule, theirs.init(seeds), {})
    for index, (ours, other) in enumerate(zip(schedule.stages[:-1], theirs.schedule.stages, strict=False)):
        path = source.group.checkpoint(theirs.schedule.begin(index) + other.steps)
        if not ours.owns or not path.exists():
            continue
        try:
            run = checkpoints.read(path)[0].get("run", {})
        except checkpoints.Damaged:
            continue
        same_origin = run.get("data_checksum") == prepared.checksum and run.get("group") == seeds
        if not same_origin or _identity(ours, prepared.config) != _identity(other, theirs.config):
            continue
        if all(_same_bits(getattr(fresh.agent, f), getattr(source.like.agent, f)) for f in ours.owns):
            source.checkpoints[index] = path
    if not source.checkpoints:
        raise UserError(
            f"Nothing of {reuse} can be reused: no stage before this run's last one is finished there "
            "with the same config, steps, rows of the data, seed and first weights. Leave --reuse out, or "
            "give the stages the same settings and steps."
        )
    return source


def check_reuse(training: Training) -> None:
    """Raise UserError, before anything is written, where nothing fits of the run that is to be reused."""
    prepared = training.prepared
    if prepared.config.reuse is not None:
        seeds = seed_groups(prepared.config, training.run)[0]
        find_reusable(prepared, seeds, 0, prepared.init(seeds))


def _identity(stage: Stage, config: TrainConfig) -> dict[str, Any]:
    """What the outcome of a stage is a function of, besides data, seed and first weights."""
    return {
        "stage": stage.name,
        "steps": stage.steps,
        "batch_size": stage.batch_size,
        "depends": dict(stage.depends),
        "normalize_observations": config.normalize_observations,
        "held_out": None if find_task(config.task, config.env).played else config.estimate.held_out,
        "precision": config.precision if on_accelerator() else None,
    }


def _same_bits(one: Any, other: Any) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)
