"""Groups of seeds as processes: at most one a core, their events as one stream."""

from contextlib import closing
from pathlib import Path
from typing import Any

from tiltflow.errors import Interrupted, ProcessFailed, TrainingDiverged, UserError
from tiltflow.run_folder import RunFolder
from tiltflow.training.pool import Job, run_jobs
from tiltflow.training.progress import Observe
from tiltflow.training.stopping import REQUESTS, StopFlag

_KINDS = {kind.__name__: kind for kind in (UserError, TrainingDiverged, Interrupted)}


def train_in_processes(
    run: Path, groups: list[list[int]], observe: Observe, stop: StopFlag
) -> list[dict[str, Any]]:
    """Train every group in a process of its own; returns what each sent when it was done.

    A group that fails does not stop the others. Then its error is raised again: UserError,
    TrainingDiverged, Interrupted, or ProcessFailed for a bug or a killed process.
    """
    done: dict[int, dict[str, Any]] = {}
    errors: dict[int, Exception] = {}
    jobs = [
        Job(["tiltflow.training.worker", str(run), *map(str, seeds)], _log(run, seeds)) for seeds in groups
    ]
    with closing(run_jobs(jobs, stop)) as happenings:
        for happening in happenings:
            if happening is None:
                continue
            index, event = happening
            match event["event"]:
                case "launched":
                    continue
                case "exited":
                    if index not in done and index not in errors:
                        errors[index] = _lost(run, groups[index], event["code"], stop)
                case "done":
                    done[index] = event
                case "failed":
                    errors[index] = _failure(run, groups[index], event)
                case _:
                    observe(event)
    if errors:
        first = next(iter(errors.values()))
        raise next((error for error in errors.values() if not isinstance(error, Interrupted)), first)
    if stop.stopped:
        raise Interrupted("Stopped before every seed had started.")
    return [done[index] for index in range(len(groups))]


def _log(run: Path, seeds: list[int]) -> Path:
    return RunFolder(run).group(seeds).worker_log


def _failure(run: Path, seeds: list[int], event: dict[str, Any]) -> Exception:
    if event["kind"] in _KINDS:
        return _KINDS[event["kind"]](event["text"])
    return ProcessFailed(
        f"Training of seed {seeds[0]} failed with {event['kind']}: {event['text']} This is a defect of "
        f"tiltflow, not of your input; the traceback is in {_log(run, seeds)}."
    )


def _lost(run: Path, seeds: list[int], code: int, stop: StopFlag) -> Exception:
    if stop.stopped or -code in REQUESTS:
        return Interrupted(f"Stopped. Seed {seeds[0]} keeps its last checkpoint, where it had come to one.")
    return ProcessFailed(
        f"The process of seed {seeds[0]} ended without a word (exit code {code}; −9 is what the system does "
        f"when memory runs out). Its last words are in {_log(run, seeds)}. Continue with: "
        f"tiltflow train --resume {run}"
    )
