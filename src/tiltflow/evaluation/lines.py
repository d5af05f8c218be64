"""The lines of evaluations.jsonl as a run folder must have them."""

from pathlib import Path
from typing import Any

from tiltflow.errors import UserError
from tiltflow.files import read_json_lines

EPISODE_KEYS = ("returns", "successes", "lengths")


def read_evaluations(folder: Path, seeds: int) -> list[dict[str, Any]]:
    """The evaluations of a run of that many seeds, none where it has not been evaluated.

    Raises UserError naming the file where a line lacks a key or does not have the episodes of each seed.
    """
    path = folder / "evaluations.jsonl"
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
    for key in ("step", "stage", *EPISODE_KEYS):
        if key not in record:
            return f"it has no {key!r}"
    if not isinstance(record["step"], int):
        return "'step' is no number of steps"
    returns = record["returns"]
    if not isinstance(returns, list) or not returns or not all(isinstance(r, list) and r for r in returns):
        return "'returns' is no list of the returns of each seed"
    if len(returns) != seeds:
        return f"it has episodes of {len(returns)} seed{'s' * (len(returns) > 1)}, config.json has {seeds}"
    if not all(isinstance(value, int | float) for row in returns for value in row):
        return "'returns' holds what is no number"
    shape = [len(row) for row in returns]
    for key in EPISODE_KEYS[1:]:
        values = record[key]
        if not isinstance(values, list) or [len(r) if isinstance(r, list) else 0 for r in values] != shape:
            return f"{key!r} and 'returns' are not of the same episodes"
    return ""
