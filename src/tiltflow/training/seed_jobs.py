"""Groups of seeds as jobs, each in a process of its own."""

from contextlib import closing
from pathlib import Path
from typing import Any

from tiltflow.errors import ExplainedError, Interrupted, ProcessFailed
from tiltflow.files import held
from tiltflow.processes.executor import Job, Send, error_of
from tiltflow.processes.local import LocalExecutor
from tiltflow.processes.stopping import StopFlag, listening
from tiltflow.run_folder import RunFolder


def train_seeds(send: Send, run: str, seeds: list[int], loaded: float, profile: bool) -> dict[str, Any]:
    """The job of a group: train it to its end, or to a checkpoint when this process is asked to stop.

    The process that gave it has spent `loaded` seconds on the data.
    """
    stop = StopFlag()
    with listening(stop.ask):
        from tiltflow.training.group import train_group
        from tiltflow.training.prepare import prepare_from_shared
        from tiltflow.training.time_spent import TimeSpent

        folder, spent = RunFolder(Path(run)), TimeSpent(loaded)
        prepared, dataset = prepare_from_shared(folder)
        with held(folder.path):
            return train_group(prepared, dataset, folder, seeds, send, stop, spent, profile=profile)


def train_in_processes(
    run: RunFolder, groups: list[list[int]], observe: Send, stop: StopFlag, loaded: float, *, profile: bool
) -> list[dict[str, Any]]:
    """Train every group in a process of its own; returns the results of `train_seeds`.

    With `profile` the first one is traced.
    A group that fails does not stop the others. Then its error is raised again: UserError,
    TrainingDiverged, Interrupted, or ProcessFailed for a bug or a killed process.
    """
    work = f"{__name__}:{train_seeds.__name__}"
    given = {"run": str(run.path), "loaded": loaded}
    jobs = [
        Job(
            work,
            {**given, "seeds": seeds, "profile": profile and seeds == groups[0]},
            run.group(seeds).worker_log,
        )
        for seeds in groups
    ]
    done: dict[int, dict[str, Any]] = {}
    errors: list[ExplainedError] = []
    with closing(LocalExecutor().submit(jobs, stop)) as told:
        for index, event in filter(None, told):
            match event["event"]:
                case "launched":
                    continue
                case "exited" if event["failed"]:
                    errors.append(error_of(event["failed"], jobs[index].log))
                case "exited":
                    done[index] = event["result"]
                case _:
                    observe(event)
    for error in sorted(errors, key=lambda error: isinstance(error, Interrupted)):
        if isinstance(error, ProcessFailed):
            raise ProcessFailed(f"{error} Continue with: tiltflow train --resume {run.path}")
        raise error
    if stop.stopped:
        raise Interrupted("Stopped before every seed had started.")
    return [done[index] for index in range(len(groups))]
