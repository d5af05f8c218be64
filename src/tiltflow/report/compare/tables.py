"""The table of a comparison: its rows in words, with marks, and what the marks mean."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from tiltflow.report.compare.record import Comparison
from tiltflow.report.compare.summary import Estimate, Summary
from tiltflow.report.figures import axis_label
from tiltflow.report.words import plural
from tiltflow.tasks import Task

UNFINISHED, EFFORT, DATA = "†", "‡", "§"
NO_SCORE = "–"
SIDE_BY_SIDE = 6
"""Columns that a screen shows side by side; of more, each is a row, and their curves have no bands."""


class Entry(NamedTuple):
    """A cell in words: the number, its interval, what is behind it and its marks."""

    number: str
    interval: str
    basis: str
    marks: str
    best: bool

    def __str__(self) -> str:
        if self.number == NO_SCORE:
            return NO_SCORE
        interval = f" [{self.interval}]" if self.interval else ""
        basis = f" ({self.basis})" if self.basis else ""
        return f"{self.number}{self.marks}{interval}{basis}"


class Line(NamedTuple):
    """A row: its name, the metric with its unit, and an entry for each column."""

    name: str
    metric: str
    entries: list[Entry]


def task_lines(comparison: Comparison) -> list[Line]:
    """One row a task; `best` is the highest mean, where there are several."""
    return [_task_line(comparison, task) for task in comparison.tasks]


def _task_line(comparison: Comparison, task: Task) -> Line:
    means = [cell.result["mean"] for _, cell in comparison.row(task)]
    cells = [comparison.cell(task, column) for column in comparison.columns]
    steps = _usual(comparison, task, "steps")
    episodes = _usual(comparison, task, "episodes")
    entries = []
    for cell in cells:
        if cell is None:
            entries.append(Entry(NO_SCORE, "", "", "", False))
            continue
        result = cell.result
        basis = [plural(result["seeds"], "seed")]
        unusual = [
            text
            for usual, value, text in (
                (steps, result["steps"], f"{short_steps(result['steps'])} steps"),
                (episodes, result["episodes"], f"{result['episodes']} episodes"),
            )
            if usual is None or value != usual
        ]
        marks = "" if cell.finished else UNFINISHED
        marks += EFFORT if comparison.effort_differs(task) and unusual else ""
        marks += DATA if task.name in comparison.different_data else ""
        best = len(means) > 1 and result["mean"] == max(means)
        entries.append(
            Entry(
                number(result["mean"]), interval_text(result["ci95"]), ", ".join(basis + unusual), marks, best
            )
        )
    return Line(task.name, axis_label(task.metric, task.unit), entries)


def _usual(comparison: Comparison, task: Task, key: str) -> Any:
    """The value that most cells of the row have; None where no value has most."""
    counts = Counter(cell.result[key] for _, cell in comparison.row(task)).most_common(2)
    return counts[0][0] if len(counts) == 1 or counts[0][1] > counts[1][1] else None


def aggregate_lines(comparison: Comparison, summary: Summary) -> list[Line]:
    """One row an aggregate, over the tasks of the summary."""
    lines = []
    for aggregate in summary.aggregates:
        values = [estimate.value for estimate in aggregate.estimates.values()]
        top = min(values) if aggregate.name == "optimality gap" else max(values)
        entries = [
            _estimate_entry(aggregate.estimates.get(column.label), len(values) > 1, top)
            for column in comparison.columns
        ]
        lines.append(Line(f"{aggregate.name} of {plural(len(summary.tasks), 'task')}", "points", entries))
    return lines


def _estimate_entry(estimate: Estimate | None, several: bool, top: float) -> Entry:
    if estimate is None:
        return Entry(NO_SCORE, "", "", "", False)
    interval = interval_text(estimate.interval) if estimate.interval else ""
    return Entry(number(estimate.value), interval, "", "", several and estimate.value == top)


def legend(comparison: Comparison) -> list[str]:
    """What the marks of this table mean, and its intervals."""
    cells = list(comparison.cells.values())
    lines = [
        "Mean over seeds of the last three evaluations, never the best, and its 95 % bootstrap interval; "
        "aggregates: stratified bootstrap over seeds."
    ]
    if any(cell.result["seeds"] == 1 for cell in cells):
        lines.append(
            "With one seed the interval is about the evaluations and episodes of that one training only."
        )
    if any(not cell.finished for cell in cells):
        lines.append(f"{UNFINISHED} not finished: scored by the evaluations so far.")
    if any(comparison.effort_differs(task) for task in comparison.tasks):
        lines.append(f"{EFFORT} other gradient steps or episodes of each seed than others on the task.")
    if comparison.different_data:
        lines.append(f"{DATA} runs on this task were trained on different data.")
    return lines


def number(value: float) -> str:
    """One decimal, with a true minus sign."""
    return f"{value:.1f}".replace("-", "−")


def interval_text(interval: Sequence[float]) -> str:
    """`40.1, 60.2`: a comma, since bounds may be negative."""
    return ", ".join(map(number, interval))


def short_steps(steps: float) -> str:
    """`150k`, `1.5M`; in full where that would round."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if steps >= size and steps % (size / 1000) == 0:
            return f"{steps / size:g}{letter}"
    return f"{steps:g}"


def improvement_rows(summary: Summary) -> list[list[str]]:
    """Each pair of columns once, the likelier winner first: what is compared, the chance, tasks behind it."""
    return [
        [
            f"{one} over {other}",
            number(found.chance.value)
            + (f" [{interval_text(found.chance.interval)}]" if found.chance.interval else ""),
            str(found.tasks),
        ]
        for (one, other), found in sorted(
            summary.improvements.items(), key=lambda pair: -pair[1].chance.value
        )
        if found.chance.value > 50 or (found.chance.value == 50 and one < other)
    ]
