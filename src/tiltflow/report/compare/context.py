"""What the page of a comparison says in words: its heading, published numbers, runs and data."""

from typing import NamedTuple

from tiltflow.evaluation.published import PublishedScore, published
from tiltflow.report import words
from tiltflow.report.command import train_command
from tiltflow.report.compare.record import Cell, Comparison
from tiltflow.report.compare.summary import Summary
from tiltflow.report.compare.tables import interval_text, number
from tiltflow.report.record import Run
from tiltflow.tasks import Task

ENOUGH_SEEDS = 3
"""Seeds below which no interval is said to be clear of another: of two seeds it misses the mean too often."""


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
    if summary.aggregates:
        estimates = summary.aggregates[0].estimates
        return max(estimates, key=lambda label: estimates[label].value) if len(estimates) > 1 else None
    row = comparison.row(comparison.tasks[0])
    if len(comparison.tasks) > 1 or len(row) < 2:
        return None
    return max(row, key=lambda pair: pair[1].result["mean"])[0].label


def verdict(comparison: Comparison, summary: Summary) -> str:
    """Who leads, by what, and whether its interval is clear of the others'."""
    best = leader(comparison, summary)
    if best is None:
        return ""
    if summary.aggregates:
        values = summary.aggregates[0].estimates
        means = {label: estimate.value for label, estimate in values.items()}
        intervals = {label: estimate.interval for label, estimate in values.items()}
        what, unit = f"IQM of {words.plural(len(summary.tasks), 'task')}", ""
    else:
        task = comparison.tasks[0]
        results = {column.label: cell.result for column, cell in comparison.row(task)}
        means = {label: result["mean"] for label, result in results.items()}
        # With one seed the interval says nothing of another training.
        intervals = {
            label: tuple(result["ci95"]) if result["seeds"] > 1 else None for label, result in results.items()
        }
        what, unit = task.metric, words.unit(task.unit)
    text = f"{best} has the highest {what}: {words.score(means[best])}{unit}. "
    own = intervals[best]
    if own is None:
        return (
            text + "With one seed on each task there is no interval: another seed may turn the order round."
        )
    others = [label for label in means if label != best]
    near = [label for label in others if (other := intervals[label]) is None or other[1] >= own[0]]
    if near:
        return text + f"Its 95 % interval is not clear of {_some(near)}."
    fewest = min(cell.result["seeds"] for cell in comparison.cells.values())
    doubt = f", but with {fewest} seeds intervals are far too narrow to tell" if fewest < ENOUGH_SEEDS else ""
    return text + f"Its 95 % interval lies above {_some(others)}{doubt}."


def _some(labels: list[str]) -> str:
    return words.listing(labels) if len(labels) <= 4 else f"those of {len(labels)} others"


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


def ours(cell: Cell | None) -> tuple[str, str]:
    """Our score beside published ones: mean and interval."""
    if cell is None:
        return "–", ""
    return number(cell.result["mean"]), interval_text(cell.result["ci95"])


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
