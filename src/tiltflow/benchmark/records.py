"""Where every run of a benchmark stands: read off the run folders, kept in benchmark.json.

Standard library only.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tiltflow.benchmark.plan import Plan, Run
from tiltflow.errors import UserError
from tiltflow.files import read_json, read_object, write_json
from tiltflow.settings import diff, diff_text
from tiltflow.training.config import from_dict, to_dict

FILE = "benchmark.json"
LOG = "log.txt"
_FREE = {"data": None, "seed": None, "play": None}
State = Literal["waiting", "running", "interrupted", "trained", "finished", "failed"]
"""`trained`: all that a plan that does not play asks for. To one that plays such a run is interrupted."""
DONE: tuple[State, ...] = ("trained", "finished")


@dataclass(frozen=True)
class Record:
    """One run: gradient steps done, wall seconds of all attempts, why it failed, the score it ended with."""

    state: State = "waiting"
    step: int = 0
    seconds: float = 0.0
    reason: str | None = None
    score: float | None = None
    metric: str | None = None
    unit: str | None = None


def finished(folder: Path) -> bool:
    """Whether the run in that folder has come to its end."""
    return (folder / "result.json").exists()


def trained(folder: Path) -> bool:
    """Whether the run in that folder has been trained to its end and is still to be played."""
    return (folder / "actions.npz").exists() and not read_json(folder / "config.json").get("play", True)


def steps_kept(folder: Path) -> int:
    """Gradient steps of the newest checkpoint in a run folder; 0 where nothing is worth keeping."""
    names = [path.name for path in folder.glob("seeds/*/checkpoints/step-*.ckpt")]
    return max((int(re.sub(r"\D", "", name)) for name in names), default=0)


def read_records(plan: Plan, out: Path) -> dict[Run, Record]:
    """The record of every run of the plan, in the order of the queue."""
    stored = {entry["folder"]: entry for entry in stored_runs(out)}
    records = {}
    for run in plan.runs():
        folder, entry = out / run.folder, stored.get(str(run.folder), {})
        seconds, step = entry.get("seconds", 0.0), steps_kept(folder)
        if finished(folder):
            result = read_object(folder / "result.json", "metric", "unit", "steps", "mean")
            kept = {key: result[key] for key in ("metric", "unit")}
            records[run] = Record("finished", result["steps"], seconds, score=result["mean"], **kept)
        elif entry.get("state") == "failed":
            records[run] = Record("failed", step, seconds, entry.get("reason"))
        elif not plan.play and trained(folder):
            records[run] = Record("trained", step, seconds)
        else:
            records[run] = Record("interrupted" if step else "waiting", step, seconds)
    return records


def write_records(suite: str, records: Mapping[Run, Record], out: Path) -> None:
    """Write benchmark.json. Runs of earlier commands that are not among these keep their entries."""
    entries = [
        {**run._asdict(), "folder": str(run.folder), **asdict(record)} for run, record in records.items()
    ]
    ours = {entry["folder"] for entry in entries}
    others = [entry for entry in stored_runs(out) if entry["folder"] not in ours]
    write_json(out / FILE, {"format": 1, "suite": suite, "runs": [*entries, *others]})


def stored_runs(out: Path) -> list[dict[str, Any]]:
    """The runs that benchmark.json knows; none without it. Raises UserError where it is damaged."""
    if not (out / FILE).exists():
        return []
    entries = read_object(out / FILE, "runs")["runs"]
    fault = "" if isinstance(entries, list) else "'runs' is no list"
    for number, entry in enumerate(entries if not fault else []):
        if not isinstance(entry, dict):
            fault = f"run {number} is no JSON object"
        elif missing := [key for key in ("task", "agent", "seed", "folder") if key not in entry]:
            fault = f"run {number} has no {missing[0]!r}"
    if fault:
        raise UserError(
            f"{out / FILE} is damaged: {fault}. Delete the file: the runs are found again in their folders, "
            "only the seconds that they took are lost."
        )
    return entries


def check_unchanged(plan: Plan, out: Path) -> None:
    """Raise UserError where a run that has begun was begun with other settings than the plan's.

    So are seeds that are not the plan's, of its tasks and agents: they are averaged with the plan's. The
    place of the data may change: the checkpoints know their checksum.
    """
    changed: dict[Path, str] = {}
    for run in plan.runs()[: len(plan.tasks) * len(plan.agents)]:  # the first seed of everything
        wanted = json.loads(json.dumps(to_dict(plan.config(run))))
        for path in sorted((out / run.folder).parent.glob("seed-*/config.json")):
            if finished(path.parent) or steps_kept(path.parent):
                begun = to_dict(from_dict(read_json(path), str(path)))
                if found := diff({**begun, **_FREE}, {**wanted, **_FREE}):
                    changed[path.parent] = diff_text(found)
    if changed:
        folder, text = next(iter(changed.items()))
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise UserError(
            f"{folder}{more} was begun with other settings than those of this command: "
            f"{text} (begun ≠ wanted). Give the same options as then; where no option gives it, "
            "the preset has changed since: delete the run to train it again, or give another folder with "
            "--out."
        )
