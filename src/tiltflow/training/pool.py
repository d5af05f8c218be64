"""Commands as processes, at most one a core, and their events as one stream. Standard library only.

A process is a `python -m …` that sends its events with `tiltflow.training.worker.serve`.
"""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from tiltflow.files import open_to_append
from tiltflow.training.stopping import StopFlag
from tiltflow.training.worker import CORE, PARENT

Event = dict[str, Any]
_POLL_SECONDS = 0.2


class Job(NamedTuple):
    """A module with its arguments, and the file that gets the process's standard error."""

    words: Sequence[str]
    log: Path


def available_cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def python(*words: str) -> list[str]:
    """The command that runs a module in a process of its own.

    With -P the current folder, which may be somebody else's, is no place to import from.
    """
    return [sys.executable, "-P", "-m", *words]


def child_environment(core: int) -> dict[str, str]:
    """The environment variables of a process on that core, which ends with this one."""
    variables = {**os.environ, CORE: str(core), PARENT: str(os.getpid())}
    if "PYTHONPATH" in variables:  # an empty entry is the current folder again
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, variables["PYTHONPATH"].split(os.pathsep)))
    return variables


def run_jobs(
    jobs: Sequence[Job], stop: StopFlag, processes: int | None = None
) -> Generator[tuple[int, Event] | None, None, None]:
    """Run every job, the first ones first; yields (index of the job, event), and None now and then.

    Before a job's own events comes "launched", after them "exited" with its exit "code". One that fails does
    not stop the others. Where `stop` is asked for, no other begins and those that run get SIGTERM. Close the
    iterator early to kill them. `processes` is how many run at a time, at most and by default one a core.
    """
    cores, waiting = available_cores(), list(enumerate(jobs))
    turn = os.getpid() % len(cores)  # two commands started side by side do not both begin with core 0
    free = (cores[turn:] + cores[:turn])[:processes]
    events: queue.Queue[tuple[int, Event | None]] = queue.Queue()
    running: dict[int, tuple[subprocess.Popen, int]] = {}
    told = False
    try:
        while waiting or running:
            while free and waiting and not stop.stopped:
                index, job = waiting.pop(0)
                core = free.pop(0)
                running[index] = (_start(job, core, index, events), core)
                yield index, {"event": "launched"}
            if stop.stopped:
                waiting.clear()
                if not told:
                    told = True
                    for process, _ in running.values():
                        process.terminate()  # SIGTERM: a checkpoint at the next edge, then the end
            try:
                index, event = events.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                yield None
                continue
            if event is not None:
                yield index, event
                continue
            process, core = running.pop(index)
            free.append(core)
            yield index, {"event": "exited", "code": process.wait()}
    finally:
        for process, _ in running.values():
            process.kill()
            process.wait()


def _start(job: Job, core: int, index: int, events: queue.Queue) -> subprocess.Popen:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with open_to_append(job.log) as errors:
        process = subprocess.Popen(
            python(*job.words),
            stdout=subprocess.PIPE,
            stderr=errors,
            env=child_environment(core),
            start_new_session=True,  # Ctrl-C reaches this process alone, which then asks the others to stop
        )
    assert process.stdout is not None
    threading.Thread(target=_read, args=(process.stdout, index, events), daemon=True).start()
    return process


def _read(stream: IO[bytes], index: int, events: queue.Queue) -> None:
    try:
        for line in stream:
            if line.endswith(b"\n"):  # a process that is killed leaves half a line
                events.put((index, json.loads(line)))
    finally:
        events.put((index, None))
