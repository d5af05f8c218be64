"""Many run folders as one table: tasks in rows, algorithms in columns, seeds joined in its cells."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from tiltflow.errors import UserError
from tiltflow.evaluation.statistics import result_record
from tiltflow.report.compare.checks import (
    EPISODE_KEYS,
    check_comparable,
    check_disjoint,
    read_evaluated_run,
)
from tiltflow.report.compare.variants import Variant, name_variants, same_configuration
from tiltflow.report.record import Curve, Run
from tiltflow.tasks import Task


@dataclass(frozen=True)
class Cell:
    """One column on one task: the folders that were joined, their runs, and all seeds as one run."""

    folders: tuple[Path, ...]
    runs: tuple[Run, ...]
    joined: Run

    @property
    def result(self) -> dict[str, Any]:
        """The content of a result.json of all seeds: see `evaluation.statistics.result_record`."""
        assert self.joined.result is not None
        return self.joined.result

    @property
    def per_seed(self) -> Float[np.ndarray, " seeds"]:
        return np.array(self.result["per_seed"])

    @property
    def seed_numbers(self) -> list[int]:
        return sorted(chain.from_iterable(run.seed_numbers for run in self.runs))

    @property
    def finished(self) -> bool:
        return self.joined.finished

    @cached_property
    def curve(self) -> Curve:
        """The score at every evaluation of the last stage."""
        return list(self.joined.scores.values())[-1]


@dataclass(frozen=True)
class Comparison:
    """What is compared. A cell is missing where an algorithm was not run on a task."""

    tasks: tuple[Task, ...]
    columns: tuple[Variant, ...]
    cells: dict[tuple[str, str], Cell]
    """By the name of the task and the label of the column."""
    different_data: tuple[str, ...]
    """Names of the tasks whose runs were trained on different data."""

    def cell(self, task: Task, column: Variant) -> Cell | None:
        return self.cells.get((task.name, column.label))

    def row(self, task: Task) -> list[tuple[Variant, Cell]]:
        """The cells of a task with their columns."""
        return [(column, cell) for column in self.columns if (cell := self.cell(task, column))]

    def effort_differs(self, task: Task) -> bool:
        """Whether the cells of a task differ in gradient steps, or in episodes of each seed."""
        efforts = {(cell.result["steps"], cell.result["episodes"]) for _, cell in self.row(task)}
        return len(efforts) > 1


def read_comparison(folders: Iterable[Path], allow_different_data: bool = False) -> Comparison:
    """Read the runs in `folders`, finished or not, and join the seeds of runs that differ in seeds alone.

    Raises UserError where a folder is no run with evaluations, where runs on one task differ in metric,
    environment or (unless allowed) data, and where a seed would count twice.
    """
    read = [(folder, read_evaluated_run(folder)) for folder in folders]
    different = check_comparable(read, allow_different_data)
    variants = name_variants([run for _, run in read])
    groups: dict[tuple[str, str], list[tuple[Path, Run]]] = {}
    for (folder, run), variant in zip(read, variants, strict=True):
        groups.setdefault((run.task.name, variant.label), []).append((folder, run))
    algorithms = list(dict.fromkeys(variant.algorithm for variant in variants))
    columns = sorted(dict.fromkeys(variants), key=lambda variant: algorithms.index(variant.algorithm))
    tasks = tuple(dict.fromkeys(run.task for _, run in read))
    cells = {place: _join(members) for place, members in groups.items()}
    return Comparison(tasks, tuple(columns), cells, tuple(different))


def _join(members: Sequence[tuple[Path, Run]]) -> Cell:
    assert len({same_configuration(run) for _, run in members}) == 1
    check_disjoint(members)
    members = sorted(members, key=lambda member: member[1].config["seed"])
    folders, runs = zip(*members, strict=True)
    return Cell(folders, runs, _joined(members))


def _joined(members: Sequence[tuple[Path, Run]]) -> Run:
    """All seeds as one run with the evaluations that all of them have."""
    (folder, first), *others = members
    for other_folder, other in others:
        mine, theirs = first.evaluations[-1]["stage"], other.evaluations[-1]["stage"]
        if mine != theirs:
            raise UserError(
                f"{folder} was last evaluated in the stage {mine!r}, {other_folder} in {theirs!r}: their "
                "seeds are not yet of the same policy. Continue the one that is behind with `tiltflow train "
                "--resume`, or leave it out."
            )
    runs = [run for _, run in members]
    by_place = [{(r["stage"], r["step"]): r for r in run.evaluations} for run in runs]
    places = [place for place in by_place[0] if all(place in records for records in by_place)]
    if not places or places[-1][0] != first.evaluations[-1]["stage"]:
        raise UserError(
            f"{folder} and {others[0][0]} have no evaluation at the same gradient step of their last stage: "
            "their seeds cannot be joined. Continue the one that is behind, or leave it out."
        )
    evaluations = [
        records[0] | {key: [*chain.from_iterable(r[key] for r in records)] for key in EPISODE_KEYS}
        for records in ([found[place] for found in by_place] for place in places)
    ]
    finished = all(run.finished for run in runs)
    steps = min(run.result["steps"] for run in runs if run.result)
    seconds = sum(run.result["train_seconds"] for run in runs if run.result)
    result = result_record(first.task, first.algorithm, evaluations, steps, seconds)
    config = first.config | {"seeds": sum(run.config["seeds"] for run in runs)}
    return replace(first, evaluations=evaluations, finished=finished, result=result, config=config)
