"""What must hold before runs may stand in one table."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tiltflow.benchmark_file import BENCHMARK_FILE, stored_label, stored_runs
from tiltflow.errors import UserError
from tiltflow.files import read_json_lines
from tiltflow.report.record import RunContent
from tiltflow.report.run_reader import read_run
from tiltflow.run_folder import RunFolder
from tiltflow.tasks import ESTIMATED


class LeftOut(NamedTuple):
    """A run that is not in the table, and why."""

    algorithm: str
    task: str
    seeds: tuple[int, ...]
    why: str


def runs_in(folder: Path) -> tuple[list[Path], list[LeftOut]]:
    """The run folders that a folder stands for: itself, or the runs of the benchmark that it holds.

    Of a benchmark those that have evaluations, in its order, and apart from them those that have none yet
    and those that failed, whose last evaluations are of no policy that the algorithm ends with. Raises
    UserError where nothing is left.
    """
    if not (folder / BENCHMARK_FILE).is_file():
        return [folder], []
    runs, left_out = [], []
    for entry in stored_runs(folder):
        run = RunFolder(folder / entry["folder"])
        what = stored_label(entry), entry["task"], (entry["seed"],)
        if entry.get("state") == "failed" and not run.finished:
            left_out.append(LeftOut(*what, "failed"))
        elif read_json_lines(run.evaluations_file):
            runs.append(run.path)
        else:
            left_out.append(LeftOut(*what, "without an evaluation yet"))
    if not runs:
        raise UserError(f"No run of the benchmark in {folder} has been evaluated yet: nothing to compare.")
    return runs, left_out


def read_evaluated_run(folder: Path) -> RunContent:
    """Read a run folder that has evaluations. Raises UserError as `read_run` does, and where it has none."""
    run = read_run(folder)
    if not run.evaluations:
        path = RunFolder(folder).evaluations_file
        state = "is empty" if path.exists() else "does not exist"
        raise UserError(
            f"{path} {state}: the run has not been evaluated yet and has nothing to compare. "
            f"Continue it with `tiltflow train --resume {folder}`, or leave it out."
        )
    return run


def check_comparable(runs: Sequence[tuple[Path, RunContent]], allow_different_data: bool) -> list[str]:
    """Refuse runs on one task that measure different things; the names of tasks with different data.

    Raises UserError naming both folders, the key and both values where metrics or environments differ, or
    data and `allow_different_data` is false.
    """
    different = {}
    first: dict[str, tuple[Path, RunContent]] = {}
    for folder, run in runs:
        other_folder, other = first.setdefault(run.task.name, (folder, run))
        values = zip(_measure(other), _measure(run), strict=True)
        for (key, before), (_, value) in values:
            if before != value:
                raise UserError(
                    f"{other_folder} and {folder} are both on {run.task.name}, but {key} is {before!r} in "
                    f"the first and {value!r} in the second: their scores cannot stand in one row. "
                    "Compare them apart."
                )
        before, value = data_checksum(other), data_checksum(run)
        if before == value:
            continue
        different[run.task.name] = True
        if not allow_different_data:
            raise UserError(
                f"{other_folder} and {folder} are both on {run.task.name}, but were trained on different "
                f"data: in environment.json data.checksum is {_shown(before)} in the first and "
                f"{_shown(value)} in the second. Train them on the same data, or give "
                "--allow-different-data to show them together, marked."
            )
    return list(different)


def _measure(run: RunContent) -> list[tuple[str, object]]:
    record = run.evaluations[-1]
    discount = run.config.get("estimate", {}).get("discount")
    return [
        ("the metric of evaluations.jsonl", record.get("metric", run.task.metric)),
        ("env of config.json", run.config.get("env")),
        ("estimate.discount of config.json", discount if run.task.metric == ESTIMATED else None),
    ]


def data_checksum(run: RunContent) -> str | None:
    """The checksum of the data that the run was trained on; None where it was not recorded."""
    return run.environment.get("data", {}).get("checksum")


def _shown(checksum: str | None) -> str:
    return "missing" if checksum is None else checksum


def check_disjoint(runs: Sequence[tuple[Path, RunContent]]) -> None:
    """Refuse to count a seed twice. Raises UserError naming both folders and the seed."""
    seen: dict[int, Path] = {}
    for folder, run in runs:
        for seed in run.seed_numbers:
            if seed in seen:
                same = seen[seed].resolve() == folder.resolve()
                what = "is given twice" if same else f"and {seen[seed]} have the same configuration"
                raise UserError(
                    f"{folder} {what}: seed {seed} of {run.algorithm} on {run.task.name} would count twice. "
                    "Give each seed once; another seed is trained with `tiltflow train … --seed`."
                )
            seen[seed] = folder
