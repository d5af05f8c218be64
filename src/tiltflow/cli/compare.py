"""`tiltflow compare`: many runs in one table and on one page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from math import comb
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from tiltflow.cli.tables import print_table

if TYPE_CHECKING:
    from tiltflow.report.compare.across_tasks import AcrossTasks
    from tiltflow.report.compare.comparison import Comparison
    from tiltflow.report.compare.comparison_tables import TableLine

_TASKS = 4
"""Tasks or aggregates side by side where each column is a row."""


@dataclass(frozen=True)
class Compare:
    """Compare runs of any algorithms, tasks and seeds, finished or not.

    Prints the score of each algorithm on each task with its 95 % interval, in the unit of the task, and
    aggregates over tasks; writes DIR/compare.html, a page that needs no network, and DIR/table.csv, .md and
    .tex. Runs that differ in seeds alone are joined. Runs on one task must be trained on the same data.
    """

    folders: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN [RUN …]")]
    """The run folders; the folder of a benchmark stands for its runs."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("compare")
    """Folder to write to; only the four files named above are written, other files are left alone."""
    allow_different_data: bool = False
    """Show runs on one task that were trained on different data in one row, marked."""

    def run(self) -> None:
        """Print the table, write the files, print their paths."""
        from tiltflow.errors import UserError

        if not self.folders:
            raise UserError("Give at least one run folder: tiltflow compare RUN [RUN …].")
        if self.out.exists() and not self.out.is_dir():
            raise UserError(f"--out {self.out} is a file; give a folder, new or not.")
        compare_runs(self.folders, self.out, self.allow_different_data)


def compare_runs(folders: Iterable[Path], out: Path, allow_different_data: bool = False) -> None:
    """Print the table of these runs, write the files of the comparison, print their paths."""
    from tiltflow.report.compare.across_tasks import across_tasks
    from tiltflow.report.compare.comparable import runs_in
    from tiltflow.report.compare.compare_page import write_comparison
    from tiltflow.report.compare.comparison import read_comparison

    runs, left_out = map(chain.from_iterable, zip(*map(runs_in, folders), strict=True))
    comparison = read_comparison(runs, allow_different_data, left_out)
    across = across_tasks(comparison)
    written = write_comparison(comparison, across, out)
    print_comparison(comparison, across)
    print(*written, sep="\n")


def print_comparison(comparison: "Comparison", across: "AcrossTasks") -> None:
    """Scores, aggregates and what they mean, as wide as a terminal bears."""
    from tiltflow.report.compare import comparison_tables as tables

    labels = [column.label for column in comparison.columns]
    tasks, aggregates = tables.task_lines(comparison), tables.aggregate_lines(comparison, across)
    if len(labels) <= tables.SIDE_BY_SIDE:
        _print_lines(labels, [*tasks, *aggregates])
        if rows := tables.improvement_rows(across):
            print_table(["probability of improvement", "%", "tasks"], rows)
            print()
    else:
        for lines in (tasks, aggregates):
            for first in range(0, len(lines), _TASKS):
                _print_columns(labels, lines[first : first + _TASKS])
        print(
            f"Probabilities of improvement, for {comb(len(labels), 2)} pairs of columns, are on the page.\n"
        )
    print(*tables.notes(comparison, across), sep="\n")
    print()


def _print_lines(labels: Sequence[str], lines: "Sequence[TableLine]") -> None:
    """A row for each task or aggregate."""
    rows = [[line.name, line.metric, *map(str, line.entries)] for line in lines]
    print_table(["task", "metric (unit)", *labels], rows)
    print()


def _print_columns(labels: Sequence[str], lines: "Sequence[TableLine]") -> None:
    """A row for each column of the comparison: many of them do not fit side by side."""
    rows = [[label, *(str(line.entries[index]) for line in lines)] for index, label in enumerate(labels)]
    print_table(["", *(f"{line.name}, {line.metric}" for line in lines)], rows)
    print()


def parse(arguments: Sequence[str]) -> Compare:
    """Read the arguments behind `tiltflow compare`."""
    flags = (tyro.conf.FlagCreatePairsOff,)
    return tyro.cli(Compare, prog="tiltflow compare", args=arguments, config=flags)
