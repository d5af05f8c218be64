"""The job of a trial's seed: train its configuration to the end, or to one of its evaluations."""

from pathlib import Path
from typing import Any

from tiltflow.benchmark.queue import train_run
from tiltflow.errors import Interrupted, UserError
from tiltflow.evaluation.lines import Line
from tiltflow.processes.executor import Event, Send
from tiltflow.run_folder import RunFolder
from tiltflow.settings import Objective


def train_trial(
    send: Send, config: dict[str, Any], folder: str, objective: Objective, until: int | None
) -> dict[str, Any]:
    """Train from the last checkpoint until so many evaluations of the last stage are there, or to the end.

    Gives the "steps" and "values" of these evaluations (a value is None where there is no estimate), and
    whether the run is "finished". A run that is left goes on to the bits of one that was not.
    """
    group = RunFolder(Path(folder)).group([config["seed"]])
    stage, reached = "", False

    def lines() -> list[Line]:
        return [line for line in group.evaluations(seeds=1) if line["stage"] == stage]

    def tell(event: Event) -> None:
        nonlocal stage, reached
        send(event)
        if event["event"] == "started":
            stage = event["stages"][-1]["name"]
        if event["event"] == "evaluation" and until is not None and len(lines()) >= until:
            reached = True
            raise Interrupted("So far, for the time being.")

    try:
        train_run(tell, config, folder)
    except Interrupted:
        if not reached:
            raise
    found = lines()
    return {
        "steps": [line["step"] for line in found],
        "values": [_value(line, objective, config["algorithm"]) for line in found],
        "finished": not reached,
    }


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
