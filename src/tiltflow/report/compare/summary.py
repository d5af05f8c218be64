"""What a comparison says of all tasks together: aggregates, profiles and probabilities of improvement."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from tiltflow.evaluation import aggregates
from tiltflow.evaluation.aggregates import Scores, stratified_interval
from tiltflow.report.compare.record import Comparison
from tiltflow.report.compare.variants import Variant
from tiltflow.tasks import Task

GAMMA = 100.0
IMPROVEMENT_RESAMPLES = 2000
PROFILE_RESAMPLES = 1000
HUNDRED_POINT_UNITS = ("%", "points")


class Estimate(NamedTuple):
    """A number with its 95 % interval; None where a column has one seed on a task, which shows no spread."""

    value: float
    interval: tuple[float, float] | None


class Aggregate(NamedTuple):
    """One aggregate of every column, in points of a scale on which 100 is success or an expert's return."""

    name: str
    meaning: str
    estimates: dict[str, Estimate]


class Profile(NamedTuple):
    """Share of runs in percent above each threshold, with its 95 % band."""

    thresholds: Float[np.ndarray, " n"]
    share: Float[np.ndarray, " n"]
    low: Float[np.ndarray, " n"]
    high: Float[np.ndarray, " n"]


class Improvement(NamedTuple):
    """Chance in percent that a seed of one column beats one of the other on the same task."""

    chance: Estimate
    tasks: int


class Summary(NamedTuple):
    """`tasks` and `columns` are those of the aggregates and profiles, `notes` say what was left out."""

    tasks: tuple[Task, ...]
    columns: tuple[Variant, ...]
    aggregates: list[Aggregate]
    profiles: dict[str, Profile]
    improvements: dict[tuple[str, str], Improvement]
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


def summarise(comparison: Comparison) -> Summary:
    """Join tasks whose score has one scale of 0 to 100; compare columns in pairs on all tasks they share.

    Aggregates are over the tasks on which every column has a score; a column with fewer than two such tasks
    is left out first. There are none where fewer than two tasks remain.
    """
    tasks, columns, notes = _shared(comparison)
    scores = {column.label: _scores(comparison, column, tasks) for column in columns}
    return Summary(
        tasks,
        columns,
        [
            Aggregate(name, meaning, {label: _estimate(kind, value) for label, value in scores.items()})
            for name, meaning, kind in _KINDS
        ]
        if columns
        else [],
        _profiles(scores),
        _improvements(comparison),
        notes,
    )


def _shared(comparison: Comparison) -> tuple[tuple[Task, ...], tuple[Variant, ...], list[str]]:
    notes = []
    scaled = [task for task in comparison.tasks if task.unit in HUNDRED_POINT_UNITS]
    if plain := [task.name for task in comparison.tasks if task not in scaled]:
        notes.append(
            f"Left out of the aggregates: {', '.join(plain)}, measured by a plain return, which has no scale "
            "of 0 to 100."
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


def _scores(comparison: Comparison, column: Variant, tasks: tuple[Task, ...]) -> Scores:
    return [cell.per_seed for task in tasks if (cell := comparison.cell(task, column))]


def _one_seed(*samples: Scores) -> bool:
    """Whether there is a sample that cannot show how much seeds differ."""
    return any(len(task) == 1 for scores in samples for task in scores)


def _estimate(kind: Callable[..., Any], *samples: Scores, **options: Any) -> Estimate:
    value = float(kind(*samples))
    if _one_seed(*samples):
        return Estimate(value, None)
    low, high = stratified_interval(kind, *samples, **options)
    return Estimate(value, (float(low), float(high)))


def _profiles(scores: dict[str, Scores]) -> dict[str, Profile]:
    if not scores:
        return {}
    values = np.concatenate([task for of_column in scores.values() for task in of_column])
    thresholds = np.linspace(min(0.0, values.min()), max(100.0, values.max()), 101)

    def share(of_column: Scores) -> Any:
        return 100.0 * aggregates.performance_profile(of_column, thresholds)

    return {
        label: Profile(
            thresholds,
            share(of_column),
            *stratified_interval(share, of_column, resamples=PROFILE_RESAMPLES),
        )
        for label, of_column in scores.items()
    }


def _improvements(comparison: Comparison) -> dict[tuple[str, str], Improvement]:
    """Every ordered pair of columns that share a task; the second order is the first one's mirror."""
    found = {}
    for place, one in enumerate(comparison.columns):
        for other in comparison.columns[place + 1 :]:
            both = [t for t in comparison.tasks if comparison.cell(t, one) and comparison.cell(t, other)]
            if not both:
                continue
            samples = [_scores(comparison, column, tuple(both)) for column in (one, other)]
            chance = _estimate(_chance, *samples, resamples=IMPROVEMENT_RESAMPLES)
            found[one.label, other.label] = Improvement(chance, len(both))
            interval = chance.interval
            mirrored = None if interval is None else (100 - interval[1], 100 - interval[0])
            found[other.label, one.label] = Improvement(Estimate(100 - chance.value, mirrored), len(both))
    return found


def _chance(one: Scores, other: Scores) -> Any:
    return 100.0 * aggregates.probability_of_improvement(one, other)
