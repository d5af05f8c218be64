"""The score after every refresh of QIPO's support actions: one curve per run, with its seeds.

    python benchmarks/refreshes.py OUT.png RUN=LABEL [RUN=LABEL …] [--best-of 20.3]

Reads the evaluations of the behaviour stage's end (refresh 0) and of the improvement stage. `--best-of`
draws the yardstick of benchmarks/best_of_n.py.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tiltflow.files import atomic_file, read_json_lines
from tiltflow.run_folder import RunFolder

STYLES = (("#0072B2", "-", "o"), ("#D55E00", "--", "s"), ("#009E73", ":", "^"), ("#000000", "-.", "D"))


def curve(run: Path) -> tuple[list[float], np.ndarray, str]:
    """Refreshes done at each evaluation, scores [evaluations, seeds], and the label of the axis."""
    config = RunFolder(run).read_config()
    records = [r for r in read_json_lines(run / "evaluations.jsonl") if r["stage"] != "critic"]
    behaviour = max(r["step"] for r in records if r["stage"] == "behaviour")
    metrics = read_json_lines(run / "metrics.jsonl")
    begin = min(r["step"] - r["stage_step"] for r in metrics if r["stage"] == "improvement")
    refreshes = [
        0.0 if r["step"] == behaviour else (r["step"] - begin) / config.agent.refresh_every for r in records
    ]
    return (
        refreshes,
        np.array([r["score"] for r in records]),
        f"{records[0]['metric']} ({records[0]['unit']})",
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", nargs="+", metavar="RUN=LABEL")
    parser.add_argument("--best-of", type=float, default=None, help="score of the yardstick")
    arguments = parser.parse_args()
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    for text, (colour, line, marker) in zip(arguments.runs, STYLES, strict=False):
        run, label = text.split("=", 1)
        refreshes, scores, unit = curve(Path(run))
        axes.plot(refreshes, scores, color=colour, linestyle=line, linewidth=0.8, alpha=0.5)
        axes.plot(
            refreshes, scores.mean(axis=1), color=colour, linestyle=line, marker=marker, linewidth=2.2,
            label=f"{label} (thick: mean of {scores.shape[1]} seeds)",
        )  # fmt: skip
    if arguments.best_of is not None:
        axes.axhline(arguments.best_of, color="0.4", linestyle=(0, (1, 2)), label="best of 16 by Q")
    axes.set_xlabel("refreshes of the support actions finished (0: behaviour policy)")
    axes.set_ylabel(unit)
    axes.set_ylim(bottom=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    with atomic_file(arguments.out) as file:
        figure.savefig(file, format=arguments.out.suffix[1:], dpi=150, metadata={"Software": None})


if __name__ == "__main__":
    main()
