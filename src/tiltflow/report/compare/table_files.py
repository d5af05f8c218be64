"""The table of a comparison as files: CSV, Markdown and LaTeX (booktabs)."""

import csv
import io
import shlex
from collections.abc import Callable, Sequence
from typing import Any

from tiltflow.report.compare.across_tasks import AcrossTasks
from tiltflow.report.compare.comparison import Comparison, ScoreCell
from tiltflow.report.compare.comparison_tables import (
    DATA,
    EFFORT,
    NO_SCORE,
    UNFINISHED,
    Entry,
    TableLine,
    aggregate_lines,
    notes,
    task_lines,
)
from tiltflow.tasks import Task

CSV_COLUMNS = (
    "row", "task", "algorithm", "metric", "unit", "mean", "ci95_low", "ci95_high", "iqm", "std", "seeds",
    "seed_numbers", "per_seed", "episodes_per_seed", "steps", "finished", "data_checksum", "data_transitions",
    "different_data", "runs",
)  # fmt: skip


def csv_text(comparison: Comparison, across: AcrossTasks) -> str:
    """One line a cell and one an aggregate of a column, unrounded; the columns are CSV_COLUMNS."""
    file = io.StringIO()
    writer = csv.DictWriter(file, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for task in comparison.tasks:
        for column, cell in comparison.row(task):
            writer.writerow(_csv_cell(task, column.label, cell, task.name in comparison.different_data))
    for aggregate in across.aggregates:
        for label, (value, interval) in aggregate.estimates.items():
            low, high = interval or ("", "")
            writer.writerow(
                {"row": aggregate.name, "task": " ".join(task.name for task in across.tasks)}
                | {"seeds": " ".join(map(str, across.seeds[label]))}
                | {"algorithm": label, "metric": aggregate.name, "unit": "points", "mean": value}
                | {"ci95_low": low, "ci95_high": high}
            )
    return file.getvalue()


def _csv_cell(task: Task, label: str, cell: ScoreCell, different_data: bool) -> dict[str, Any]:
    result, data = cell.result, cell.joined.environment.get("data", {})
    low, high = result["ci95"]
    return {
        "row": "score", "task": task.name, "algorithm": label, "metric": task.metric, "unit": task.unit,
        "mean": result["mean"], "ci95_low": low, "ci95_high": high, "iqm": result["iqm"],
        "std": "" if result["std"] is None else result["std"], "seeds": result["seeds"],
        "seed_numbers": " ".join(map(str, cell.seed_numbers)),
        "per_seed": " ".join(map(str, result["per_seed"])), "episodes_per_seed": result["episodes"],
        "steps": result["steps"], "finished": str(cell.finished).lower(),
        "data_checksum": data.get("checksum", ""), "data_transitions": data.get("transitions", ""),
        "different_data": str(different_data).lower(), "runs": shlex.join(map(str, cell.folders)),
    }  # fmt: skip


def markdown_text(comparison: Comparison, across: AcrossTasks) -> str:
    """The table in Markdown; the best of a row is bold."""

    def cell(entry: Entry) -> str:
        return str(entry._replace(number=f"**{entry.number}**") if entry.best else entry)

    def row(cells: Sequence[str]) -> str:
        return "| " + " | ".join(text.replace("|", "\\|") for text in cells) + " |"

    labels = [column.label for column in comparison.columns]
    lines = [row(["task", "metric (unit)", *labels]), "|---|---|" + "---:|" * len(labels)]
    for line in [*task_lines(comparison), *aggregate_lines(comparison, across)]:
        lines.append(row([line.name, line.metric, *map(cell, line.entries)]))
    return "\n".join([*lines, "", *(f"{note}  " for note in notes(comparison, across))]) + "\n"


def latex_text(comparison: Comparison, across: AcrossTasks) -> str:
    """The table in LaTeX with booktabs; the best of a row is bold, intervals are small."""

    def cell(entry: Entry) -> str:
        if entry.number == NO_SCORE:
            return "--"
        text = rf"$\mathbf{{{entry.number}}}$" if entry.best else f"${entry.number}$"
        marks = "".join(_LATEX_MARKS[mark] for mark in entry.marks)
        interval = rf" {{\scriptsize [{entry.interval}]}}" if entry.interval else ""
        basis = rf" {{\scriptsize ({escape(entry.basis)})}}" if entry.basis else ""
        return text + marks + interval.replace("−", "$-$") + basis

    def rows(lines: Sequence[TableLine]) -> list[str]:
        return [
            " & ".join([escape(line.name), escape(line.metric), *map(cell, line.entries)]) + r" \\"
            for line in lines
        ]

    labels = [column.label for column in comparison.columns]
    joined = rows(aggregate_lines(comparison, across))
    comments = [
        "".join(_LATEX_MARKS.get(letter, escape(letter)) for letter in note)
        for note in notes(comparison, across)
    ]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            *(f"% {note}" for note in comments),
            r"\begin{tabular}{ll" + "r" * len(labels) + "}",
            r"\toprule",
            " & ".join(["task", "metric", *map(escape, labels)]) + r" \\",
            r"\midrule",
            *rows(task_lines(comparison)),
            *([r"\midrule", *joined] if joined else []),
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    ).replace("−", "-")


_LATEX_MARKS = {UNFINISHED: r"$^\dagger$", EFFORT: r"$^\ddagger$", DATA: r"$^\S$"}
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$",
    "–": "--", "…": r"\dots{}",
}  # fmt: skip


def escape(text: str) -> str:
    """Plain text as LaTeX prints it."""
    return "".join(_LATEX.get(letter, letter) for letter in text)


FILES: dict[str, Callable[[Comparison, AcrossTasks], str]] = {
    "table.csv": csv_text,
    "table.md": markdown_text,
    "table.tex": latex_text,
}
