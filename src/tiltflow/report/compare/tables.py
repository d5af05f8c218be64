"""The table of a comparison: its rows in words, with marks, and what the marks mean."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from tiltflow.report.compare.record import Comparison
from tiltflow.report.compare.summary import Summary
from tiltflow.report.figures import axis_label
from tiltflow.report.words import listing, plural
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
    top = max(means) if max(means) > min(means) else None
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
        if not cell.finished:
            stage = cell.joined.evaluations[-1]["stage"]
            basis.append(f"after {short_steps(result['steps'])} steps, stage {stage}")
        unusual = [
            text
            for usual, value, text in (
                (steps, result["steps"], f"{short_steps(result['steps'])} steps"),
                (episodes, result["episodes"], f"{result['episodes']} episodes"),
            )
            if (usual is None or value != usual) and (cell.finished or not text.endswith("steps"))
        ]
        marks = "" if cell.finished else UNFINISHED
        marks += EFFORT if comparison.effort_differs(task) and unusual else ""
        marks += DATA if task.name in comparison.different_data else ""
        best = result["mean"] == top
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
        entries = []
        for column in comparison.columns:
            estimate = aggregate.estimates.get(column.label)
            if estimate is None:
                entries.append(Entry(NO_SCORE, "", "", "", False))
                continue
            interval = interval_text(estimate.interval) if estimate.interval else ""
            seeds = [
                cell.result["seeds"] for task in summary.tasks if (cell := comparison.cell(task, column))
            ]
            basis = f"{_range(seeds)} seed{'s' * (max(seeds) > 1)} a task"
            best = estimate.value == top and max(values) > min(values)
            entries.append(Entry(number(estimate.value), interval, basis, "", best))
        lines.append(Line(f"{aggregate.name} of {plural(len(summary.tasks), 'task')}", "points", entries))
    return lines


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


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
    if any(cell.result["ci95"][0] == cell.result["ci95"][1] for cell in cells):
        lines.append(
            "An interval of no width means that all episodes scored alike, not that another training or more "
            "episodes would."
        )
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
    lines = []
    for why, places in groups.items():
        names = [
            f"{listing(algorithms)} on {task}, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
            for (task, seeds), algorithms in places.items()
        ]
        lines.append(f"Left out, {why}: {'; '.join(names)}.")
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
