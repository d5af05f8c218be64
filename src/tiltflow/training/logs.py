"""The logs of a run: each group of seeds writes its own, and the run's are their join.

A group's folder is RUN/seeds/FIRST or RUN/seeds/FIRST-LAST; its metrics.jsonl and evaluations.jsonl have
the format of the run's, with the values of the group's seeds.
"""

import json
from pathlib import Path
from typing import Any

from tiltflow.errors import UserError
from tiltflow.evaluation.lines import read_evaluations
from tiltflow.files import append_line, read_json_lines, write_json_lines
from tiltflow.training.schedule import Schedule

METRICS, EVALUATIONS = "metrics.jsonl", "evaluations.jsonl"
NAMES = (METRICS, EVALUATIONS)
Record = dict[str, Any]


def group_folder(run: Path, seeds: list[int]) -> Path:
    """Where a group of seeds keeps its logs and its checkpoints/."""
    label = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]}-{seeds[-1]}"
    return run / "seeds" / label


def append(path: Path, record: Record) -> None:
    """Add one line, on the disk before any checkpoint that follows it."""
    append_line(path, json.dumps(record))


def cut(folder: Path, step: int) -> None:
    """Forget what a group logged after `step`: a resumed run will log it again."""
    for name in NAMES:
        records = _read_steps(folder / name)
        write_json_lines(folder / name, [record for record in records if record["step"] <= step])


def _read_steps(path: Path) -> list[Record]:
    """The lines of a log. Raises UserError naming one that does not say of which step it is."""
    records = read_json_lines(path)
    for number, record in enumerate(records, start=1):
        if not isinstance(record.get("step"), int):
            raise UserError(f"{path}, line {number}, is damaged: it has no 'step'. Delete the line.")
    return records


def lost(folder: Path, schedule: Schedule, seeds: int, step: int) -> str:
    """The evaluation that a group must have logged before `step` and has not; empty where none is lost.

    That at `step` itself may be still to come, and all of a run that does not play. Raises UserError for a
    line that is damaged.
    """
    there = [record["step"] for record in read_evaluations(folder, seeds) if record["step"] < step]
    wanted = list(schedule.evaluated(step - 1))
    if there == wanted or not schedule.config.play:
        return ""
    missing = sorted(set(wanted) - set(there))
    what = f"lacks the line of step {missing[0]:,}" if missing else "has lines that no step wrote"
    return f"{folder / EVALUATIONS} {what}"


def gap(folder: Path, schedule: Schedule, step: int) -> str:
    """The chunk up to `step` whose metrics a group has not logged; empty where none is lost.

    Stages that can have been taken over from another run, whose chunks may be others, are not looked at.
    """
    there = {record["step"] for record in _read_steps(folder / METRICS)}
    last = len(schedule.stages) - 1
    adopted = 0 if schedule.config.reuse is None else schedule.begin(last)
    for here, length in schedule.chunks(0):
        end = here.step + length
        if adopted < end <= step and end not in there:
            return f"{folder / METRICS} lacks the line of step {end:,}, which its page will lack"
    return ""


def merge(run: Path, groups: list[list[int]]) -> None:
    """Write the run's logs: the lines of every step that all groups have logged, seeds in order."""
    for name in NAMES:
        write_json_lines(run / name, join([read_json_lines(group_folder(run, g) / name) for g in groups]))


def join(logs: list[list[Record]]) -> list[Record]:
    """One log of several groups of seeds: the lines of every step that all have logged, seeds in order."""
    by_step = [{record["step"]: record for record in log} for log in logs]
    steps = sorted(set.intersection(*(set(log) for log in by_step)))
    return [_join([log[step] for log in by_step]) for step in steps]


def _join(records: list[Record]) -> Record:
    """Lists are per seed and follow each other; seconds are the slowest group's; the rest agrees."""
    joined = dict(records[0])
    for key, value in joined.items():
        if isinstance(value, list):
            joined[key] = [entry for record in records for entry in record[key]]
        elif isinstance(value, dict):
            joined[key] = {
                name: [entry for record in records for entry in record[key][name]] for name in value
            }
    if "seconds" in joined:
        joined["seconds"] = max(record["seconds"] for record in records)
    if "steps_per_second" in joined:
        joined["steps_per_second"] = min(record["steps_per_second"] for record in records)
    return joined
