"""The table of a comparison: its rows in words, with marks, and what the marks mean."""

from collections import Counter
from typing import Any, NamedTuple

from tiltflow import words
from tiltflow.report.compare.across_tasks import AcrossTasks
from tiltflow.report.compare.comparison import Comparison
from tiltflow.report.compare.variants import Variant
from tiltflow.tasks import Task

UNFINISHED, EFFORT, DATA = "†", "‡", "§"
NO_SCORE = "–"
SIDE_BY_SIDE = 6
"""Columns that a screen shows side by side; of more, each is a row, and their curves have no bands."""


class Entry(NamedTuple):
    """A cell in words: the number, its interval, what is behind it and its marks."""

    number: str = NO_SCORE
    interval: str = ""
    basis: str = ""
    marks: str = ""
    best: bool = False

    def __str__(self) -> str:
        interval = f" [{self.interval}]" if self.interval else ""
        basis = f" ({self.basis})" if self.basis else ""
        return f"{self.number}{self.marks}{interval}{basis}"


class TableLine(NamedTuple):
    """A row: its name, the metric with its unit, and an entry for each column."""

    name: str
    metric: str
    entries: list[Entry]


def task_lines(comparison: Comparison) -> list[TableLine]:
    """One row a task; `best` is the highest mean, where there are several."""
    lines = []
    for task in comparison.tasks:
        metric = words.metric_text(task.metric, task.unit)
        lines.append(TableLine(task.name, metric, [_entry(comparison, task, c) for c in comparison.columns]))
    return lines


def _entry(comparison: Comparison, task: Task, column: Variant) -> Entry:
    cell = comparison.cell(task, column)
    if cell is None:
        return Entry()
    means = [other.result["mean"] for _, other in comparison.row(task)]
    result, steps = cell.result, f"{words.short_steps(cell.result['steps'])} steps"
    basis = [words.plural(result["seeds"], "seed")]
    if not cell.finished:
        basis.append(f"after {steps}, stage {cell.joined.evaluations[-1]['stage']}")
    unusual = [key for key in ("steps", "episodes") if result[key] != _usual(comparison, task, key)]
    if "steps" in unusual and cell.finished:
        basis.append(steps)
    if "episodes" in unusual:
        basis.append(f"{result['episodes']} episodes")
    marks = "" if cell.finished else UNFINISHED
    marks += EFFORT if unusual and (cell.finished or "episodes" in unusual) else ""
    marks += DATA if task.name in comparison.different_data else ""
    best = result["mean"] == max(means) > min(means)
    return Entry(words.score_text(result["mean"]), bounds_text(cell.interval), ", ".join(basis), marks, best)


def _usual(comparison: Comparison, task: Task, key: str) -> Any:
    """The value that most cells of the row have; None where no value has most."""
    counts = Counter(cell.result[key] for _, cell in comparison.row(task)).most_common(2)
    return counts[0][0] if len(counts) == 1 or counts[0][1] > counts[1][1] else None


def aggregate_lines(comparison: Comparison, across: AcrossTasks) -> list[TableLine]:
    """One row an aggregate, over the tasks that all columns share."""
    lines = []
    for aggregate in across.aggregates:
        values = [estimate.value for estimate in aggregate.estimates.values()]
        top = min(values) if aggregate.name == "optimality gap" else max(values)
        entries = []
        for column in comparison.columns:
            if (estimate := aggregate.estimates.get(column.label)) is None:
                entries.append(Entry())
                continue
            low, high = min(across.seeds[column.label]), max(across.seeds[column.label])
            basis = f"{low}{f' to {high}' * (high > low)} seed{'s' * (high > 1)} a task"
            best = estimate.value == top and max(values) > min(values)
            number, interval = words.score_text(estimate.value), bounds_text(estimate.interval)
            entries.append(Entry(number, interval, basis, best=best))
        tasks = words.plural(len(across.tasks), "task")
        lines.append(TableLine(f"{aggregate.name} of {tasks}", "points", entries))
    return lines


def notes(comparison: Comparison, across: AcrossTasks) -> list[str]:
    """All that is to be said below the table."""
    return [*legend(comparison), *left_out_lines(comparison), *across.notes]


def legend(comparison: Comparison) -> list[str]:
    """What the marks of this table mean, and its intervals."""
    cells = list(comparison.cells.values())
    lines = [
        "Mean over seeds of the last evaluations, three at most, never the best, and its 95 % bootstrap "
        "interval; aggregates: stratified bootstrap over seeds."
    ]
    if any(cell.result["seeds"] == 1 for cell in cells):
        lines.append(
            "With one seed the interval is about the evaluations and episodes of that one training only."
        )
    if any(cell.result["ci95"][0] == cell.result["ci95"][1] for cell in cells):
        lines.append(
            "An interval of no width means that all episodes scored alike, not that another training or more "
            "episodes would."
        )
    for (task, label), cell in comparison.cells.items():
        betas = sorted({beta for run in cell.runs for beta in run.scored_betas})
        if len(betas) > 1:
            lines.append(
                f"{label} on {task}: the score is a mean over policies of β = "
                f"{words.listing(list(map(words.number, betas)))}."
            )
    for at in comparison.tasks:
        known = [cell.result["recorded"] for _, cell in comparison.row(at) if "recorded" in cell.result]
        # Several where the data of the runs differ.
        lines += [f"{at.name}, {text}." for text in dict.fromkeys(map(words.recorded_text, known))]
    if any(not cell.finished for cell in cells):
        lines.append(f"{UNFINISHED} not finished: scored by the evaluations so far.")
    if any(comparison.effort_differs(task) for task in comparison.tasks):
        lines.append(f"{EFFORT} other gradient steps or episodes of each seed than others on the task.")
    if comparison.different_data:
        lines.append(f"{DATA} runs on this task were trained on different data.")
    return lines


def left_out_lines(comparison: Comparison) -> list[str]:
    """The runs that are not in the table, by the reason why; those of one task and seed together."""
    groups: dict[str, dict[tuple[str, tuple[int, ...]], list[str]]] = {}
    for run in comparison.left_out:
        groups.setdefault(run.why, {}).setdefault((run.task, run.seeds), []).append(run.algorithm)
    return [
        f"Left out, {why}: "
        + "; ".join(
            f"{words.listing(algorithms)} on {task}, {words.seed_names(seeds)}"
            for (task, seeds), algorithms in places.items()
        )
        + "."
        for why, places in groups.items()
    ]


def bounds_text(interval: tuple[float, float] | None) -> str:
    """`40.1, 60.2`: a comma, since bounds may be negative; empty where there is no interval."""
    return words.interval_text(interval or (), between=", ")


def improvement_rows(across: AcrossTasks) -> list[list[str]]:
    """Each pair of columns once, the likelier winner first: what is compared, the chance, tasks behind it."""
    ranked = sorted(across.improvements.items(), key=lambda pair: -pair[1].chance.value)
    return [
        [f"{one} over {other}", str(Entry(words.score_text(value), bounds_text(interval))), str(tasks)]
        for (one, other), ((value, interval), tasks, _) in ranked
        if value > 50 or (value == 50 and one < other)
    ]
