"""The folder of a comparison: one self-contained HTML page, and its table in three formats."""

from pathlib import Path
from typing import Any

from tiltflow.errors import UserError
from tiltflow.files import write_text
from tiltflow.report.command import train_command
from tiltflow.report.compare import charts
from tiltflow.report.compare import comparison_tables as tables
from tiltflow.report.compare.across_tasks import AcrossTasks
from tiltflow.report.compare.behaviour_rows import behaviour_rows
from tiltflow.report.compare.comparison import Comparison
from tiltflow.report.compare.lead import lead_sentence, leader
from tiltflow.report.compare.published_table import published_table
from tiltflow.report.compare.table_files import FILES
from tiltflow.report.html import render_page
from tiltflow.report.svg import LOOKS

PAGE = "compare.html"


def write_comparison(comparison: Comparison, across: AcrossTasks, out: Path) -> list[Path]:
    """Write compare.html, table.csv, table.md and table.tex into `out`; return their paths.

    Files of these names are replaced, others left alone; the same runs give the same bytes. Raises
    UserError where there are more columns than the page can tell apart.
    """
    if len(comparison.columns) > len(LOOKS):
        raise UserError(
            f"These runs make {len(comparison.columns)} columns, one for each algorithm and configuration; a "
            f"page can tell up to {len(LOOKS)} apart. Compare fewer at a time."
        )
    texts = {name: write(comparison, across) for name, write in FILES.items()}
    texts[PAGE] = render_page("compare.html.j2", **_context(comparison, across))
    for name, text in texts.items():
        write_text(out / name, text)
    return [out / name for name in texts]


def _context(comparison: Comparison, across: AcrossTasks) -> dict[str, Any]:
    names, place = _title(comparison)
    first = leader(comparison, across)
    return {
        "names": names,
        "place": place,
        "looks": charts.looks(comparison),
        "across": across,
        "fewest_seeds": comparison.fewest_seeds,
        "lead": lead_sentence(comparison, across),
        "warnings": _warnings(comparison),
        "estimated": not all(task.played for task in comparison.tasks),
        "lines": tables.task_lines(comparison),
        "aggregate_lines": tables.aggregate_lines(comparison, across),
        "notes": [*tables.legend(comparison), *across.notes],
        "bounds_text": tables.bounds_text,
        "variants": [column for column in comparison.columns if column.differences],
        "curves": [charts.task_curve(comparison, task, index) for index, task in enumerate(comparison.tasks)],
        "behaviour": behaviour_rows(comparison),
        "few_curves": charts.FEW_CURVES,
        "side_by_side": tables.SIDE_BY_SIDE,
        "aggregates": [charts.aggregate_dots(comparison, a) for a in across.aggregates],
        "profiles": charts.profile_curves(comparison, across) if across.profiles else None,
        "improvement_dots": charts.improvement_dots(comparison, across, first) if first else None,
        "published": published_table(comparison),
        "data": _data(comparison),
        "runs": [
            (folder, run, column.label, train_command(run.config))
            for task in comparison.tasks
            for column, cell in comparison.row(task)
            for folder, run in zip(cell.folders, cell.runs, strict=True)
        ],
    }


def _title(comparison: Comparison) -> tuple[list[str], str]:
    """What is compared, in up to three names, and on what."""
    labels = [column.label for column in comparison.columns]
    algorithms = {column.algorithm for column in comparison.columns}
    what = "algorithms" if len(algorithms) == len(labels) else "configurations"
    names = labels if len(labels) <= 3 else [f"{len(labels)} {what}"]
    tasks = comparison.tasks
    return names, tasks[0].name if len(tasks) == 1 else f"{len(tasks)} tasks"


def _warnings(comparison: Comparison) -> list[str]:
    found = []
    if unfinished := [
        f"{column.label} on {task.name}"
        for task in comparison.tasks
        for column, cell in comparison.row(task)
        if not cell.finished
    ]:
        found.append(f"Not finished, scored by the evaluations so far: {'; '.join(unfinished)}.")
    found += tables.left_out_lines(comparison)
    if comparison.different_data:
        found.append(
            "Runs on the same task were trained on different data, shown together because "
            f"--allow-different-data was given: {', '.join(comparison.different_data)}. Differences between "
            "them may be those of the data."
        )
    return found


def _data(comparison: Comparison) -> list[tuple[str, dict[str, Any]]]:
    """The different data that our runs on each task were trained on: the first record of each checksum."""
    found: dict[tuple[str, Any], dict[str, Any]] = {}
    for task in comparison.tasks:
        for _, cell in comparison.row(task):
            for run in cell.runs:
                record = run.environment.get("data", {})
                found.setdefault((task.name, record.get("checksum")), record)
    return [(task, record) for (task, _), record in found.items()]
