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
from tiltflow.evaluation.lines import join_lines
from tiltflow.evaluation.statistics import result_record, undetermined_share
from tiltflow.report.compare.comparable import (
    LeftOut,
    check_comparable,
    check_disjoint,
    read_evaluated_run,
)
from tiltflow.report.compare.variants import Variant, name_variants
from tiltflow.report.record import Curve, RunContent
from tiltflow.tasks import Task
from tiltflow.words import no_estimate


@dataclass(frozen=True)
class ScoreCell:
    """One column on one task: the folders that were joined, their runs, and all seeds as one run."""

    folders: tuple[Path, ...]
    runs: tuple[RunContent, ...]
    joined: RunContent

    @property
    def result(self) -> dict[str, Any]:
        """The content of a result.json of all seeds: see `evaluation.statistics.result_record`."""
        assert self.joined.result is not None
        return self.joined.result

    @property
    def interval(self) -> tuple[float, float]:
        low, high = self.result["ci95"]
        return low, high

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
    cells: dict[tuple[str, str], ScoreCell]
    """By the name of the task and the label of the column."""
    different_data: tuple[str, ...]
    """Names of the tasks whose runs were trained on different data."""
    left_out: tuple[LeftOut, ...] = ()

    @property
    def fewest_seeds(self) -> int:
        return min(cell.result["seeds"] for cell in self.cells.values())

    def cell(self, task: Task, column: Variant) -> ScoreCell | None:
        return self.cells.get((task.name, column.label))

    def row(self, task: Task) -> list[tuple[Variant, ScoreCell]]:
        """The cells of a task with their columns."""
        return [(column, cell) for column in self.columns if (cell := self.cell(task, column))]

    def on_equal_terms(self, task: Task) -> bool:
        """Whether all cells of a task are finished, of the same effort and of the same data."""
        finished = all(cell.finished for _, cell in self.row(task))
        return finished and not self.effort_differs(task) and task.name not in self.different_data

    def effort_differs(self, task: Task) -> bool:
        """Whether the cells of a task differ in gradient steps, or in episodes of each seed."""
        efforts = {(cell.result["steps"], cell.result["episodes"]) for _, cell in self.row(task)}
        return len(efforts) > 1


def read_comparison(
    folders: Iterable[Path], allow_different_data: bool = False, left_out: Iterable[LeftOut] = ()
) -> Comparison:
    """Read the runs in `folders`, finished or not, and join the seeds of runs that differ in seeds alone.

    A run that is behind the others of its cell joins what is `left_out` already: unfinished beside finished
    ones, or not yet evaluated where the one that is ahead was; so does one whose estimate is none. Raises
    UserError where a folder is no run with
    evaluations, where runs on one task differ in metric, environment or (unless allowed) data, and where a
    seed would count twice.
    """
    behind = list(left_out)
    read = _estimated([(folder, read_evaluated_run(folder)) for folder in folders], behind)
    different = check_comparable(read, allow_different_data)
    variants = name_variants([run for _, run in read])
    groups: dict[tuple[str, str], list[tuple[Path, RunContent]]] = {}
    for (folder, run), variant in zip(read, variants, strict=True):
        groups.setdefault((run.task.name, variant.label), []).append((folder, run))
    algorithms = list(dict.fromkeys(variant.algorithm for variant in variants))
    columns = sorted(dict.fromkeys(variants), key=lambda variant: algorithms.index(variant.algorithm))
    tasks = tuple(dict.fromkeys(run.task for _, run in read))
    cells = {place: _join(members, behind) for place, members in groups.items()}
    return Comparison(tasks, tuple(columns), cells, tuple(different), tuple(behind))


def _estimated(
    read: Sequence[tuple[Path, RunContent]], left_out: list[LeftOut]
) -> list[tuple[Path, RunContent]]:
    """The runs but those whose estimate is none. Raises UserError where no run is left."""
    kept = []
    for folder, run in read:
        if share := undetermined_share(run.evaluations):
            left_out.append(
                LeftOut(run.algorithm, run.task.name, tuple(run.seed_numbers), no_estimate(share))
            )
        else:
            kept.append((folder, run))
    if not kept:
        raise UserError(
            f"None of these runs can be compared: {left_out[-1].algorithm} has {left_out[-1].why}"
        )
    return kept


def _join(members: Sequence[tuple[Path, RunContent]], left_out: list[LeftOut]) -> ScoreCell:
    check_disjoint(members)
    kept, why = _abreast(members)
    left_out += [
        LeftOut(run.algorithm, run.task.name, tuple(run.seed_numbers), why)
        for folder, run in members
        if folder not in kept
    ]
    members = sorted((m for m in members if m[0] in kept), key=lambda member: member[1].config["seed"])
    folders, runs = zip(*members, strict=True)
    return ScoreCell(folders, runs, _joined(members))


def _abreast(members: Sequence[tuple[Path, RunContent]]) -> tuple[list[Path], str]:
    """The runs that are finished, or else those evaluated in the stage of the one that is ahead.

    And why the others are left out.
    """
    if finished := [folder for folder, run in members if run.finished]:
        return finished, "not finished, beside seeds that are"
    ahead = max((run for _, run in members), key=lambda run: run.evaluations[-1]["step"])
    stage = ahead.evaluations[-1]["stage"]
    first = next(place for place in _by_place(ahead) if place[0] == stage)
    kept = [folder for folder, run in members if first in _by_place(run)]
    return kept, f"not yet evaluated as others are, in the stage {stage}"


def _by_place(run: RunContent) -> dict[tuple[str, int], dict[str, Any]]:
    return {(record["stage"], record["step"]): record for record in run.evaluations}


def _joined(members: Sequence[tuple[Path, RunContent]]) -> RunContent:
    """All seeds as one run with the evaluations that all of them have."""
    runs = [run for _, run in members]
    first = runs[0]
    by_place = [_by_place(run) for run in runs]
    places = [place for place in by_place[0] if all(place in records for records in by_place)]
    if not places or places[-1][0] != first.evaluations[-1]["stage"]:
        folders = " and ".join(str(folder) for folder, _ in members)
        raise UserError(
            f"{folders} have no evaluation at the same gradient step of their last stage: their seeds cannot "
            "be joined. Compare them apart."
        )
    evaluations = [join_lines([found[place] for found in by_place]) for place in places]
    finished = all(run.finished for run in runs)
    steps = min(run.result["steps"] for run in runs if run.result) if finished else places[-1][1]
    seconds = sum(run.result["train_seconds"] for run in runs if run.result)
    result = result_record(first.task, first.algorithm, evaluations, steps, seconds)
    config = first.config | {"seeds": sum(run.config["seeds"] for run in runs)}
    return replace(first, evaluations=evaluations, finished=finished, result=result, config=config)
