"""The job of trials: train their configurations to the end, or to one of their evaluations."""

import os
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from tiltflow.benchmark.queue import train_run
from tiltflow.benchmark.records import RUN_LOG
from tiltflow.errors import Interrupted, UserError
from tiltflow.evaluation.lines import Line
from tiltflow.processes.executor import Event, Send
from tiltflow.processes.stopping import stopping_at_once
from tiltflow.run_folder import RunFolder
from tiltflow.settings import Objective
from tiltflow.train_config import TrainConfig, from_dict


def train_trials(
    send: Send, configs: list[dict[str, Any]], folders: list[str], objective: Objective, until: int | None
) -> list[dict[str, Any]]:
    """Train each from its last checkpoint to the end, or to so many evaluations of the last stage.

    Several differ in their seeds and in numbers of their settings alone, and train as one program. Gives for
    each the "steps" and "values" of these evaluations (a value is None where there is no estimate), and
    whether the run is "finished"; or of several how one "failed". A run that is left goes on to the bits of
    one that was not.
    """
    runs = [from_dict(config, folder) for config, folder in zip(configs, folders, strict=True)]
    stage, reached = "", False

    def tell(event: Event) -> None:
        nonlocal stage
        send(event)
        if event["event"] == "started":
            stage = event["stages"][-1]["name"]

    def lines(place: int) -> list[Line]:
        group = RunFolder(Path(folders[place])).group(runs[place].seed_numbers)
        return [line for line in group.evaluations(seeds=1) if line["stage"] == stage]

    def tell_until(event: Event) -> None:
        nonlocal reached
        tell(event)
        if event["event"] == "evaluation" and until is not None and len(lines(0)) >= until:
            reached = True
            raise Interrupted("So far, for the time being.")

    diverged: list[str | None] = [None]
    if len(runs) > 1:
        diverged = _train_as_one(tell, runs, folders, until)
    else:
        try:
            train_run(tell_until, configs[0], folders[0])
        except Interrupted:
            if not reached:
                raise
    return [
        {"failed": why, "mendable": False}
        if why is not None
        else {
            "steps": [line["step"] for line in lines(place)],
            "values": [_value(line, objective, runs[place].algorithm) for line in lines(place)],
            "finished": RunFolder(Path(folders[place])).finished,
        }
        for place, why in enumerate(diverged)
    ]


def _train_as_one(
    send: Send, runs: list[TrainConfig], folders: list[str], until: int | None
) -> list[str | None]:
    """Train several side by side; gives why each diverged. Each folder gets its own log."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # as `train_run` does
    with stopping_at_once(), ExitStack() as logs:
        from tiltflow.training.display import PlainDisplay
        from tiltflow.training.side_by_side import Lane, train_lanes

        lanes = list[Lane]()
        for config, folder in zip(runs, folders, strict=True):
            Path(folder).mkdir(parents=True, exist_ok=True)
            # The first one's is the job's own, which has standard error.
            file = logs.enter_context((Path(folder) / RUN_LOG).open("a")) if lanes else sys.stderr
            display = PlainDisplay(partial(print, file=file, flush=True))

            def observe(event: Event, display: PlainDisplay = display) -> None:
                display(event)
                send(event)

            lanes.append(Lane(config, Path(folder), observe))
        train_lanes(lanes, until)
    return [lane.diverged for lane in lanes]


def _value(line: Line, objective: Objective, algorithm: str) -> float | None:
    if objective == "loss":
        losses = line["held_out"].get("matching_loss")
        if losses is None:
            raise UserError(
                f"The policy of {algorithm} is no flow: it has no matching loss. Use --objective estimate."
            )
        return losses[0]
    from tiltflow.evaluation.statistics import UNDETERMINED

    if objective == "estimate" and line["beyond"][0] > UNDETERMINED:
        return None
    return line["score"][0]
