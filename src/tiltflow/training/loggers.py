"""Where else the numbers of a run go: TensorBoard's files, or Weights & Biases.

A logger is a function of the events that `train(config, out, observe)` hands to `observe`
(docs/own-logger.md): others are written like these.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tiltflow.packages import require
from tiltflow.processes.executor import Event
from tiltflow.run_folder import RunFolder
from tiltflow.settings import LoggerName
from tiltflow.training.progress import Observe

Write = Callable[[int, str, float, int], None]
"""(seed, name, value, gradient step)"""


@contextmanager
def logging_to(name: LoggerName | None, run: Path, observe: Observe) -> Iterator[Observe]:
    """An `observe` that hands events on and writes their numbers too; closed at the end, whatever happens.

    Nothing more where `name` is None. Raises UserError where the package is missing.
    """
    if name is None:
        yield observe
        return
    with _WRITERS[name](run) as write:

        def both(event: Event) -> None:
            observe(event)
            for seed, tag, value in scalars(event):
                write(seed, tag, value, event["step"])

        yield both


def scalars(event: Event) -> Iterator[tuple[int, str, float]]:
    """The numbers of an event, each with its seed and its name: critic/value_loss, evaluation/score."""
    for place, seed in enumerate(event.get("seeds", ())):
        if event["event"] == "evaluation":
            yield seed, "evaluation/score", float(event["score"][place])
        elif event["event"] == "chunk":
            for name, values in event["metrics"].items():
                yield seed, f"{event['stage']}/{name}", float(values[place])
            yield seed, f"{event['stage']}/steps_per_second", float(event["steps_per_second"])


@contextmanager
def _tensorboard(run: Path) -> Iterator[Write]:
    """RUN/tensorboard, where each seed is a run of its own."""
    make = require("tensorboardX").SummaryWriter
    writers: dict[int, Any] = {}

    def write(seed: int, tag: str, value: float, step: int) -> None:
        if seed not in writers:
            writers[seed] = make(str(run / "tensorboard" / f"seed-{seed}"))
        writers[seed].add_scalar(tag, value, step)

    try:
        yield write
    finally:
        for writer in writers.values():
            writer.close()


@contextmanager
def _wandb(run: Path) -> Iterator[Write]:
    """One run of the project tiltflow, whose files are in RUN/wandb; WANDB_MODE=offline sends nothing."""
    wandb = require("wandb")
    opened: list[Any] = []

    def write(seed: int, tag: str, value: float, step: int) -> None:
        if not opened:  # only now does the folder hold its config
            from tiltflow.train_config import to_dict

            config = to_dict(RunFolder(run).read_config())
            name = run.resolve().name
            opened.append(wandb.init(project="tiltflow", name=name, config=config, dir=str(run)))
            opened[0].define_metric("*", step_metric="gradient step")
        opened[0].log({f"seed-{seed}/{tag}": value, "gradient step": step})

    try:
        yield write
    finally:
        for record in opened:
            record.finish()


_WRITERS = {"tensorboard": _tensorboard, "wandb": _wandb}
