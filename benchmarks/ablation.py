"""QIPO from its old default to the new one, and options on top of it: what each change is worth.

    python benchmarks/ablation.py --task TASK --data DATA --out OUT [--rows …] [--seeds 2]

Rows of CUMULATIVE each add one change to the row before; the last of them is the default. Rows of OPTIONS
change the default in one thing. Behaviour and critic are trained once, by the default, and taken over where a
row does not change them. Trains what is missing into OUT/ROW (--out of an earlier call goes on, and --reuse
takes behaviour and critic of another run), writes OUT/ablation.json, OUT/ablation.md and OUT/ablation.png.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from figure_drawing import Value, draw, paint_values
from matplotlib.axes import Axes

from tiltflow.agents.qipo_settings import QIPOConfig
from tiltflow.agents.registry import preset
from tiltflow.benchmark.plan import parse_network, with_networks
from tiltflow.cli.failures import exit_code, paragraph
from tiltflow.errors import ExplainedError
from tiltflow.files import read_json, write_json, write_text
from tiltflow.run_folder import RunFolder
from tiltflow.tasks import find_task
from tiltflow.train_config import TrainConfig
from tiltflow.training.display import show_progress
from tiltflow.training.run import resume, train
from tiltflow.words import metric_text

BEFORE = {"support_noise": 1.0, "flow.play_noise": 1.0, "improvement_steps": 20_000}
CUMULATIVE: dict[str, dict[str, Any]] = {
    "before": BEFORE,
    "noise × 0.5": {"improvement_steps": 20_000},
    "default": {},
}
OPTIONS: dict[str, dict[str, Any]] = {
    "weights over V": {"baseline": "value"},
    "ten critics": {
        "critic.ensemble": 10,
        "critic.aggregate": "pessimistic",
        "critic.pessimism": 0.5,
    },
    "one step": {"distill": True, "distill_steps": 50_000},
}
ROWS = CUMULATIVE | OPTIONS
STAGES = ("behaviour_steps", "critic_steps", "improvement_steps", "distill_steps")


def changed(config: Any, changes: dict[str, Any]) -> Any:
    """The config with these settings, whose names may be of a part of it: `critic.ensemble`."""
    for name, value in changes.items():
        part, dot, rest = name.partition(".")
        config = replace(config, **{part: changed(getattr(config, part), {rest: value}) if dot else value})
    return config


def config_of(row: str, arguments: argparse.Namespace) -> TrainConfig:
    """The run of a row."""
    agent = preset("qipo-ot", arguments.task)
    assert isinstance(agent, QIPOConfig)
    agent = with_networks(agent, *arguments.network)
    agent = replace(agent, behaviour_steps=150_000, critic_steps=100_000, improvement_steps=150_000)
    agent = changed(agent, ROWS[row])
    steps = {name: value for name in STAGES if (value := getattr(agent, name)) is not None}
    agent = replace(agent, **{name: value // arguments.shorten for name, value in steps.items()})
    if row != "default":
        reuse = arguments.reuse or arguments.out / "default"
        arguments = argparse.Namespace(**{**vars(arguments), "reuse": reuse})
    return TrainConfig(
        algorithm="qipo-ot",
        task=arguments.task,
        agent=agent,
        data=str(arguments.data),
        seeds=arguments.seeds,
        steps=400_000 // arguments.shorten,
        evaluations=8,
        episodes=arguments.episodes,
        chunk=max(1, 2_500 // arguments.shorten),
        reuse=None if arguments.reuse is None else str(arguments.reuse),
        normalize_observations=False,
    )


def trained(row: str, arguments: argparse.Namespace) -> Path:
    """The run folder of a row, trained to its end."""
    run = arguments.out / row.replace(" ", "-").replace("×", "x")
    if not RunFolder(run).finished:
        with show_progress() as observe:
            if (run / "config.json").exists():
                resume(run, observe)
            else:
                train(config_of(row, arguments), run, observe)
    return run


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--task", required=True)
    add("--data", type=Path, required=True)
    add("--out", type=Path, required=True)
    add("--rows", nargs="+", choices=list(ROWS), default=list(ROWS), metavar="ROW", help=", ".join(ROWS))
    add("--seeds", type=int, default=2)
    add("--network", type=parse_network, default=(256, 3), metavar="WIDTHxDEPTH", help="default: 256x3")
    add("--episodes", type=int, default=TrainConfig.episodes, help="of each of 8 evaluations")
    add("--shorten", type=int, default=1, help="divide every number of steps by this, to try it")
    add("--reuse", type=Path, default=None, help="run whose behaviour and critic are taken over")
    arguments = parser.parse_args(words)
    try:
        values = []
        for row in sorted(
            {*arguments.rows, "default"}, key=lambda row: (row != "default", [*ROWS].index(row))
        ):
            result = read_json(trained(row, arguments) / "result.json")
            values.append(Value(row, result["mean"], *result["ci95"], result["per_seed"]))
    except ExplainedError as error:
        print(paragraph(error), file=sys.stderr)
        return exit_code(error)
    values.sort(key=lambda value: [*ROWS].index(value.label))
    task = find_task(arguments.task)

    def paint(axes: Axes, name: str) -> None:
        paint_values(axes, values)
        axes.set_ylabel(metric_text(task.metric, task.unit))
        axes.tick_params(axis="x", labelrotation=20)

    lines = [f"| qipo-ot | {task.metric}, {task.unit} | 95 % interval | seeds |", "|---|---|---|---|"]
    for v in values:
        parts = ", ".join(f"{part:.1f}" for part in v.parts)
        lines.append(f"| {v.label} | {v.mean:.1f} | {v.low:.1f} to {v.high:.1f} | {parts} |")
    draw(arguments.out / "ablation.png", [task.name], paint, "QIPO: what each change is worth")
    write_json(arguments.out / "ablation.json", [value._asdict() for value in values])
    write_text(arguments.out / "ablation.md", "\n".join(lines) + "\n")
    print(*lines, arguments.out / "ablation.png", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
