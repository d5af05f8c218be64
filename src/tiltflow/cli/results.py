"""The few lines that a finished run ends with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tiltflow.files import read_json
from tiltflow.run_folder import RunFolder
from tiltflow.tasks import CLONED, ESTIMATED
from tiltflow.words import interval_text, no_estimate, plural, recorded_text, score_text


def result_text(result: Mapping[str, Any]) -> str:
    """What was trained on what, and its score with its interval, metric and unit."""
    seeds, episodes = (plural(result[name], name[:-1]) for name in ("seeds", "episodes"))
    played, unit = result["metric"] not in (ESTIMATED, CLONED), result["unit"]
    each = " each" if played and result["seeds"] > 1 else ""
    what = f"with {episodes}{each}" if played else f"on {result['episodes']} recorded episodes"
    score, interval = score_text(result["mean"], unit), interval_text(result["ci95"], unit)
    lines = [f"{result['algorithm']} on {result['task']}"]
    if share := result.get("undetermined"):
        lines.append(no_estimate(share))
    else:
        lines.append(f"{result['metric']} {score} (95 % interval {interval}), mean of {seeds} {what}")
    if recorded := result.get("recorded"):
        lines.append(recorded_text(recorded))
    return "\n".join(lines)


def describe_run(run: Path) -> str:
    """The score of a finished run and the paths of its files; of one that has none, what to do next."""
    folder = RunFolder(run)
    if not folder.finished:
        play = f"Its checkpoints are kept to be played, where the simulator is: tiltflow evaluate {run}"
        return f"{run} has no score yet. {play}"
    files = [file for file in (folder.result_file, folder.report_file) if file.exists()]
    return "\n".join([result_text(read_json(folder.result_file)), *map(str, files)])
