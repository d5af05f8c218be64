"""The scores of the finished runs, seeds of one task, agent and data together; and what is not in them."""

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from tiltflow.benchmark_file import PlannedRun, stored_runs
from tiltflow.errors import UserError
from tiltflow.evaluation.lines import join_logs
from tiltflow.files import write_text
from tiltflow.run_folder import RunFolder
from tiltflow.tasks import Task

_SUMMARY_FILE = "summary.csv"
_COLUMNS = (
    "task", "agent", "variant", "metric", "unit", "mean", "ci95_low", "ci95_high", "seeds", "episodes",
    "steps", "failed", "data_checksum", "no_estimate",
)  # fmt: skip


class SuiteScores(NamedTuple):
    """What a benchmark has come to."""

    results: list[dict[str, Any]]
    """A result record for each task, agent, variant and data, with the `variant` and `data_checksum`."""
    failed: Counter[tuple[str, str, str]]
    """Failed runs of each task, agent and variant, which no score tells of."""
    problems: list[str]
    """Finished runs that cannot be read, and why."""
    no_estimate: list[PlannedRun]
    """Finished runs that have none, which no score tells of either."""


def suite_scores(out: Path) -> SuiteScores:
    """The scores of all runs that benchmark.json knows, of this command and of earlier ones.

    A finished run whose files are damaged is left out and named: it must not stop the others.
    """
    from tiltflow.evaluation.statistics import result_record, undetermined_share

    groups: dict[tuple[Task, str, str, str], list[list[dict[str, Any]]]] = {}
    failed, problems, no_estimate = Counter[tuple[str, str, str]](), [], []
    for entry in stored_runs(out):
        folder = RunFolder(out / entry["folder"])
        place = entry["task"], entry["agent"], entry.get("variant", "")
        if not folder.finished:
            failed[place] += entry.get("state") == "failed"
            continue
        try:
            task = folder.read_task()
            checksum = str(folder.read_environment()["data"].get("checksum", ""))
            evaluations = folder.evaluations(seeds=1)
        except UserError as error:
            problems.append(str(error))
            continue
        if evaluations and undetermined_share(evaluations):
            no_estimate.append(PlannedRun(place[0], place[1], entry["seed"], place[2]))
        elif evaluations:
            groups.setdefault((task, *place[1:], checksum), []).append(evaluations)
        else:
            problems.append(f"{folder.evaluations_file} has no evaluation, though the run is finished.")
    results = []
    for (task, agent, variant, checksum), of_seeds in groups.items():
        evaluations = join_logs(of_seeds)
        if not evaluations:
            problems.append(
                f"The seeds of {agent} on {task.name} have no evaluation at the same gradient step."
            )
            continue
        record = result_record(task, agent, evaluations, evaluations[-1]["step"], 0.0)
        results.append(record | {"variant": variant, "data_checksum": checksum})
    return SuiteScores(results, failed, problems, no_estimate)


def write_summary(scores: SuiteScores, out: Path) -> Path:
    """Write summary.csv: a row for each task, agent, variant and data, scores in the unit that the row names.

    Where all runs of a task, agent and variant have failed or have no estimate, the row has no score.
    """
    unknown = Counter((run.task, run.agent, run.variant) for run in scores.no_estimate)
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    scored = set()
    for result in scores.results:
        low, high = result["ci95"]
        place = result["task"], result["algorithm"], result["variant"]
        scored.add(place)
        more = {"ci95_low": low, "ci95_high": high, "failed": scores.failed[place]}
        more |= {"no_estimate": unknown[place]}
        writer.writerow(result | more | {"agent": result["algorithm"]})
    for place in {**scores.failed, **unknown}:
        counts = {"failed": scores.failed[place], "no_estimate": unknown[place]}
        if any(counts.values()) and place not in scored:
            writer.writerow(dict(zip(_COLUMNS, place, strict=False)) | {"seeds": 0, **counts})
    write_text(out / _SUMMARY_FILE, text.getvalue())
    return out / _SUMMARY_FILE
