"""The logs of a run: each group of seeds writes its own, and the run's are their join.

A group's folder is RUN/seeds/FIRST or RUN/seeds/FIRST-LAST; its metrics.jsonl and evaluations.jsonl have
the format of the run's, with the values of the group's seeds.
"""

import json
from pathlib import Path
from typing import Any

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
        records = read_json_lines(folder / name)
        write_json_lines(folder / name, [record for record in records if record["step"] <= step])


def lost(folder: Path, schedule: Schedule, seeds: int, step: int) -> str:
    """What a group must have logged up to `step` and has not; empty where nothing is lost.

    The evaluation at `step` itself may be still to come. Of stages that can have been taken over from another
    run, whose chunks may be others, metrics are not asked for. Raises UserError for a line that is damaged.
    """
    known = {METRICS: read_json_lines(folder / METRICS), EVALUATIONS: read_evaluations(folder, seeds)}
    steps = {name: [record.get("step") for record in records] for name, records in known.items()}
    adopted = 0 if schedule.config.reuse is None else schedule.begin(len(schedule.stages) - 1)
    wanted: dict[str, list[int]] = {name: [] for name in NAMES}
    for here, length in schedule.chunks(0):
        end = here.step + length
        if end > step:
            break
        if end > adopted:
            wanted[METRICS].append(end)
        if schedule.evaluates(here, length):
            wanted[EVALUATIONS].append(end)
    for name in NAMES:
        there = [number for number in steps[name] if isinstance(number, int) and number <= step]
        if name == METRICS:
            there = [number for number in there if number > adopted]
        elif there[-1:] != [step] and wanted[name][-1:] == [step]:
            wanted[name].pop()
        if there != wanted[name]:
            missing = sorted(set(wanted[name]) - set(there))
            what = f"lacks the line of step {missing[0]:,}" if missing else "has lines that no step wrote"
            return f"{folder / name} {what}"
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
