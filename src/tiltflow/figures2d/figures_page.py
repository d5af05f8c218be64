"""The page: figures and summary in one self-contained HTML file."""

import base64
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from tiltflow import __version__
from tiltflow.figures2d.drawing import Grid, Picture
from tiltflow.figures2d.figure_plan import FigurePlan
from tiltflow.figures2d.table import MEANING, TABLE_COLUMNS, summary_table, texts
from tiltflow.files import write_text


def write_page(
    out: Path,
    plan: FigurePlan,
    grids: Sequence[Grid | Picture],
    rows: Sequence[dict[str, Any]],
    failures: Sequence[str],
    *,
    figures: Path,
    style: str,
) -> Path:
    """Write DIR/report.html with the SVG of every grid in `figures`; `style` is the sheet of all pages."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tiltflow.figures2d"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    images = [base64.b64encode((figures / f"{grid.name}.svg").read_bytes()).decode() for grid in grids]
    columns, lines = summary_table(plan, rows)
    page = environment.get_template("toy.html.j2").render(
        plan=plan,
        figures=list(zip(grids, images, strict=True)),
        columns=columns,
        lines=lines,
        all_columns=TABLE_COLUMNS,
        all_lines=[texts(row) for row in rows],
        meaning=MEANING,
        failures=failures,
        command=command(plan, out),
        style=style,
        version=__version__,
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
