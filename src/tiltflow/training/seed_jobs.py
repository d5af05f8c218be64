"""Groups of seeds as jobs, each in a process of its own."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiltflow.errors import ExplainedError, Interrupted, ProcessFailed
from tiltflow.files import held
from tiltflow.processes.executor import Job, Send, error_of
from tiltflow.processes.local import LocalExecutor
from tiltflow.processes.locks import LOCK
from tiltflow.processes.stopping import StopFlag, listening
from tiltflow.run_folder import RunFolder

if TYPE_CHECKING:
    from tiltflow.training.under_way import Training


def train_seeds(send: Send, run: str, seeds: list[int], loaded: float, profile: bool) -> dict[str, Any]:
    """The job of a group: train it to its end, or to a checkpoint when this process is asked to stop.

    The process that gave it has spent `loaded` seconds on the data.
    """
    stop = StopFlag()
    with listening(stop.ask):
        from tiltflow.training.group import train_group
        from tiltflow.training.prepare import prepare_from_shared
        from tiltflow.training.time_spent import TimeSpent
        from tiltflow.training.under_way import Training

        folder, spent = RunFolder(Path(run)), TimeSpent(loaded)
        prepared, dataset = prepare_from_shared(folder)
        with held(folder.path, folder.path / LOCK):
            return train_group(Training(prepared, dataset, folder, send, spent, stop, profile), seeds)


def train_in_processes(training: "Training", groups: list[list[int]]) -> list[dict[str, Any]]:
    """Train every group in a process of its own; returns the results of `train_seeds`.

    With `profile` the first group is traced.
    A group that fails does not stop the others. Then its error is raised again: UserError,
    TrainingDiverged, Interrupted, or ProcessFailed for a bug or a killed process.
    """
    work, run = f"{__name__}:{train_seeds.__name__}", training.run
    done: dict[int, dict[str, Any]] = {}
    errors: list[ExplainedError] = []
    given = {"run": str(run.path), "loaded": training.spent.seconds()["load"]}
    profiled = groups[0] if training.profile else None
    jobs = [
        Job(work, {**given, "seeds": seeds, "profile": seeds == profiled}, run.group(seeds).worker_log)
        for seeds in groups
    ]
    with closing(LocalExecutor().submit(jobs, training.stop)) as told:
        for index, event in filter(None, told):
            match event["event"]:
                case "launched":
                    continue
                case "exited" if event["failed"]:
                    errors.append(error_of(event["failed"], jobs[index].log))
                case "exited":
                    done[index] = event["result"]
                case _:
                    training.observe(event)
    for error in sorted(errors, key=lambda error: isinstance(error, Interrupted)):
        if isinstance(error, ProcessFailed):
            raise ProcessFailed(f"{error} Continue with: tiltflow train --resume {run.path}")
        raise error
    if training.stop.stopped:
        raise Interrupted("Stopped before every seed had started.")
    return [done[index] for index in range(len(groups))]
