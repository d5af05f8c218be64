"""What the page of a comparison says in words: its heading, published numbers, runs and data."""

from typing import NamedTuple

from tiltflow.evaluation.published import PublishedScore, published
from tiltflow.report import words
from tiltflow.report.command import train_command
from tiltflow.report.compare.record import Comparison
from tiltflow.report.compare.summary import Summary
from tiltflow.report.compare.tables import NO_SCORE, Entry, number
from tiltflow.report.record import Run
from tiltflow.report.verdict import Interval
from tiltflow.report.verdict import verdict as say
from tiltflow.tasks import Task


class PublishedTable(NamedTuple):
    """Published scores: algorithms with the number of their source, a row a task, sources, notes."""

    algorithms: list[tuple[str, int]]
    rows: list[tuple[str, list[str]]]
    sources: list[tuple[str, str]]
    notes: list[str]


class RunLine(NamedTuple):
    """A run folder: where it belongs, what it is, the command that made it."""

    task: str
    column: str
    folder: str
    seeds: str
    steps: str
    state: str
    version: str
    command: str


class DataLine(NamedTuple):
    """The data behind our runs on a task."""

    task: str
    source: str
    transitions: str
    checksum: str


def title(comparison: Comparison) -> tuple[list[str], str]:
    """What is compared, in up to three names, and on what."""
    labels = [column.label for column in comparison.columns]
    algorithms = {column.algorithm for column in comparison.columns}
    what = "algorithms" if len(algorithms) == len(labels) else "configurations"
    names = labels if len(labels) <= 3 else [f"{len(labels)} {what}"]
    tasks = comparison.tasks
    return names, tasks[0].name if len(tasks) == 1 else f"{len(tasks)} tasks"


def leader(comparison: Comparison, summary: Summary) -> str | None:
    """The column with the highest IQM; without aggregates the highest mean on the one task there is."""
    means, _ = _standing(comparison, summary)
    return max(means, key=lambda label: means[label]) if len(means) > 1 else None


def verdict(comparison: Comparison, summary: Summary) -> str:
    """Who leads, by what, and whether its interval is clear of the others'."""
    means, intervals = _standing(comparison, summary)
    if not means:
        return ""
    task = comparison.tasks[0]
    what, unit = task.metric, words.unit(task.unit)
    if summary.aggregates:
        what, unit = f"IQM of {words.plural(len(summary.tasks), 'task')}", ""
    fewest = min(cell.result["seeds"] for cell in comparison.cells.values())
    equal = all(comparison.on_equal_terms(task) for task in summary.tasks or comparison.tasks)
    return say(what, unit, means, intervals, fewest, on_equal_terms=equal)


def _standing(comparison: Comparison, summary: Summary) -> tuple[dict[str, float], dict[str, Interval]]:
    """What the lead is decided by: the IQM, or the mean on the one task there is; with its intervals."""
    if summary.aggregates:
        estimates = summary.aggregates[0].estimates
        return (
            {label: estimate.value for label, estimate in estimates.items()},
            {label: estimate.interval for label, estimate in estimates.items()},
        )
    if len(comparison.tasks) > 1:
        return {}, {}
    results = {column.label: cell.result for column, cell in comparison.row(comparison.tasks[0])}
    means = {label: result["mean"] for label, result in results.items()}
    return means, {
        label: tuple(result["ci95"]) if result["seeds"] > 1 else None for label, result in results.items()
    }


def published_table(comparison: Comparison) -> PublishedTable | None:
    """The published scores on these tasks; None where there are none."""
    entries = [entry for task in comparison.tasks for entry in published(task.name)]
    if not entries:
        return None
    sources = list(dict.fromkeys((entry.source, entry.protocol) for entry in entries))
    notes = list(dict.fromkeys(entry.note for entry in entries if entry.note))
    algorithms = sorted(
        {(entry.algorithm, sources.index((entry.source, entry.protocol)) + 1) for entry in entries},
        key=lambda pair: (pair[1], pair[0]),
    )
    rows = []
    for task in comparison.tasks:
        if known := {_place(entry, sources): entry for entry in published(task.name)}:
            rows.append((task.name, [_published(known.get(place), notes) for place in algorithms]))
    return PublishedTable(algorithms, rows, sources, notes)


def _place(entry: PublishedScore, sources: list[tuple[str, str]]) -> tuple[str, int]:
    return entry.algorithm, sources.index((entry.source, entry.protocol)) + 1


def _published(entry: PublishedScore | None, notes: list[str]) -> str:
    if entry is None:
        return "–"
    return number(entry.score) + (f" ({_letter(notes.index(entry.note))})" if entry.note else "")


def _letter(index: int) -> str:
    return "abcdefgh"[index]


def note_letters(table: PublishedTable) -> list[tuple[str, str]]:
    """The notes of a table of published scores with the letters that its cells bear."""
    return [(_letter(index), note) for index, note in enumerate(table.notes)]


def ours(entry: Entry) -> tuple[str, str]:
    """Our score beside published ones: mean with its marks, and interval with what is behind it."""
    if entry.number == NO_SCORE:
        return NO_SCORE, ""
    return entry.number + entry.marks, f"[{entry.interval}] {entry.basis}"


def run_lines(comparison: Comparison) -> list[RunLine]:
    """Every run folder of the comparison, task by task."""
    return [
        RunLine(
            task.name,
            column.label,
            str(folder),
            ", ".join(map(str, run.seed_numbers)),
            words.count(run.result["steps"]) if run.result else "–",
            "finished" if run.finished else f"at step {words.count(run.last_step)}",
            _made_with(run),
            train_command(run.config),
        )
        for task in comparison.tasks
        for column, cell in comparison.row(task)
        for folder, run in zip(cell.folders, cell.runs, strict=True)
    ]


def _made_with(run: Run) -> str:
    known = run.environment
    return f"tiltflow {known.get('tiltflow', 'unknown')}, {known.get('device', 'unknown device')}"


def data_lines(comparison: Comparison) -> list[DataLine]:
    """The different data that our runs were trained on."""
    return list(dict.fromkeys(line for task in comparison.tasks for line in _data_lines(comparison, task)))


def _data_lines(comparison: Comparison, task: Task) -> list[DataLine]:
    data = [run.environment.get("data", {}) for _, cell in comparison.row(task) for run in cell.runs]
    by_checksum = {record.get("checksum"): record for record in reversed(data)}
    return [
        DataLine(
            task.name,
            str(record.get("source", "not recorded")),
            words.count(record["transitions"]) if "transitions" in record else "not recorded",
            str(record.get("checksum", "not recorded")),
        )
        for record in by_checksum.values()
    ]
