"""The scores of the finished runs, seeds of one task, agent and data together; and what is not in them."""

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from tiltflow.benchmark.records import stored_runs
from tiltflow.errors import UserError
from tiltflow.evaluation.lines import join_logs
from tiltflow.files import write_text
from tiltflow.run_folder import RunFolder
from tiltflow.tasks import find_task

FILE = "summary.csv"
COLUMNS = (
    "task", "agent", "metric", "unit", "mean", "ci95_low", "ci95_high", "seeds", "episodes", "steps",
    "failed", "data_checksum",
)  # fmt: skip


class Scores(NamedTuple):
    """What a benchmark has come to."""

    results: list[dict[str, Any]]
    """A result record for each task, agent and data, with the `data_checksum`."""
    failed: Counter[tuple[str, str]]
    """Failed runs of each task and agent, which no score tells of."""
    problems: list[str]
    """Finished runs that cannot be read, and why."""


def summarise(out: Path) -> Scores:
    """The scores of all runs that benchmark.json knows, of this command and of earlier ones.

    A finished run whose files are damaged is left out and named: it must not stop the others.
    """
    from tiltflow.evaluation.statistics import result_record

    groups: dict[tuple[str, str, str], list[list[dict[str, Any]]]] = {}
    failed, problems = Counter[tuple[str, str]](), []
    for entry in stored_runs(out):
        folder = RunFolder(out / entry["folder"])
        if not folder.finished:
            failed[entry["task"], entry["agent"]] += entry.get("state") == "failed"
            continue
        try:
            find_task(entry["task"])
            checksum = str(folder.read_environment()["data"].get("checksum", ""))
            evaluations = folder.evaluations(seeds=1)
        except UserError as error:
            problems.append(str(error))
            continue
        if evaluations:
            groups.setdefault((entry["task"], entry["agent"], checksum), []).append(evaluations)
        else:
            problems.append(f"{folder.evaluations_file} has no evaluation, though the run is finished.")
    results = []
    for (task, agent, checksum), of_seeds in groups.items():
        evaluations = join_logs(of_seeds)
        if not evaluations:
            problems.append(f"The seeds of {agent} on {task} have no evaluation at the same gradient step.")
            continue
        record = result_record(find_task(task), agent, evaluations, evaluations[-1]["step"], 0.0)
        results.append(record | {"data_checksum": checksum})
    return Scores(results, failed, problems)


def write_summary(scores: Scores, out: Path) -> Path:
    """Write summary.csv: a row for each task, agent and data, scores in the unit that the row names.

    Where all runs of a task and agent have failed, the row has no score.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for result in scores.results:
        low, high = result["ci95"]
        place = result["task"], result["algorithm"]
        more = {
            "agent": result["algorithm"],
            "ci95_low": low,
            "ci95_high": high,
            "failed": scores.failed[place],
        }
        writer.writerow(result | more)
    scored = {(result["task"], result["algorithm"]) for result in scores.results}
    for (task, agent), count in scores.failed.items():
        if count and (task, agent) not in scored:
            writer.writerow({"task": task, "agent": agent, "seeds": 0, "failed": count})
    write_text(out / FILE, text.getvalue())
    return out / FILE
