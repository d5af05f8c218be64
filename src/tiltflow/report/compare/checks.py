"""What must hold before runs may stand in one table."""

from collections.abc import Sequence
from pathlib import Path

from tiltflow.benchmark.records import FILE as BENCHMARK
from tiltflow.benchmark.records import stored_runs
from tiltflow.errors import UserError
from tiltflow.files import read_json_lines, read_object
from tiltflow.report.record import Run, read_run

EPISODE_KEYS = ("returns", "successes", "lengths")


def runs_in(folder: Path) -> tuple[list[Path], list[Path]]:
    """The run folders that a folder stands for: itself, or the runs of the benchmark that it holds.

    Of a benchmark those that have evaluations, in its order, and apart from them those that have none yet.
    Raises UserError where none has.
    """
    if not (folder / BENCHMARK).is_file():
        return [folder], []
    runs = [folder / entry["folder"] for entry in stored_runs(folder)]
    evaluated = [run for run in runs if read_json_lines(run / "evaluations.jsonl")]
    if not evaluated:
        raise UserError(f"No run of the benchmark in {folder} has been evaluated yet: nothing to compare.")
    return evaluated, [run for run in runs if run not in evaluated]


def read_evaluated_run(folder: Path) -> Run:
    """Read a run folder whose evaluations are whole.

    Raises UserError naming the file where the folder is no run, has no evaluations, or where a line of
    evaluations.jsonl lacks a key or does not have as many seeds as config.json says.
    """
    if (folder / "config.json").is_file():  # else read_run says what is missing
        _check_evaluations(folder)
    return read_run(folder)


def _check_evaluations(folder: Path) -> None:
    path = folder / "evaluations.jsonl"
    records = read_json_lines(path)
    if not records:
        state = "is empty" if path.exists() else "does not exist"
        raise UserError(
            f"{path} {state}: the run has not been evaluated yet and has nothing to compare. "
            f"Continue it with `tiltflow train --resume {folder}`, or leave it out."
        )
    seeds = read_object(folder / "config.json", "seeds")["seeds"]
    for number, record in enumerate(records, start=1):
        if fault := _fault(record, seeds):
            raise UserError(
                f"{path}, line {number}, is damaged: {fault}. Leave the run out, or train it again."
            )


def _fault(record: object, seeds: int) -> str:
    if not isinstance(record, dict):
        return "it is no JSON object"
    for key in ("step", "stage", *EPISODE_KEYS):
        if key not in record:
            return f"it has no {key!r}"
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


def check_comparable(runs: Sequence[tuple[Path, Run]], allow_different_data: bool) -> list[str]:
    """Refuse runs on one task that measure different things; the names of tasks with different data.

    Raises UserError naming both folders, the key and both values where metrics or environments differ, or
    data and `allow_different_data` is false.
    """
    different = {}
    first: dict[str, tuple[Path, Run]] = {}
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


def _measure(run: Run) -> list[tuple[str, object]]:
    record = run.evaluations[-1]
    return [
        ("the metric of evaluations.jsonl", record.get("metric", run.task.metric)),
        ("env of config.json", run.config.get("env")),
    ]


def data_checksum(run: Run) -> str | None:
    """The checksum of the data that the run was trained on; None where it was not recorded."""
    return run.environment.get("data", {}).get("checksum")


def _shown(checksum: str | None) -> str:
    return "missing" if checksum is None else checksum


def check_disjoint(runs: Sequence[tuple[Path, Run]]) -> None:
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
