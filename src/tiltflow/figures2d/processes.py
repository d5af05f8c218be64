"""Jobs over all cores: one process a core, each kept for many jobs so that it compiles once."""

import json
import os
import queue
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tiltflow.errors import ProcessFailed
from tiltflow.figures2d.plan import Cell, Job, Plan
from tiltflow.files import open_to_append
from tiltflow.training.pool import available_cores, child_environment, python

LOG = "worker.log"
_SECONDS_TO_LEAVE = 10.0

Observe = Callable[[Cell, dict[str, str] | None], None]
"""(cell that is done, its error's kind and text where it failed)"""


class Worker:
    """A process on one core, and what it works on."""

    def __init__(self, plan: Plan, folder: Path, core: int, events: queue.Queue):
        with open_to_append(folder / LOG) as log:
            self.process = subprocess.Popen(
                python("tiltflow.figures2d.worker", str(folder)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=child_environment(core),
                start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the workers
            )
        self.core = core
        self.left: list[Cell] = []
        self.send(asdict(plan))
        threading.Thread(target=self._read, args=(events,), daemon=True).start()

    def start(self, job: Job) -> None:
        """Give it a job; the cells of it that are not done yet are in `left`."""
        self.left = job.cells
        self.send(job)

    def send(self, value: Any) -> None:
        """Write a line to it; one that died meanwhile is noticed when its events end."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(value).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return

    def _read(self, events: queue.Queue) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            events.put((self, json.loads(line)))
        events.put((self, None))


def run_jobs(plan: Plan, jobs: Sequence[Job], folder: Path, observe: Observe) -> None:
    """Compute the cells of `jobs` into `folder`, telling `observe` about each.

    A cell that fails, or a process that the system kills, loses no other cell. Ends every process when
    interrupted; cells that are finished by then stay.
    """
    waiting = list(jobs)
    cores = available_cores()
    turn = os.getpid() % len(cores)  # two commands started side by side do not both begin with core 0
    free = (cores[turn:] + cores[:turn])[: len(waiting)]
    events: queue.Queue[tuple[Worker, dict[str, Any] | None]] = queue.Queue()
    workers: set[Worker] = set()
    with _ended(workers):
        while waiting or workers:
            while free and waiting and len(workers) < len(waiting) + len([w for w in workers if w.left]):
                workers.add(Worker(plan, folder, free.pop(0), events))
            worker, event = events.get()
            if event is None:
                workers.discard(worker)
                worker.process.wait()
                free.append(worker.core)
                for cell in worker.left:
                    observe(cell, _lost(worker, folder))
                if not worker.left and waiting:  # it never began: another would not either
                    raise ProcessFailed(_lost(worker, folder)["text"])
            elif "cell" in event:
                cell = Cell(*event["cell"])
                worker.left.remove(cell)
                observe(cell, event["error"])
            elif waiting:
                worker.start(waiting.pop(0))
            else:
                assert worker.process.stdin is not None
                worker.process.stdin.close()


def _lost(worker: Worker, folder: Path) -> dict[str, str]:
    return {
        "kind": "ProcessFailed",
        "text": f"A process ended without a word (exit code {worker.process.wait()}; −9 is what the system "
        f"does when memory runs out). Its last words are in {folder / LOG}.",
    }


@contextmanager
def _ended(workers: set[Worker]) -> Iterator[None]:
    try:
        yield
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            try:
                worker.process.wait(_SECONDS_TO_LEAVE)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
