"""Jobs as data, the events that they send, and the interface of what runs them. Standard library only."""

import sys
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiltflow.errors import ExplainedError, Interrupted, NotSent, ProcessFailed, TrainingDiverged, UserError
from tiltflow.processes.stopping import REQUESTS, StopFlag

Event = dict[str, Any]
Send = Callable[[Event], None]
Told = Generator[tuple[int, Event] | None, None, None]
"""(index of the job, event), and None now and then while nothing happens."""


@dataclass(frozen=True)
class Job:
    """A call of a function in another process: `work(send, **arguments)`, whose result JSON can hold.

    The process may be lost and the job begun again: the function goes on from what it finds on the disk.
    """

    work: str
    """The function, as in "package.module:function"."""
    arguments: dict[str, Any]
    """Values that JSON can hold, by name."""
    log: Path
    """File to whose end the process's standard error goes."""
    cores: int = 1
    """CPU cores that it has for itself."""
    warm: bool = False
    """Whether its process may do other warm jobs, of the same log, before and after: they compile once."""
    log_url: str = ""
    """Where the log is sent once the job is over, of a run whose folder is at a URL."""


class Executor(ABC):
    """Runs jobs, here or elsewhere."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Jobs of one core that run at a time."""

    @abstractmethod
    def submit(self, jobs: Sequence[Job], stop: StopFlag) -> Told:
        """Run every job, the first ones first; yields their events.

        A job's first event is "launched", its last one `exited`; in between come those that it sends. After
        "lost", whose "text" says why, it waits to be launched again. One that fails does not stop the others.
        Where `stop` is asked for, no other begins and those that run get SIGTERM. Close the iterator early to
        kill them.
        """


def failure(error: BaseException) -> dict[str, str]:
    """An error as data, its "kind" and "text"; the traceback of a defect goes to standard error."""
    if isinstance(error, KeyboardInterrupt):
        error = Interrupted("Stopped.")
    if not isinstance(error, Interrupted):
        with suppress(OSError):  # the disk of the log may be what is full
            traceback.print_exception(error, file=sys.stderr)
    # A full disk, a folder that cannot be written: the text names the file.
    kind = UserError if isinstance(error, OSError) else type(error)
    return {"kind": kind.__name__, "text": str(error)}


def error_of(failed: Mapping[str, str], log: Path) -> ExplainedError:
    """The error of a `failure`, to be raised here; a defect is a ProcessFailed that names the log."""
    if kind := _EXPLAINED.get(failed["kind"]):
        return kind(failed["text"])
    return ProcessFailed(
        f"{failed['kind']}: {failed['text']} This is a defect of tiltflow, not of your input; the traceback "
        f"is in {log}."
    )


_EXPLAINED = {
    kind.__name__: kind for kind in (UserError, TrainingDiverged, ProcessFailed, NotSent, Interrupted)
}


def exited(job: Job, words: Event | None, code: int, stopping: bool) -> Event:
    """The last event of a job: its "result", or why it "failed" as a `failure` of an explained kind.

    `words` are "done" or "failed", the last that its process sent before it ended with the exit `code`.
    """
    error: ExplainedError | None = None
    if words is None and (stopping or -code in REQUESTS or code == Interrupted.exit_code):
        error = Interrupted("Stopped.")
    elif words is None:
        error = ProcessFailed(
            f"A process ended without a word (exit code {code}; −9 is what the system does when memory runs "
            f"out: fewer processes need less). Its last words are in {job.log}."
        )
    elif words["event"] == "failed":
        error = error_of(words, job.log)
    failed = None if error is None else {"kind": type(error).__name__, "text": str(error)}
    return {"event": "exited", "code": code, "failed": failed, "result": (words or {}).get("result")}
