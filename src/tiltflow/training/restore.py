"""Where a group of seeds goes on: its newest checkpoint that is undamaged and whose logs are complete."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tiltflow.errors import UserError
from tiltflow.training import checkpoints, logs
from tiltflow.training.config import TrainConfig, to_dict
from tiltflow.training.policy import RunState
from tiltflow.training.schedule import Schedule

# What may change between a run and its resumption without changing any of its bits.
_FREE = ("data", "keep", "checkpoint_every", "parallel", "reuse", "play", "seeds", "seed", "format")


def fingerprint(config: TrainConfig, checksum: str, seeds: list[int]) -> dict[str, Any]:
    """What a checkpoint is a function of: the config without its free keys, the data and the seeds."""
    record = {key: value for key, value in to_dict(config).items() if key not in _FREE}
    return {**record, "data_checksum": checksum, "group": seeds}


def sound_checkpoints(
    config: TrainConfig,
    run_folder: Path,
    seeds: list[int],
    checksum: str,
    schedule: Schedule | None,
    problems: list[str],
) -> Iterator[Path]:
    """The checkpoints of a group that the run can go on from, the newest first; tells `problems` of others.

    They are undamaged, and everything before them has been logged, which is not asked without a schedule:
    whoever reads a policy needs no logs. Raises UserError for one of another
    config, data or seeds.
    """
    folder, expected = logs.group_folder(run_folder, seeds), fingerprint(config, checksum, seeds)
    for path in reversed(checkpoints.found(folder / "checkpoints")):
        try:
            head, _ = checkpoints.read(path)
        except checkpoints.Damaged as error:
            problems.append(str(error))
            continue
        checkpoints.check(path, head, expected)
        if schedule is None:
            yield path
            continue
        if lost := logs.lost(folder, schedule, len(seeds), head["step"]):
            problems.append(f"{lost}: the run can only go on from a checkpoint before it.")
            continue
        if gap := logs.gap(folder, schedule, head["step"]):
            problems.append(f"{gap}.")
        yield path


def find_checkpoint(
    config: TrainConfig, run_folder: Path, seeds: list[int], checksum: str, schedule: Schedule
) -> tuple[Path | None, list[str]]:
    """The newest sound checkpoint of a group, or None without any, and problems with newer ones.

    Raises UserError where it is of another config, data or seeds; where there are some and none is sound;
    or where there is none any more: to begin afresh would take the logs of what was trained with it.
    """
    problems = list[str]()
    path = next(sound_checkpoints(config, run_folder, seeds, checksum, schedule, problems), None)
    if path is None:
        _refuse_unreadable(run_folder, seeds, problems)
    return path, problems


def _refuse_unreadable(run_folder: Path, seeds: list[int], problems: list[str]) -> None:
    if problems or (run_folder / "result.json").exists():
        folder = logs.group_folder(run_folder, seeds) / "checkpoints"
        what = " ".join(problems) or f"{folder} holds none, and the run was finished."
        raise UserError(
            f"No checkpoint of {run_folder} can be read: {what} Nothing was changed. Restore the folder from "
            "a copy, or train into a new one with --out."
        )


def restore_group(
    config: TrainConfig,
    run_folder: Path,
    seeds: list[int],
    checksum: str,
    schedule: Schedule | None,
    state: RunState,
) -> tuple[RunState, int, float, list[str]]:
    """The newest state of a group, its step, the seconds trained so far, and problems with checkpoints.

    Without any checkpoint this is the fresh state. Raises UserError as `find_checkpoint` does.
    """
    problems, expected = list[str](), fingerprint(config, checksum, seeds)
    for path in sound_checkpoints(config, run_folder, seeds, checksum, schedule, problems):
        try:
            restored, head = checkpoints.restore(path, state, expected)
        except checkpoints.Damaged as error:
            problems.append(str(error))
            continue
        return restored, head["step"], head["seconds"], problems
    _refuse_unreadable(run_folder, seeds, problems)
    return state, 0, 0.0, problems
