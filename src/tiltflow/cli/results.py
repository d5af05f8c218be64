"""The few lines that a finished run ends with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tiltflow.files import read_json


def score_text(result: Mapping[str, Any]) -> str:
    """The score of a result record with its interval, metric and unit, and what it is the mean of."""
    unit = "" if result["unit"] == result["metric"] else f" {result['unit']}"
    low, high = result["ci95"]
    seeds = "1 seed" if result["seeds"] == 1 else f"{result['seeds']} seeds"
    return (
        f"{result['metric']} {result['mean']:.1f}{unit} (95 % interval {low:.1f} to {high:.1f}), "
        f"mean of {seeds} with {result['episodes']} episodes each"
    )


def describe_run(run: Path) -> str:
    """The score of a finished run and the paths of its files."""
    result = read_json(run / "result.json")
    files = [run / name for name in ("result.json", "report.html") if (run / name).exists()]
    return "\n".join([f"{result['algorithm']} on {result['task']}: {score_text(result)}", *map(str, files)])
