"""Following jobs on the machines of a cluster, and beginning again what is lost there.

Standard library only.
"""

import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import final

from tiltflow.processes.errand import Errand, errand
from tiltflow.processes.executor import Event, Executor, Job, Told
from tiltflow.processes.stopping import StopFlag

_POLL_SECONDS = 0.2
_LOSSES = 3
"""How often a job is lost before it counts as failed, without a checkpoint in between."""


class Cluster(ABC):
    """Machines that do errands: they share the folder of the logs, and tiltflow is installed on each."""

    @abstractmethod
    def width(self) -> int:
        """Errands of one core that it does at a time, as far as it is known."""

    @abstractmethod
    def begin(self, errands: Sequence[Errand]) -> None:
        """Let them be done, the first ones first."""

    @abstractmethod
    def ended(self) -> list[tuple[Errand, str]]:
        """The errands that are over since the last call, however they ended, and the last words of each."""

    @abstractmethod
    def events(self) -> list[tuple[int, int, Event]]:
        """(index, attempt, event) since the last call; all of an errand that has `ended` before it."""

    @abstractmethod
    def stop(self) -> None:
        """Ask every errand to stop after a checkpoint, and begin none that waits."""

    @abstractmethod
    def kill(self) -> None:
        """Kill what is still there."""


@final
class RemoteExecutor(Executor):
    """Jobs on a cluster, `at_most` so many at a time.

    A job whose process or machine is lost, or that somebody else asks to stop, is begun again: it goes on
    from what it has left on the disk, on whatever machine is free.
    """

    def __init__(self, cluster: Cluster, at_most: int | None = None):
        self._cluster, self._at_most = cluster, at_most

    @property
    def width(self) -> int:
        """As `Executor.width` says, at this moment: machines come and go."""
        width = max(1, self._cluster.width())
        return width if self._at_most is None else min(width, self._at_most)

    def submit(self, jobs: Sequence[Job], stop: StopFlag) -> Told:
        """As `Executor.submit` says."""
        waiting = deque(range(len(jobs)))
        going, attempts, losses = dict[int, bool](), Counter[int](), Counter[int]()  # going: launched yet?
        asked = False
        try:
            while waiting or going:
                if stop.stopped and not asked:
                    asked = True
                    waiting.clear()
                    self._cluster.stop()
                room = len(waiting) if self._at_most is None else self._at_most - len(going)
                begun = [waiting.popleft() for _ in range(min(room, len(waiting)))]
                attempts.update(begun)
                going |= dict.fromkeys(begun, False)
                self._cluster.begin([errand(index, attempts[index], jobs[index]) for index in begun])
                ended = self._cluster.ended()
                told = self._cluster.events()
                # Whoever has ended without having said so was lost.
                told += [
                    (task.index, task.attempt, _lost_event(jobs[task.index], why)) for task, why in ended
                ]
                for index, attempt, event in told:
                    if index not in going or attempt != attempts[index]:
                        continue  # of an attempt that is over
                    losses[index] = 0 if event["event"] == "checkpoint" else losses[index]
                    if event["event"] == "exited":
                        launched = going.pop(index)
                        if not stop.stopped and _is_lost(event):
                            losses[index] += 1
                            if losses[index] < _LOSSES:
                                waiting.appendleft(index)
                                event = {"event": "lost", "text": event["failed"]["text"]}
                        yield from _in_order(index, event, launched, stop)
                    else:
                        going[index] = True
                        yield index, event
                if not told:
                    yield None
                    time.sleep(_POLL_SECONDS)
        finally:
            self._cluster.kill()


def _lost_event(job: Job, why: str) -> Event:
    text = f"Its process or machine was lost: {why} What it said is in {job.log}."
    return {"event": "exited", "code": -9, "failed": {"kind": "ProcessFailed", "text": text}, "result": None}


def _is_lost(event: Event) -> bool:
    """Killed by a signal, or stopped by somebody else, who wants the machine."""
    return event["failed"] is not None and (event["code"] < 0 or event["failed"]["kind"] == "Interrupted")


def _in_order(index: int, event: Event, launched: bool, stop: StopFlag) -> Iterator[tuple[int, Event]]:
    """The end of an attempt; of one that was never launched, only where that is worth a word."""
    if not launched and (stop.stopped or event["event"] == "lost"):
        return
    if not launched:
        yield index, {"event": "launched"}
    yield index, event
