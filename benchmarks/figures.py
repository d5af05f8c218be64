"""The first paper's Figures 4, 5, 6, 10 and 11 (arXiv 2503.04975), on tasks and budgets of one's choice.

    python benchmarks/figures.py --figure 5 --out figures [--tasks …] [--seeds 2] [--steps 20000]

4   seconds to select an action, of qgpo, qipo-diff and qipo-ot (Table 3 says how much faster the latter are)
5   score by the number of support actions, M = 16, 32, 64
6   score by the period of refresh, K_renew = the whole improvement stage, and 1/2, 1/4 and 1/8 of it; β is
    reached in equal parts, one a refresh, and so the same in the end for all of them
10  loss of the behaviour model over training on the diffusion path
11  the same on the optimal-transport path

Trains what the figure needs into run folders under OUT (missing point-maze data are collected into OUT/data),
draws OUT/figure-N.png, writes its numbers to OUT/figure-N.json, and prints whether the claim holds in them.
Called again it goes on, and trains nothing twice: figures 10 and 11 share their runs. Losses are trained
without playing. Which of 10 and 11 is which path is our choice: our source names both figures together. It
has the claim of Figure 4 alone; those of the others are ours, in the words of CLAIMS.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from figure_drawing import Value, draw, order, paint_loss, paint_values
from figure_runs import behaviour_config, collect_data, qipo_config, trained
from figure_times import action_times
from matplotlib.axes import Axes

from tiltflow.benchmark.plan import parse_network
from tiltflow.cli.failures import exit_code, paragraph
from tiltflow.errors import ExplainedError
from tiltflow.files import read_json, write_json
from tiltflow.report.record import Curve
from tiltflow.report.run_reader import read_run
from tiltflow.tasks import find_task
from tiltflow.train_config import TrainConfig
from tiltflow.words import metric_text

CLAIMS = {
    4: "Published: qipo-ot and qipo-diff select actions faster than qgpo, by 63.68 % and 25.57 %.",
    5: "Our reading: more support actions are better, M = 64 than M = 16.",
    6: "Our reading: refreshing the support is better than drawing it once.",
    10: "Our reading: the loss settles, and on the optimal-transport path no later than on the diffusion's.",
}
CLAIMS[11] = CLAIMS[10]
SETTLED = 0.1
"""A loss has settled when it stays within this share of its whole fall above where it ends."""
SHARES = (1, 2, 4, 8)


def scores(label: str, run: Path) -> Value:
    result = read_json(run / "result.json")
    return Value(label, result["mean"], *result["ci95"], result["per_seed"])


def support_sizes(task: str, arguments: argparse.Namespace) -> list[Value]:
    """The score for each M; behaviour and critic are trained once."""
    values, first = [], None
    for m in arguments.support:
        config = qipo_config(task, arguments, num_support_actions=m)
        run = trained(replace(config, reuse=first), arguments.out, f"support-{m}")
        first = first or str(run)
        values.append(scores(f"M = {m}", run))
    return values


def refreshes(task: str, arguments: argparse.Namespace) -> list[Value]:
    """The score for each K_renew, from the whole improvement stage down; behaviour and critic once."""
    from tiltflow.training.prepare import prepare

    plain = qipo_config(task, arguments)
    steps = prepare(plain)[0].schedule.stages[-1].steps
    values, first = [], None
    for share in SHARES:
        every = max(1, steps // share)
        config = qipo_config(task, arguments, refresh_every=every)
        run = trained(replace(config, reuse=first), arguments.out, f"refresh-1-{share}")
        first = first or str(run)
        values.append(scores(f"{every:,}", run))
    return values


def losses(task: str, arguments: argparse.Namespace) -> dict[str, Curve]:
    """The loss over training on each path: mean of a chunk of steps, the band from seed to seed."""
    found = {}
    for name in ("qipo-diff", "qipo-ot"):
        run = trained(behaviour_config(name, task, arguments), arguments.out, f"behaviour-{name}")
        found[name] = read_run(run).metric("behaviour", "loss")
    return found


def settled(curve: Curve) -> float:
    """Share of the training after which the mean loss, averaged over the tenth before, has settled."""
    window = max(1, len(curve.steps) // 10)
    smooth = np.convolve(curve.mean, np.full(window, 1 / window), "valid")
    above = np.flatnonzero(smooth > smooth[-1] + SETTLED * (curve.mean[0] - smooth[-1]))
    return float(curve.steps[above[-1] + window - 1] / curve.steps[-1]) if len(above) else 0.0


def figure_of_losses(arguments: argparse.Namespace) -> tuple[dict, list[str]]:
    curves = {task: losses(task, arguments) for task in arguments.tasks}
    name = "qipo-diff" if arguments.figure == 10 else "qipo-ot"

    def paint(axes: Axes, task: str) -> None:
        paint_loss(axes, curves[task][name], name)
        axes.set_ylabel("behaviour loss")

    title = f"{name}: thick the mean of {arguments.seeds} seeds, thin each, the band from seed to seed"
    draw(arguments.out / f"figure-{arguments.figure}.png", arguments.tasks, paint, title)
    lines, record = [], {}
    for task, of_task in curves.items():
        share = {agent: settled(curve) for agent, curve in of_task.items()}
        fell = all(curve.mean[-1] < curve.mean[0] for curve in of_task.values())
        holds = fell and max(share.values()) < 0.9 and share["qipo-ot"] <= share["qipo-diff"]
        told = ", ".join(
            f"{agent} from {curve.mean[0]:.3f} to {curve.mean[-1]:.3f}, settled after {share[agent]:.0%}"
            for agent, curve in of_task.items()
        )
        lines.append(f"{task}: {told} of the steps: the claim {'holds' if holds else 'does not hold'} here.")
        record[task] = {
            agent: {"steps": curve.steps.tolist(), "loss": curve.seeds.tolist(), "settled": share[agent]}
            for agent, curve in of_task.items()
        }
    return record, lines


def figure_of_values(arguments: argparse.Namespace) -> tuple[dict, list[str]]:
    measure = {4: action_times, 5: support_sizes, 6: refreshes}[arguments.figure]
    file = arguments.out / "figure-4.json"
    settings = [list(arguments.network), arguments.seeds, arguments.calls, arguments.repeats]
    known = read_json(file)["tasks"] if arguments.figure == 4 and file.exists() else {}
    values, record = {}, {}
    for task in arguments.tasks:
        kept = known.get(task, {})
        measured = kept.get("settings") != settings
        values[task] = measure(task, arguments) if measured else [Value(**v) for v in kept["values"]]
        record[task] = {"settings": settings, "values": [value._asdict() for value in values[task]]}

    def paint(axes: Axes, task: str) -> None:
        paint_values(axes, values[task])
        if arguments.figure == 4:
            axes.set_ylabel("CPU milliseconds an action")
            axes.set_ylim(bottom=0)
        else:
            axes.set_ylabel(metric_text(find_task(task).metric, find_task(task).unit))
            if find_task(task).unit == "%":
                axes.set_ylim(-3, 103)
        axes.set_xlabel({4: "", 5: "support actions of a state", 6: "K_renew (steps)"}[arguments.figure])

    seeds = "repeated measurements" if arguments.figure == 4 else f"{arguments.seeds} seeds (hollow)"
    title = f"95 % intervals, of {seeds}"
    draw(arguments.out / f"figure-{arguments.figure}.png", arguments.tasks, paint, title)
    return record, [f"{task}: {_verdict(arguments.figure, of_task)}" for task, of_task in values.items()]


def _verdict(figure: int, values: Sequence[Value]) -> str:
    first, *others = values
    told = ", ".join(f"{v.label}: {v.mean:.3g} [{v.low:.3g}, {v.high:.3g}]" for v in values)
    if figure == 4:
        change = ", ".join(f"{v.label} {100 * (v.mean / first.mean - 1):+.1f} %" for v in others)
        holds = all(order(v, first) == "below" for v in others)
        return f"{told} ms ({change}): the claim to be faster {'holds' if holds else 'does not hold'} here."
    place = order(others[-1], first)
    verdict = {"above": "holds", "below": "does not hold"}.get(place, "is not decided")
    return f"{told}; {others[-1].label} is {place} {first.label}: the claim {verdict} here."


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--figure", type=int, choices=sorted(CLAIMS), required=True)
    add("--out", type=Path, required=True, help="folder of the runs and the figures")
    add("--tasks", nargs="+", default=["pointmaze/umaze-v0", "pointmaze/medium-v0"])
    add("--seeds", type=int, default=2)
    add("--steps", type=int, default=20_000, help="gradient steps of a run, all stages together")
    add("--network", type=parse_network, default=(128, 2), metavar="WIDTHxDEPTH", help="default: 128x2")
    add("--data", type=Path, default=None, help="folder of the data; default: OUT/data")
    add("--episodes", type=int, default=TrainConfig.episodes, help="episodes of each of 3 evaluations")
    add("--agent", choices=("qipo-ot", "qipo-diff"), default="qipo-ot", help="of figures 5 and 6")
    add("--support", type=int, nargs="+", default=[16, 32, 64], help="values of M (figure 5)")
    add("--calls", type=int, default=50, help="actions of one timed measurement (figure 4)")
    add("--repeats", type=int, default=10, help="timed measurements of each seed (figure 4)")
    arguments = parser.parse_args(words)
    arguments.data = arguments.data or arguments.out / "data"
    if arguments.figure == 4 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # JAX has not started its threads yet
    try:
        collect_data(arguments.tasks, arguments.data)
        make = figure_of_losses if arguments.figure >= 10 else figure_of_values
        record, lines = make(arguments)
    except ExplainedError as error:
        print(paragraph(error), file=sys.stderr)
        return exit_code(error)
    claim = CLAIMS[arguments.figure]
    write_json(
        arguments.out / f"figure-{arguments.figure}.json", {"claim": claim, "told": lines, "tasks": record}
    )
    print(claim, *lines, arguments.out / f"figure-{arguments.figure}.png", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
