"""Jobs as processes of this machine, each on cores of its own. Standard library only."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from tiltflow.files import open_to_append
from tiltflow.processes.executor import Event, Executor, Job, Told, exited
from tiltflow.processes.stopping import StopFlag
from tiltflow.processes.worker import CORES, PARENT

_POLL_SECONDS = 0.2


def available_cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


class LocalExecutor(Executor):
    """Processes that end with this one, on all cores that it may use or on `at_most` so many of them."""

    def __init__(self, at_most: int | None = None, cores: Sequence[int] = ()):
        cores = list(cores) or available_cores()
        turn = os.getpid() % len(cores)  # two commands started side by side do not both begin with core 0
        self.cores = (cores[turn:] + cores[:turn])[:at_most]

    @property
    def width(self) -> int:
        """As `Executor.width` says."""
        return len(self.cores)

    def submit(self, jobs: Sequence[Job], stop: StopFlag) -> Told:
        """As `Executor.submit` says. Raises UserError where a log cannot be written."""
        waiting, free = deque(enumerate(jobs)), list(self.cores)
        events: queue.Queue[tuple[_Process, Event | None]] = queue.Queue()
        running: list[_Process] = []
        try:
            while waiting or running:
                while waiting and not stop.stopped:
                    count = min(waiting[0][1].cores, len(self.cores))
                    if len(free) < count:
                        break
                    running.append(_Process(*waiting.popleft(), free[:count], events))
                    del free[:count]
                    yield running[-1].index, {"event": "launched"}
                if stop.stopped:
                    waiting.clear()
                    for process in running:
                        process.ask_to_stop()
                try:
                    process, event = events.get(timeout=_POLL_SECONDS)
                except queue.Empty:
                    yield None
                    continue
                if event is None:
                    running.remove(process)
                    free += process.cores
                    code = process.popen.wait()
                    if process.words is None or not process.job.warm:
                        yield process.index, exited(process.job, process.words, code, stop.stopped)
                    continue
                if event["event"] not in ("done", "failed"):
                    yield process.index, event
                    continue
                process.words = event
                if process.job.warm:
                    yield process.index, exited(process.job, event, 0, stop.stopped)
                    if waiting and not stop.stopped and process.suits(waiting[0][1]):
                        process.begin(*waiting.popleft())
                        yield process.index, {"event": "launched"}
                    else:
                        process.leave()
        finally:
            for process in running:
                process.popen.kill()
                process.popen.wait()


class _Process:
    """A process on these cores, the job that it works on or has done, and the last words of that."""

    job: Job
    index: int
    words: Event | None

    def __init__(self, index: int, job: Job, cores: list[int], events: queue.Queue):
        self.cores = cores
        self._asked = False
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with open_to_append(job.log) as errors:
            self.popen = subprocess.Popen(
                # With -P the current folder, which may be somebody else's, is no place to import from.
                [sys.executable, "-P", "-m", "tiltflow.processes.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=_environment(cores),
                start_new_session=True,  # Ctrl-C reaches this process alone, which asks the others to stop
            )
        threading.Thread(target=self._read, args=(events,), daemon=True).start()
        self.begin(index, job)

    def begin(self, index: int, job: Job) -> None:
        """Give it a job; one that died meanwhile is noticed when its events end."""
        self.index, self.job, self.words = index, job, None
        assert self.popen.stdin is not None
        with suppress(BrokenPipeError):
            line = json.dumps({"work": job.work, "arguments": job.arguments})
            self.popen.stdin.write(line.encode() + b"\n")
            self.popen.stdin.flush()
        if not job.warm:
            self.leave()

    def suits(self, job: Job) -> bool:
        """Whether the job may be done by this process after the one that it has done."""
        return job.warm and job.log == self.job.log and job.cores == self.job.cores

    def leave(self) -> None:
        """Let it end after what it does."""
        assert self.popen.stdin is not None
        with suppress(BrokenPipeError):
            self.popen.stdin.close()

    def ask_to_stop(self) -> None:
        """Send SIGTERM, once: a checkpoint at the next edge, then the end."""
        if not self._asked:
            self._asked = True
            self.popen.terminate()

    def _read(self, events: queue.Queue) -> None:
        assert self.popen.stdout is not None
        try:
            for line in self.popen.stdout:
                if line.endswith(b"\n"):  # a process that is killed leaves half a line
                    events.put((self, json.loads(line)))
        finally:
            events.put((self, None))


def _environment(cores: list[int]) -> dict[str, str]:
    """The environment variables of a process on these cores, which ends with this one."""
    variables = {**os.environ, CORES: ",".join(map(str, cores)), PARENT: str(os.getpid())}
    if "PYTHONPATH" in variables:  # an empty entry is the current folder again
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, variables["PYTHONPATH"].split(os.pathsep)))
    return variables
