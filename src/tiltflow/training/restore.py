"""Where a group of seeds goes on: its newest checkpoint that is undamaged and whose logs are complete."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tiltflow.errors import UserError
from tiltflow.run_folder import RunFolder
from tiltflow.training import checkpoints
from tiltflow.training.policy import RunState
from tiltflow.training.prepare import Prepared


class Restored(NamedTuple):
    """The state of a group after `step` gradient steps, which took `seconds`; problems with checkpoints."""

    state: RunState
    step: int
    seconds: float
    problems: list[str]


def restore_group(
    prepared: Prepared, run: RunFolder, seeds: list[int], fresh: RunState, *, to_train: bool
) -> Restored:
    """The newest state of a group: `fresh` where there is no checkpoint.

    One to go on training from must have its logs. Raises UserError where a checkpoint is of another config,
    data or seeds; where there are some and none is sound; or where there is none any more: to begin afresh
    would take the logs of what was trained with it.
    """
    problems = list[str]()
    for path, head, body in _sound_checkpoints(prepared, run, seeds, to_train, problems):
        try:
            state = checkpoints.decode(path, head, body, fresh)
        except checkpoints.Damaged as error:
            problems.append(str(error))
            continue
        return Restored(state, head["step"], head["seconds"], problems)
    _refuse_unreadable(run, seeds, problems)
    return Restored(fresh, 0, 0.0, problems)


def refuse_unsound(prepared: Prepared, run: RunFolder, seeds: list[int]) -> None:
    """Raise UserError where `restore_group` would, for a training."""
    problems = list[str]()
    if next(_sound_checkpoints(prepared, run, seeds, True, problems), None) is None:
        _refuse_unreadable(run, seeds, problems)


def _sound_checkpoints(
    prepared: Prepared, run: RunFolder, seeds: list[int], to_train: bool, problems: list[str]
) -> Iterator[tuple[Path, dict[str, Any], bytes]]:
    """The undamaged checkpoints of a group, the newest first, as read; tells `problems` of the others.

    To train on, everything before them must have been logged: whoever reads a policy needs no logs.
    """
    group, expected = run.group(seeds), prepared.fingerprint(seeds)
    for path in reversed(group.checkpoints()):
        try:
            head, body = checkpoints.read(path)
        except checkpoints.Damaged as error:
            problems.append(str(error))
            continue
        checkpoints.check_same_run(path, head, expected)
        if to_train and head["step"] < (kept := max((0, *prepared.config.ends[:-1]))):
            problems.append(f"{path} is from before step {kept:,}, where the run was lengthened.")
            continue
        if to_train and (lost := _lost_evaluation(prepared, group, seeds, head["step"])):
            problems.append(f"{lost}: the run can only go on from a checkpoint before it.")
            continue
        if to_train and (gap := _lost_metrics(prepared, group, head["step"])):
            problems.append(f"{gap}, which its page will lack.")
        yield path, head, body


def _lost_evaluation(prepared: Prepared, group: RunFolder, seeds: list[int], step: int) -> str:
    """The evaluation that a group must have logged before `step` and has not; empty where none is lost.

    That at `step` itself may be still to come, and all of a run that does not play. Raises UserError for a
    line that is damaged.
    """
    there = [line["step"] for line in group.evaluations(len(seeds)) if line["step"] < step]
    wanted = list(prepared.schedule.evaluated_to(step - 1))
    if there == wanted or not prepared.config.play:
        return ""
    missing = sorted(set(wanted) - set(there))
    what = f"lacks the line of step {missing[0]:,}" if missing else "has lines that no step wrote"
    return f"{group.evaluations_file} {what}"


def _lost_metrics(prepared: Prepared, group: RunFolder, step: int) -> str:
    """The chunk up to `step` whose metrics a group has not logged; empty where none is lost.

    Stages that can have been taken over from another run, whose chunks may be others, are not looked at.
    """
    there, schedule = {line["step"] for line in group.metrics()}, prepared.schedule
    adopted = 0 if prepared.config.reuse is None else schedule.begin(len(schedule.stages) - 1)
    lost = (end for end in schedule.edges if adopted < end <= step and end not in there)
    first = next(lost, None)
    return "" if first is None else f"{group.metrics_file} lacks the line of step {first:,}"


def _refuse_unreadable(run: RunFolder, seeds: list[int], problems: list[str]) -> None:
    if problems or run.finished:
        folder = run.group(seeds).checkpoint_folder
        what = " ".join(problems) or f"{folder} holds none, and the run was finished."
        raise UserError(
            f"No checkpoint of {run.path} can be read: {what} Nothing was changed. Restore the folder from "
            "a copy, or train into a new one with --out."
        )
