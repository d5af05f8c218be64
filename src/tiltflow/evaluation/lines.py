"""The lines of a run's logs: what they must hold, and how the logs of several groups of seeds are joined."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from tiltflow.errors import UserError
from tiltflow.files import read_json_lines
from tiltflow.json_records import record_fault

Line = dict[str, Any]
"""One line of a log, of the gradient step line["step"]."""

_EPISODE_KEYS = ("returns", "successes", "lengths")


class _Logged(TypedDict):
    step: int


class _Metrics(_Logged):
    stage: str
    stage_step: int
    seconds: float
    metrics: dict[str, list[float]]


class _Evaluation(_Logged):
    stage: str


class _Played(_Evaluation):
    returns: list[list[float]]
    successes: list[list[bool]]
    lengths: list[list[int]]


class _Estimated(_Evaluation):
    score: list[float]
    replicates: list[list[float]]
    episodes: int


def read_log(path: Path) -> list[Line]:
    """The lines of a log. Raises UserError naming one that does not say of which step it is."""
    return _checked(path, read_json_lines(path), _Logged)


def read_metrics(path: Path) -> list[Line]:
    """The lines of metrics.jsonl. Raises UserError naming one that is none, or has other seeds."""
    lines = _checked(path, read_json_lines(path), _Metrics)
    sizes = [len(values) for line in lines for values in line["metrics"].values()]
    if len(set(sizes)) > 1 or 0 in sizes:
        raise UserError(f"{path} is damaged: its lines are of {min(sizes)} and of {max(sizes)} seeds.")
    return lines


def _checked(path: Path, lines: list[Line], kind: Any) -> list[Line]:
    for number, line in enumerate(lines, start=1):
        if fault := record_fault(line, kind):
            raise UserError(f"{path}, line {number}, is damaged: {fault}. Delete the line.")
    return lines


def read_evaluations(path: Path, seeds: int) -> list[Line]:
    """The evaluations of that many seeds, none where there is no file.

    Raises UserError naming the file where a line lacks a key or does not have the episodes of each seed.
    """
    records = read_json_lines(path)
    for number, record in enumerate(records, start=1):
        if fault := _fault(record, seeds) or _unlike(records[0], record):
            raise UserError(
                f"{path}, line {number}, is damaged: {fault}. Leave the run out, or train it again."
            )
    return records


def _fault(record: dict[str, Any], seeds: int) -> str:
    estimated = "replicates" in record
    if fault := record_fault(record, _Estimated if estimated else _Played):
        return fault
    key = "replicates" if estimated else "returns"
    values = record[key]
    if not values or not all(values):
        return f"{key!r} is of no episodes"
    if len(values) != seeds:
        return f"it has episodes of {len(values)} seed{'s' * (len(values) > 1)}, config.json has {seeds}"
    shape = [len(row) for row in values]
    if len(set(shape)) > 1:
        return f"its seeds have from {min(shape)} to {max(shape)} episodes"
    others = [record["score"]] if estimated else [record[key] for key in _EPISODE_KEYS[1:]]
    if estimated:
        return "" if len(others[0]) == seeds else "'score' and 'replicates' are not of the same seeds"
    for key, rows in zip(_EPISODE_KEYS[1:], others, strict=True):
        if [len(row) for row in rows] != shape:
            return f"{key!r} and 'returns' are not of the same episodes"
    return ""


def _unlike(first: dict[str, Any], record: dict[str, Any]) -> str:
    """What tells an evaluation from the first one: a mean of both would be of nothing."""
    for key in ("replicates", "returns"):
        counts = [len(line[key][0]) for line in (first, record) if key in line]
        if len(counts) == 2 and counts[0] != counts[1]:
            return f"it has {counts[1]} {key} of each seed, the first line {counts[0]}"
    return ""


def join_logs(logs: list[list[Line]]) -> list[Line]:
    """One log of several groups of seeds: the lines of every step that all have logged, seeds in order."""
    by_step = [{line["step"]: line for line in log} for log in logs]
    steps = sorted(set.intersection(*(set(log) for log in by_step)))
    return [join_lines([log[step] for log in by_step]) for step in steps]


def join_lines(lines: Sequence[Line]) -> Line:
    """Lists are per seed and follow each other; seconds are the slowest group's; the rest agrees."""
    joined = dict(lines[0])
    for key, value in joined.items():
        if isinstance(value, list):
            joined[key] = [entry for line in lines for entry in line[key]]
        elif isinstance(value, dict):
            joined[key] = {name: [entry for line in lines for entry in line[key][name]] for name in value}
    if "seconds" in joined:
        joined["seconds"] = max(line["seconds"] for line in lines)
    if "steps_per_second" in joined:
        joined["steps_per_second"] = min(line["steps_per_second"] for line in lines)
    return joined
