"""The few lines that a finished run ends with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tiltflow.files import read_json
from tiltflow.run_folder import RunFolder

Result = Mapping[str, Any]


def mean_text(result: Result) -> str:
    """The score of a result record with its unit: "52.0 %"; a plain return has none."""
    return f"{result['mean']:.1f}" + _unit(result)


def interval_text(result: Result) -> str:
    """The 95 % interval of the score: "40.1 to 60.2 %"."""
    low, high = result["ci95"]
    return f"{low:.1f} to {high:.1f}" + _unit(result)


def _unit(result: Result) -> str:
    return "" if result["unit"] == result["metric"] else f" {result['unit']}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")


def score_text(result: Result) -> str:
    """What was trained on what, and its score with its interval, metric and unit."""
    seeds, episodes = (_count(result[name], name[:-1]) for name in ("seeds", "episodes"))
    each = " each" if result["seeds"] > 1 else ""
    return (
        f"{result['algorithm']} on {result['task']}\n"
        f"{result['metric']} {mean_text(result)} (95 % interval {interval_text(result)}), "
        f"mean of {seeds} with {episodes}{each}"
    )


def describe_run(run: Path) -> str:
    """The score of a finished run and the paths of its files; of one that has none, what to do next."""
    folder = RunFolder(run)
    if not folder.finished:
        play = f"Its checkpoints are kept to be played, where the simulator is: tiltflow evaluate {run}"
        return f"{run} has no score yet. {play}"
    files = [file for file in (folder.result_file, folder.report_file) if file.exists()]
    return "\n".join([score_text(read_json(folder.result_file)), *map(str, files)])
