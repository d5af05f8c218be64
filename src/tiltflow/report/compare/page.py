"""The folder of a comparison: one self-contained HTML page, and its table in three formats."""

from pathlib import Path
from typing import Any

from tiltflow import __version__
from tiltflow.errors import UserError
from tiltflow.files import write_text
from tiltflow.report.compare import context, figures, tables
from tiltflow.report.compare.files import FILES
from tiltflow.report.compare.record import Comparison
from tiltflow.report.compare.summary import Summary
from tiltflow.report.page import template
from tiltflow.report.svg import COLOURS, MANY_LOOKS
from tiltflow.report.verdict import ENOUGH_SEEDS
from tiltflow.report.words import plural

PAGE = "compare.html"


def write_comparison(comparison: Comparison, summary: Summary, out: Path) -> list[Path]:
    """Write compare.html, table.csv, table.md and table.tex into `out`; return their paths.

    Files of these names are replaced, others left alone; the same runs give the same bytes. Raises
    UserError where there are more columns than the page can tell apart.
    """
    if len(comparison.columns) > len(MANY_LOOKS):
        raise UserError(
            f"These runs make {len(comparison.columns)} columns, one for each algorithm and configuration; a "
            f"page can tell up to {len(MANY_LOOKS)} apart. Compare fewer at a time."
        )
    texts = {name: write(comparison, summary) for name, write in FILES.items()}
    texts[PAGE] = template("compare.html.j2").render(_context(comparison, summary))
    for name, text in texts.items():
        write_text(out / name, text)
    return [out / name for name in texts]


def _context(comparison: Comparison, summary: Summary) -> dict[str, Any]:
    names, place = context.title(comparison)
    looks = figures.looks(comparison)
    leader = context.leader(comparison, summary)
    published = context.published_table(comparison)
    lines = tables.task_lines(comparison)
    seeds = [cell.result["seeds"] for cell in comparison.cells.values()]
    return {
        "version": __version__,
        "colours": COLOURS,
        "names": names,
        "place": place,
        "labels": list(looks),
        "looks": looks,
        "fewest_seeds": min(seeds),
        "verdict": context.verdict(comparison, summary),
        "warnings": _warnings(comparison),
        "lines": lines,
        "aggregate_lines": tables.aggregate_lines(comparison, summary),
        "legend_lines": tables.legend(comparison),
        "variants": [column for column in comparison.columns if column.differences],
        "curves": [
            figures.task_curve(comparison, task, index) for index, task in enumerate(comparison.tasks)
        ],
        "few_curves": figures.FEW_CURVES,
        "side_by_side": tables.SIDE_BY_SIDE,
        "summary": summary,
        "aggregates": [figures.aggregate_dots(comparison, a) for a in summary.aggregates],
        "profiles": figures.profile_curves(comparison, summary) if summary.profiles else None,
        "improvements": _improvements(comparison, summary),
        "improvement_dots": figures.improvement_dots(comparison, summary, leader) if leader else None,
        "published": published,
        "published_notes": context.note_letters(published) if published else [],
        "ours": {line.name: [context.ours(entry) for entry in line.entries] for line in lines},
        "data": context.data_lines(comparison),
        "runs": context.run_lines(comparison),
    }


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


def _improvements(comparison: Comparison, summary: Summary) -> list[tuple[str, list[tuple[str, str, bool]]]]:
    """A row a column: its chance to beat each other one, the interval and tasks, whether it is clear of 50 %.

    Clear is only what rests on ENOUGH_SEEDS everywhere: of few, intervals are clear by chance too often.
    """
    seeds: dict[str, list[int]] = {}
    for (_, label), of_cell in comparison.cells.items():
        seeds.setdefault(label, []).append(of_cell.result["seeds"])

    def cell(one: str, other: str) -> tuple[str, str, bool]:
        found = summary.improvements.get((one, other))
        if found is None:
            return ("" if one == other else "–"), "", False
        interval = found.chance.interval
        clear = interval is not None and (interval[0] > 50 or interval[1] < 50)
        clear &= min(seeds[one] + seeds[other]) >= ENOUGH_SEEDS
        basis = f"[{tables.interval_text(interval)}] " if interval else ""
        if len(comparison.tasks) > 1:
            basis += plural(found.tasks, "task")
        return tables.number(found.chance.value), basis, clear

    if not summary.improvements:
        return []
    labels = [column.label for column in comparison.columns]
    return [(one, [cell(one, other) for other in labels]) for one in labels]
