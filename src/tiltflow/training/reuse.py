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

from tiltflow.agents.base import Stage
from tiltflow.errors import UserError
from tiltflow.files import read_json_lines
from tiltflow.training import checkpoints, logs
from tiltflow.training.config import with_defaults
from tiltflow.training.policy import RunState
from tiltflow.training.schedule import Schedule


@dataclass(frozen=True)
class Source:
    """Another run: its folder, its schedule, and a state of its structure to read checkpoints into."""

    run: Path
    schedule: Schedule
    like: RunState


def _identity(stage: Stage, schedule: Schedule) -> dict[str, Any]:
    config = schedule.config
    return {
        "stage": stage.name,
        "steps": stage.steps,
        "batch_size": stage.batch_size,
        "depends": dict(stage.depends),
        "normalize_observations": config.normalize_observations,
    }


def find(
    source: Source, schedule: Schedule, seeds: list[int], checksum: str, fresh: RunState
) -> dict[int, Path]:
    """The stages of `schedule` that `source` has finished with the same outcome: number -> checkpoint.

    Both runs must begin with the same bits of what the stage owns, so `fresh` is this run's first state.
    The last stage is none of them: it is evaluated on its way, which needs states that no checkpoint holds.
    Raises UserError where there is none.
    """
    found: dict[int, Path] = {}
    pairs = zip(schedule.stages[:-1], source.schedule.stages, strict=False)
    for index, (ours, theirs) in enumerate(pairs):
        end = source.schedule.begin(index) + theirs.steps
        path = logs.group_folder(source.run, seeds) / "checkpoints" / checkpoints.name(end)
        if not ours.owns or not path.exists():
            continue
        try:
            run = checkpoints.read(path)[0].get("run", {})
        except checkpoints.Damaged:
            continue
        same_origin = run.get("data_checksum") == checksum and run.get("group") == seeds
        if not same_origin or _identity(ours, schedule) != _identity(theirs, source.schedule):
            continue
        if all(_same_bits(getattr(fresh.agent, f), getattr(source.like.agent, f)) for f in ours.owns):
            found[index] = path
    if not found:
        raise UserError(
            f"Nothing of {source.run} can be reused: no stage before this run's last one is finished there "
            "with the same config, steps, data, seed and first weights. Leave --reuse out, or give the "
            "stages the same settings and steps."
        )
    return found


def _same_bits(one: Any, other: Any) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def take(source: Source, path: Path, stage: Stage, state: Any) -> Any:
    """The agent's state with the fields that the stage owns as they are in the source's checkpoint."""
    expected = with_defaults(checkpoints.read(path)[0]["run"])  # the run may be older than some settings
    theirs, _ = checkpoints.restore(path, source.like, expected)
    return state._replace(**{name: getattr(theirs.agent, name) for name in stage.owns})


def take_metrics(source: Source, schedule: Schedule, index: int, seeds: list[int], folder: Path) -> float:
    """Copy the metrics that the source logged in the stage, at this run's steps; returns its seconds there.

    The source's evaluations are not copied: they may be more or fewer than this run's, of other episodes
    or in another environment.
    """
    name = schedule.stages[index].name
    shift = schedule.begin(index) - source.schedule.begin(index)
    seconds = 0.0
    for record in read_json_lines(logs.group_folder(source.run, seeds) / logs.METRICS):
        if record["stage"] == name:
            logs.append(folder / logs.METRICS, {**record, "step": record["step"] + shift})
            seconds += record["seconds"]
    return seconds
