"""The page: figures and summary in one self-contained HTML file."""

import base64
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tiltflow.figures2d.drawing import Grid, Picture
from tiltflow.figures2d.figure_plan import FigurePlan
from tiltflow.figures2d.table import MEANING, TABLE_COLUMNS, summary_table, texts
from tiltflow.files import write_text
from tiltflow.report.html import render_page


def write_page(
    out: Path,
    plan: FigurePlan,
    grids: Sequence[Grid | Picture],
    rows: Sequence[dict[str, Any]],
    failures: Sequence[str],
    figures: Path,
) -> Path:
    """Write DIR/report.html with the SVG of every grid in `figures`."""
    images = [base64.b64encode((figures / f"{grid.name}.svg").read_bytes()).decode() for grid in grids]
    columns, lines = summary_table(plan, rows)
    page = render_page(
        "toy.html.j2",
        plan=plan,
        figures=list(zip(grids, images, strict=True)),
        columns=columns,
        lines=lines,
        all_columns=TABLE_COLUMNS,
        all_lines=[texts(row) for row in rows],
        meaning=MEANING,
        failures=failures,
        command=command(plan, out),
    )
    write_text(out / "report.html", page)
    return out / "report.html"


def command(plan: FigurePlan, out: Path) -> str:
    """The command line that gives this plan."""
    words = ["tiltflow", "toy", "--method", *plan.methods, "--data", *plan.data]
    words += ["--beta", *(f"{beta:g}" for beta in plan.betas), "--out", str(out)]
    for option in ("points", "samples", "steps", "train_rows", "seeds"):
        if getattr(plan, option) is not None:
            words += [f"--{option.replace('_', '-')}", str(getattr(plan, option))]
    return shlex.join(words)
