"""The lines of a run's logs: what they must hold, and how the logs of several groups of seeds are joined."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tiltflow.errors import UserError
from tiltflow.files import read_json_lines

Line = dict[str, Any]
"""One line of a log, of the gradient step line["step"]."""

_EPISODE_KEYS = ("returns", "successes", "lengths")


def read_log(path: Path) -> list[Line]:
    """The lines of a log. Raises UserError naming one that does not say of which step it is."""
    lines = read_json_lines(path)
    for number, line in enumerate(lines, start=1):
        if not isinstance(line.get("step"), int):
            raise UserError(f"{path}, line {number}, is damaged: it has no 'step'. Delete the line.")
    return lines


def read_evaluations(path: Path, seeds: int) -> list[Line]:
    """The evaluations of that many seeds, none where there is no file.

    Raises UserError naming the file where a line lacks a key or does not have the episodes of each seed.
    """
    records = read_json_lines(path)
    for number, record in enumerate(records, start=1):
        if fault := _fault(record, seeds):
            raise UserError(
                f"{path}, line {number}, is damaged: {fault}. Leave the run out, or train it again."
            )
    return records


def _fault(record: object, seeds: int) -> str:
    if not isinstance(record, dict):
        return "it is no JSON object"
    keys = ("score", "replicates", "episodes") if "replicates" in record else _EPISODE_KEYS
    for key in ("step", "stage", *keys):
        if key not in record:
            return f"it has no {key!r}"
    if not isinstance(record["step"], int):
        return "'step' is no number of steps"
    values = keys[1] if "replicates" in record else keys[0]
    returns = record[values]
    if not isinstance(returns, list) or not returns or not all(isinstance(r, list) and r for r in returns):
        return f"{values!r} is no list of the {values} of each seed"
    if len(returns) != seeds:
        return f"it has episodes of {len(returns)} seed{'s' * (len(returns) > 1)}, config.json has {seeds}"
    if not all(isinstance(value, int | float) for row in returns for value in row):
        return f"{values!r} holds what is no number"
    if "replicates" in record:
        return ""
    shape = [len(row) for row in returns]
    for key in _EPISODE_KEYS[1:]:
        rows = record[key]
        if not isinstance(rows, list) or [len(r) if isinstance(r, list) else 0 for r in rows] != shape:
            return f"{key!r} and 'returns' are not of the same episodes"
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
