"""`tiltflow toy`: the papers' 2-D figures, and how far each method is from the truth."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from tiltflow.cli.bars import progress_bar
from tiltflow.cli.tables import print_table
from tiltflow.errors import Interrupted, ProcessFailed
from tiltflow.figures2d.figure_plan import FigurePlan
from tiltflow.packages import need
from tiltflow.settings import SetName

_DEFAULT = FigurePlan()
_METHODS = f"{{{','.join(_DEFAULT.methods)}}} […]"


@dataclass(frozen=True)
class ToyFigures:
    """Sample the tilt of six 2-D sets with every method: figures, distances to the truth, a page.

    Reproduces Figures 1 to 3 of arXiv 2503.04975 and measures its Table 1; with flowq among the methods also
    the schedules of arXiv 2505.14139 side by side. All cores are used. Called again, it continues what was
    interrupted and keeps what is done.
    """

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for report.html, figures/, table.csv, .md and .json, and cells/, which holds what is done."""
    method: Annotated[tuple[str, ...], tyro.conf.arg(metavar=_METHODS)] = _DEFAULT.methods
    """Methods, one or several."""
    data: tuple[SetName, ...] = _DEFAULT.data  # type: ignore[assignment]
    """Sets, one or several."""
    beta: Annotated[tuple[float, ...], tyro.conf.arg(metavar="FLOAT [FLOAT …]")] = _DEFAULT.betas
    """Inverse temperatures β ≥ 0; the energy 1 − e lies in [0, 1]."""
    points: int = _DEFAULT.points
    """Points of each panel of the figures."""
    samples: int = _DEFAULT.samples
    """Points of each sample whose distance is measured, against twice as many of the truth."""
    steps: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Gradient steps of each network; without it what `tiltflow guide` takes by default."""
    train_rows: int = _DEFAULT.train_rows
    """Rows of training data of each set and seed."""
    seeds: int = _DEFAULT.seeds
    """Trainings of everything, each with data of its own."""

    def run(self) -> None:
        """Compute what is missing, write everything, print the summary.

        Raises UserError for bad input, Interrupted after Ctrl-C, ProcessFailed where a cell failed.
        """
        plan = self.plan()
        need("matplotlib", "jinja2")
        from tiltflow.figures2d.compute import compute

        try:
            with progress_bar("cells") as advance:
                results = compute(plan, self.out, advance, lambda text: print(text, file=sys.stderr))
        except (KeyboardInterrupt, Interrupted) as stop:
            raise Interrupted(
                f"Interrupted. What is done is kept in {self.out}: the same command continues."
            ) from stop
        self._write(plan, results.numbers, results.failures)
        if results.failures:
            cell, text = next(iter(results.failures.items()))
            raise ProcessFailed(
                f"{len(results.failures)} of {len(plan.cells())} cells failed. {cell.name}: {text} "
                f"The others are in {self.out}: the same command computes what is missing."
            )

    def plan(self) -> FigurePlan:
        """What is to be computed. Raises UserError for values that cannot be."""
        return FigurePlan(
            data=self.data,
            methods=self.method,
            betas=self.beta,
            seeds=self.seeds,
            steps=self.steps,
            train_rows=self.train_rows,
            samples=self.samples,
            points=self.points,
        )

    def _write(self, plan: FigurePlan, numbers: dict, failures: dict) -> None:
        from tiltflow.figures2d import table
        from tiltflow.figures2d.drawing import Grid, Picture, draw_grid
        from tiltflow.figures2d.figures_page import write_page
        from tiltflow.figures2d.grids import Gallery
        from tiltflow.figures2d.schedules import cases, trace_all
        from tiltflow.figures2d.trajectories import draw_schedules

        rows = table.table_rows(plan, numbers)
        table.write_tables(self.out, rows)
        gallery = Gallery(plan, self.out / "cells", numbers).grids()
        grids: list[Grid | Picture] = [*gallery]
        with progress_bar("figures") as advance:
            for number, grid in enumerate(gallery, start=1):
                draw_grid(grid, self.out / "figures")
                advance("drawing", number, len(gallery), grid.name)
        if "flowq" in plan.methods:
            with progress_bar("panels") as advance:
                traced = trace_all(cases(plan.steps), self.out / "cells", advance)
            grids.append(draw_schedules(traced, self.out / "figures"))
        notes = [f"{cell.name} failed: {text}" for cell, text in failures.items()]
        page = write_page(self.out, plan, grids, rows, notes, self.out / "figures")
        print("Distance to the truth / that of an exact sample, median over the sets: 1 is exact.\n")
        print_table(*table.summary_table(plan, rows))
        print(f"\n{page}")


def parse(arguments: Sequence[str]) -> ToyFigures:
    """Read the arguments behind `tiltflow toy`."""
    return tyro.cli(ToyFigures, prog="tiltflow toy", args=arguments)
