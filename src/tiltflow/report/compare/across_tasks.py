"""What a comparison says of all tasks together: aggregates, profiles and probabilities of improvement."""

from collections.abc import Callable
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from tiltflow.evaluation import aggregates
from tiltflow.evaluation.aggregates import TaskScores, stratified_interval
from tiltflow.report.compare.comparison import Comparison
from tiltflow.report.compare.variants import Variant
from tiltflow.tasks import Task

GAMMA = 100.0
IMPROVEMENT_RESAMPLES = 2000
PROFILE_RESAMPLES = 1000
HUNDRED_POINT_UNITS = ("%", "points")
ENOUGH_SEEDS = 3
"""Seeds below which no interval is said to be clear of another: of two seeds it misses the mean too often."""


class ScoreEstimate(NamedTuple):
    """A number with its 95 % interval; None where a column has one seed on a task, which shows no spread."""

    value: float
    interval: tuple[float, float] | None


class TaskAggregate(NamedTuple):
    """One aggregate of every column, in points of a scale on which 100 is success or an expert's return."""

    name: str
    meaning: str
    estimates: dict[str, ScoreEstimate]


class Profile(NamedTuple):
    """Share of runs in percent above each threshold, with its 95 % band."""

    thresholds: Float[np.ndarray, " n"]
    share: Float[np.ndarray, " n"]
    low: Float[np.ndarray, " n"]
    high: Float[np.ndarray, " n"]


class ImprovementChance(NamedTuple):
    """Chance in percent that a seed of one column beats one of the other on the same task.

    `clear`: its interval does not reach 50 %, and no score behind it has fewer than ENOUGH_SEEDS.
    """

    chance: ScoreEstimate
    tasks: int
    clear: bool


class AcrossTasks(NamedTuple):
    """`tasks` are those of the aggregates, `seeds` each column's count on them; `notes`: what is left out."""

    tasks: tuple[Task, ...]
    seeds: dict[str, list[int]]
    aggregates: list[TaskAggregate]
    profiles: dict[str, Profile]
    improvements: dict[tuple[str, str], ImprovementChance]
    notes: list[str]


_KINDS: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    ("IQM", "mean of the middle half of all runs of all tasks", aggregates.interquartile_mean),
    ("mean", "mean over tasks of each task's mean", aggregates.mean),
    ("median", "median over tasks of each task's mean", aggregates.median),
    (
        "optimality gap",
        "how far runs fall short of 100 on average; lower is better",
        lambda scores: aggregates.optimality_gap(scores, GAMMA),
    ),
)


def across_tasks(comparison: Comparison) -> AcrossTasks:
    """Join tasks whose score has one scale of 0 to 100; compare columns in pairs on all tasks they share.

    Aggregates are over the tasks on which every column has a score; a column with fewer than two such tasks
    is left out first. There are none where fewer than two tasks remain.
    """
    tasks, columns, notes = _shared(comparison)
    scores = {column.label: _scores(comparison, column, tasks) for column in columns}
    joined = [
        TaskAggregate(name, meaning, {label: _estimate(kind, value) for label, value in scores.items()})
        for name, meaning, kind in _KINDS
    ]
    seeds = {label: [len(task) for task in of_column] for label, of_column in scores.items()}
    aggregated = joined if columns else []
    notes += _unfinished(comparison)
    return AcrossTasks(tasks, seeds, aggregated, _profiles(scores), _improvements(comparison), notes)


def _shared(comparison: Comparison) -> tuple[tuple[Task, ...], tuple[Variant, ...], list[str]]:
    notes = []
    scaled = [task for task in comparison.tasks if task.unit in HUNDRED_POINT_UNITS]
    if plain := [task.name for task in comparison.tasks if task not in scaled]:
        notes.append(
            f"Left out of the aggregates: {', '.join(plain)}, whose scores have no scale of 0 to 100."
        )
    if len(scaled) < 2:
        return (), (), [*notes, "No aggregates: they need two tasks with scores on a scale of 0 to 100."]
    columns = [
        column
        for column in comparison.columns
        if sum(comparison.cell(task, column) is not None for task in scaled) > 1
    ]
    if few := [column.label for column in comparison.columns if column not in columns]:
        notes.append(f"Without aggregates, having been run on fewer than two such tasks: {', '.join(few)}.")
    common = [task for task in scaled if all(comparison.cell(task, column) for column in columns)]
    if missing := [task.name for task in scaled if task not in common]:
        notes.append(f"Left out of the aggregates, as not every column has a score: {', '.join(missing)}.")
    if len(common) < 2 or not columns:
        return (), (), [*notes, "No aggregates: they need two tasks on which every column has a score."]
    return tuple(common), tuple(columns), notes


def _scores(comparison: Comparison, column: Variant, tasks: tuple[Task, ...]) -> TaskScores:
    return [cell.per_seed for task in tasks if (cell := comparison.cell(task, column))]


def _fewest(*samples: TaskScores) -> int:
    return min(len(task) for scores in samples for task in scores)


def _estimate(kind: Callable[..., Any], *samples: TaskScores, **options: Any) -> ScoreEstimate:
    value = float(kind(*samples))
    if _fewest(*samples) == 1:
        return ScoreEstimate(value, None)
    low, high = stratified_interval(kind, *samples, **options)
    return ScoreEstimate(value, (float(low), float(high)))


def _profiles(scores: dict[str, TaskScores]) -> dict[str, Profile]:
    if not scores:
        return {}
    values = np.concatenate([task for of_column in scores.values() for task in of_column])
    thresholds = np.linspace(min(0.0, values.min()), max(100.0, values.max()), 101)

    def share(of_column: TaskScores) -> Any:
        return 100.0 * aggregates.performance_profile(of_column, thresholds)

    return {
        label: Profile(
            thresholds,
            share(of_column),
            *stratified_interval(share, of_column, resamples=PROFILE_RESAMPLES),
        )
        for label, of_column in scores.items()
    }


def _improvements(comparison: Comparison) -> dict[tuple[str, str], ImprovementChance]:
    """Every ordered pair of columns that are finished on a common task; the second is the first's mirror."""
    found = {}
    for one, other in combinations(comparison.columns, 2):
        cells = {
            task: (comparison.cell(task, one), comparison.cell(task, other)) for task in comparison.tasks
        }
        both = tuple(task for task, pair in cells.items() if all(cell and cell.finished for cell in pair))
        if not both:
            continue
        samples = [_scores(comparison, column, both) for column in (one, other)]
        value, interval = _estimate(_chance, *samples, resamples=IMPROVEMENT_RESAMPLES)
        clear = interval is not None and not interval[0] <= 50 <= interval[1]
        clear &= _fewest(*samples) >= ENOUGH_SEEDS
        mirrored = None if interval is None else (100 - interval[1], 100 - interval[0])
        for pair, chance in (
            ((one, other), ScoreEstimate(value, interval)),
            ((other, one), ScoreEstimate(100 - value, mirrored)),
        ):
            found[pair[0].label, pair[1].label] = ImprovementChance(chance, len(both), clear)
    return found


def _unfinished(comparison: Comparison) -> list[str]:
    """Which cells no probability of improvement is of: a policy half trained loses for that alone."""
    places = [
        f"{column.label} on {task.name}"
        for task in comparison.tasks
        for column, cell in comparison.row(task)
        if not cell.finished
    ]
    if not places:
        return []
    return [f"Left out of the probabilities of improvement, not being finished: {', '.join(places)}."]


def _chance(one: TaskScores, other: TaskScores) -> Any:
    return 100.0 * aggregates.probability_of_improvement(one, other)
