"""The scores of the finished runs, seeds of the same task and agent together."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tiltflow.benchmark.plan import Run
from tiltflow.files import read_json_lines, write_text
from tiltflow.tasks import find_task
from tiltflow.training import logs

FILE = "summary.csv"


def summarise(runs: Iterable[Run], out: Path) -> list[dict[str, Any]]:
    """A result record for each task and agent, over the seeds in `runs`, all of which are finished."""
    from tiltflow.evaluation.statistics import result_record

    groups: dict[tuple[str, str], list[Path]] = {}
    for run in runs:
        groups.setdefault((run.task, run.agent), []).append(out / run.folder)
    results = []
    for (task, agent), folders in groups.items():
        evaluations = logs.join([read_json_lines(folder / logs.EVALUATIONS) for folder in folders])
        results.append(result_record(find_task(task), agent, evaluations, evaluations[-1]["step"], 0.0))
    return results


def write_summary(results: list[dict[str, Any]], out: Path) -> Path:
    """Write summary.csv: a row for each task and agent, scores in the unit that the row names."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("task", "agent", "metric", "unit", "mean", "ci95_low", "ci95_high", "seeds", "episodes"))
    for result in results:
        names = ("task", "algorithm", "metric", "unit", "mean")
        low, high = result["ci95"]
        writer.writerow([*(result[name] for name in names), low, high, result["seeds"], result["episodes"]])
    write_text(out / FILE, text.getvalue())
    return out / FILE
