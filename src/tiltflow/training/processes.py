"""Groups of seeds as processes: at most one a core, their events as one stream."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tiltflow.errors import Interrupted, TrainingDiverged, UserError
from tiltflow.training.logs import group_folder
from tiltflow.training.loop import Observe, StopFlag
from tiltflow.training.worker import CORE, PARENT

_KINDS = {kind.__name__: kind for kind in (UserError, TrainingDiverged, Interrupted)}
_POLL_SECONDS = 0.2


def available_cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def train_in_processes(
    run: Path, groups: list[list[int]], observe: Observe, stop: StopFlag
) -> list[dict[str, Any]]:
    """Train every group in a process of its own; returns what each sent when it was done.

    A group that fails does not stop the others. Then its error is raised again: UserError,
    TrainingDiverged, Interrupted, or RuntimeError for a bug or a killed process.
    """
    cores, waiting = available_cores(), list(enumerate(groups))
    turn = os.getpid() % len(cores)  # two trainings started side by side do not both begin with core 0
    free = cores[turn:] + cores[:turn]
    events: queue.Queue[tuple[int, dict[str, Any] | None]] = queue.Queue()
    running: dict[int, tuple[subprocess.Popen, int]] = {}
    done: dict[int, dict[str, Any]] = {}
    errors: dict[int, Exception] = {}
    told = False
    with _killed_at_exit(running):
        while waiting or running:
            while free and waiting and not stop.stopped:
                index, seeds = waiting.pop(0)
                core = free.pop(0)
                running[index] = (_start(run, seeds, core, index, events), core)
            if stop.stopped:
                waiting.clear()
                if not told:
                    told = True
                    for process, _ in running.values():
                        process.terminate()  # SIGTERM: a checkpoint at the next edge, then the end
            try:
                index, event = events.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
            if event is None:
                process, core = running.pop(index)
                free.append(core)
                code = process.wait()
                if index not in done and index not in errors:
                    errors[index] = _lost(run, groups[index], code)
            elif event["event"] == "done":
                done[index] = event
            elif event["event"] == "failed":
                errors[index] = _failure(event, groups[index])
            else:
                observe(event)
    if errors:
        first = next(iter(errors.values()))
        raise next((error for error in errors.values() if not isinstance(error, Interrupted)), first)
    if stop.stopped:
        raise Interrupted("Stopped before every seed had started.")
    return [done[index] for index in range(len(groups))]


def _start(run: Path, seeds: list[int], core: int, index: int, events: queue.Queue) -> subprocess.Popen:
    folder = group_folder(run, seeds)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "worker.log").open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tiltflow.training.worker", str(run), *map(str, seeds)],
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, CORE: str(core), PARENT: str(os.getpid())},
            start_new_session=True,  # Ctrl-C reaches this process alone, which then asks the workers to stop
        )
    assert process.stdout is not None
    threading.Thread(target=_read, args=(process.stdout, index, events), daemon=True).start()
    return process


def _read(stream: IO[bytes], index: int, events: queue.Queue) -> None:
    for line in stream:
        events.put((index, json.loads(line)))
    events.put((index, None))


def _failure(event: dict[str, Any], seeds: list[int]) -> Exception:
    text = event["text"]
    if event["kind"] in _KINDS:
        return _KINDS[event["kind"]](text)
    return RuntimeError(f"Training of seed {seeds[0]} failed.\n{text}")


def _lost(run: Path, seeds: list[int], code: int) -> Exception:
    log = group_folder(run, seeds) / "worker.log"
    return RuntimeError(
        f"The process of seed {seeds[0]} ended without a word (exit code {code}; −9 is what the system does "
        f"when memory runs out). Its last words are in {log}. Continue with: tiltflow train --resume {run}"
    )


@contextmanager
def _killed_at_exit(running: dict[int, tuple[subprocess.Popen, int]]) -> Iterator[None]:
    try:
        yield
    finally:
        for process, _ in running.values():
            process.kill()
            process.wait()
