"""Where every run of a benchmark stands: read off the run folders, kept in benchmark.json.

Standard library only.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tiltflow.benchmark.plan import Plan
from tiltflow.benchmark_file import BENCHMARK_FILE, PlannedRun, stored_runs
from tiltflow.errors import UserError
from tiltflow.files import read_object, write_json
from tiltflow.run_folder import RunFolder
from tiltflow.settings import diff, diff_text
from tiltflow.train_config import to_dict

RUN_LOG = "log.txt"
_FREE = {"data": None, "data_on": None, "seed": None, "play": None}
StateName = Literal["waiting", "running", "interrupted", "trained", "finished", "failed"]
"""`trained`: all that a plan that does not play asks for. To one that plays such a run is interrupted."""
DONE: tuple[StateName, ...] = ("trained", "finished")


@dataclass(frozen=True)
class RunRecord:
    """One run: gradient steps done, wall seconds of all attempts, why it failed, the score it ended with."""

    state: StateName = "waiting"
    step: int = 0
    seconds: float = 0.0
    reason: str | None = None
    score: float | None = None
    metric: str | None = None
    unit: str | None = None


def read_records(plan: Plan, out: Path) -> dict[PlannedRun, RunRecord]:
    """The record of every run of the plan, in the order of the queue."""
    stored = {entry["folder"]: entry for entry in stored_runs(out)}
    records = {}
    for run in plan.runs():
        folder, entry = RunFolder(out / run.folder), stored.get(str(run.folder), {})
        seconds, step = entry.get("seconds", 0.0), folder.steps_kept()
        if folder.finished:
            result = read_object(folder.result_file, "metric", "unit", "steps", "mean")
            records[run] = RunRecord(seconds=seconds, **finished_with(result))
        elif entry.get("state") == "failed":
            records[run] = RunRecord("failed", step, seconds, entry.get("reason"))
        elif not plan.play and folder.trained:
            records[run] = RunRecord("trained", step, seconds)
        else:
            records[run] = RunRecord("interrupted" if step else "waiting", step, seconds)
    return records


def finished_with(result: Mapping[str, Any]) -> dict[str, Any]:
    """What the record of a run says of its result.json; no score where that is no estimate."""
    score = None if "undetermined" in result else result["mean"]
    same = {key: result[key] for key in ("metric", "unit")}
    return {"state": "finished", "step": result["steps"], "score": score, **same}


def write_records(suite: str, records: Mapping[PlannedRun, RunRecord], out: Path) -> None:
    """Write benchmark.json. Runs of earlier commands that are not among these keep their entries."""
    entries = [
        {**run._asdict(), "folder": str(run.folder), **asdict(record)} for run, record in records.items()
    ]
    ours = {entry["folder"] for entry in entries}
    others = [entry for entry in stored_runs(out) if entry["folder"] not in ours]
    write_json(out / BENCHMARK_FILE, {"format": 1, "suite": suite, "runs": [*entries, *others]})


def check_unchanged(plan: Plan, out: Path) -> None:
    """Raise UserError where a run that has begun was begun with other settings than the plan's.

    So are seeds that are not the plan's, of its tasks and agents: they are averaged with the plan's. The
    place of the data may change: the checkpoints know their checksum.
    """
    changed: dict[Path, str] = {}
    for run in plan.runs():
        if run.seed != plan.seed:
            continue
        wanted = json.loads(json.dumps(to_dict(plan.config(run))))
        for path in sorted((out / run.folder).parent.glob("seed-*")):
            folder = RunFolder(path)
            if folder.finished or folder.steps_kept():
                begun = to_dict(folder.read_config())
                if found := diff({**begun, **_FREE}, {**wanted, **_FREE}):
                    changed[path] = diff_text(found)
    if changed:
        first, text = next(iter(changed.items()))
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise UserError(
            f"{first}{more} was begun with other settings than those of this command: "
            f"{text} (begun ≠ wanted). Give the same options as then; where no option gives it, "
            "the preset has changed since: delete the run to train it again, or give another folder with "
            "--out."
        )
