"""The measured version of Table 1 of arXiv 2503.04975: every cell, and a summary over the sets."""

import csv
import io
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tiltflow.figures2d.figure_plan import TRUTH, FigureCell, FigurePlan
from tiltflow.files import write_json, write_text
from tiltflow.guidance.methods import METHODS

TABLE_COLUMNS = (
    "set", "method", "beta", "seed", "distance", "low", "high", "floor", "floor_std", "ratio", "exact",
    "auxiliary", "parameters", "evaluations", "train_seconds", "sample_seconds", "effective_rows",
)  # fmt: skip
MEANING = {
    "distance": "sliced Wasserstein-2 distance between the samples and the truth, in the points' unit",
    "low, high": "95 % bootstrap interval of the distance",
    "floor": "mean distance of exact samples of the same size, and its standard deviation over samples",
    "ratio": "distance / floor; 1 is as good as an exact sample",
    "exact": "whether the method's law is the truth where its networks are perfect",
    "auxiliary": "whether it needs a second model beside the generative one",
    "evaluations": "of networks per sample",
    "train_seconds": "gradient steps of all networks on one core, without compilation; a network that serves "
    "every β is counted at each",
    "sample_seconds": "seconds per 10,000 samples on one core, without compilation",
    "effective_rows": "effective sample size of the training rows' weights",
}


def table_rows(plan: FigurePlan, numbers: dict[FigureCell, dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for every finished cell of a method, with the columns TABLE_COLUMNS."""
    rows = []
    for cell in plan.cells():
        if cell not in numbers:
            continue
        truth = numbers[FigureCell(cell.data, TRUTH, cell.beta, 0)]
        method = METHODS.find(cell.method)
        row = {
            "set": cell.data,
            **cell._asdict(),
            **truth,
            **numbers[cell],
            "ratio": numbers[cell]["distance"] / truth["floor"],
            "exact": _yes(method.declared.exact),
            "auxiliary": _yes(method.declared.auxiliary),
        }
        rows.append({column: row[column] for column in TABLE_COLUMNS})
    return rows


def summary_table(
    plan: FigurePlan, rows: Sequence[dict[str, Any]]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Heads, and a line for each method: medians over sets and seeds, of times and sizes also over β."""
    betas = (f"β = {beta:g}" for beta in plan.betas)
    heads = ("method", *betas, "exact", "2nd model", "parameters", "training, s", "10⁴ samples, s")
    forms = {"parameters": ",.0f", "train_seconds": ".3g", "sample_seconds": ".2g"}
    lines = []
    for method in plan.methods:
        mine = [row for row in rows if row["method"] == method]
        if not mine:
            continue
        ratios = ([row["ratio"] for row in mine if row["beta"] == beta] for beta in plan.betas)
        medians = (ratio_text(statistics.median(values)) if values else "–" for values in ratios)
        costs = (format(statistics.median(row[key] for row in mine), form) for key, form in forms.items())
        lines.append((method, *medians, mine[0]["exact"], mine[0]["auxiliary"], *costs))
    return heads, lines


def write_tables(out: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write DIR/table.csv, table.md and table.json: the same numbers three times."""
    text = io.StringIO()
    writer = csv.DictWriter(text, TABLE_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(out / "table.csv", text.getvalue())
    write_json(out / "table.json", {"columns": MEANING, "rows": list(rows)})
    lines = [TABLE_COLUMNS, ["---"] * len(TABLE_COLUMNS), *(texts(row) for row in rows)]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    meaning = "\n".join(f"- {name}: {text}" for name, text in MEANING.items())
    write_text(out / "table.md", f"{table}\n\n{meaning}\n")


def texts(row: dict[str, Any]) -> list[str]:
    """A row as text, numbers to four digits."""
    return [
        f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
        for value in row.values()
    ]


def ratio_text(ratio: float) -> str:
    """A ratio with two to three digits."""
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
