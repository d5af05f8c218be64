"""A job that goes to another machine, and how it is done there: as the local executor does it.

The process is the same as at home, on as many cores, and so are its bits. Standard library only.
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tiltflow.errors import UserError
from tiltflow.processes.executor import Job, Send, failure
from tiltflow.processes.local import LocalExecutor, available_cores
from tiltflow.processes.locks import PATIENCE
from tiltflow.processes.stopping import StopFlag
from tiltflow.processes.worker import CORES, PARENT
from tiltflow.remote_store import Store

_GO_ALONG = ("TILTFLOW_", "PYTHONPATH", "XLA_", "JAX_", "MUJOCO_", "FSSPEC_")
"""Beginnings of the environment variables that decide what is found and which bits are computed."""
_PATIENCE_SECONDS = 120
"""A file server frees the locks of a machine that is gone after 90 s (NFS 4's lease)."""
_OFTEN = ("activity", "chunk", "checkpoint")
_SECONDS_BETWEEN = 5.0
"""Between two events of one of these kinds: thousands of runs tell one command how far they are."""


@dataclass(frozen=True)
class Errand:
    """A job, the how manieth attempt it is, and what it needs to know of the command that wants it done."""

    index: int
    attempt: int
    job: Job
    folder: Path
    """Where the command was called: relative paths are meant from there."""
    variables: dict[str, str]


def errand(index: int, attempt: int, job: Job) -> Errand:
    """The errand of a job of this process; makes the folder of its log, which the other machine must see."""
    job.log.parent.mkdir(parents=True, exist_ok=True)
    variables = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_GO_ALONG) and name not in (CORES, PARENT)
    }
    return Errand(index, attempt, job, Path.cwd(), variables | {PATIENCE: str(_PATIENCE_SECONDS)})


def do_errand(task: Errand, send: Send, stop: StopFlag) -> None:
    """Do it on this machine, and send its events."""
    try:
        _settle(task)
    except UserError as error:
        for event in ({"event": "launched"}, {"event": "exited", "code": 2, "failed": failure(error)}):
            send({**event, "result": None})
        return
    due: dict[str, float] = dict.fromkeys(_OFTEN, 0.0)
    with (
        _leased_cores(task.job.cores) as cores,
        closing(LocalExecutor(task.job.cores, cores).submit([task.job], stop)) as told,
    ):
        for _, event in filter(None, told):
            kind, now = str(event["event"]), time.monotonic()
            if now < due.get(kind, 0.0):
                continue
            if kind in due:
                due[kind] = now + _SECONDS_BETWEEN
            if kind == "exited" and task.job.log_url:
                _send_log(task.job)
            send(event)


def _send_log(job: Job) -> None:
    place, _, name = job.log_url.rpartition("/")
    with suppress(Exception):  # the event says what failed: the log has but more of it
        Store(place).put(name, job.log.read_bytes())


def _settle(task: Errand) -> None:
    """Stand where the command was called, with its environment variables."""
    os.environ.update(task.variables)
    if task.job.log_url:  # nothing is shared but what lies at URLs
        task.job.log.parent.mkdir(parents=True, exist_ok=True)
        if task.folder.is_dir():
            os.chdir(task.folder)
        return
    for folder in (task.folder, task.folder / task.job.log.parent):
        if not folder.is_dir():
            raise UserError(
                f"The machine {socket.gethostname()} has no folder {folder}: call the command in a folder "
                "that all machines see under the same name, and name such a folder with --out."
            )
    os.chdir(task.folder)


@contextmanager
def _leased_cores(count: int) -> Iterator[list[int]]:
    """So many cores that no other errand of this user has here; none where they do not suffice.

    A lease is a name in Linux' abstract sockets, which ends with the process that has it, however it ends.
    """
    cores: list[int] = []
    with ExitStack() as leases:
        for core in available_cores():
            if len(cores) == count:
                break
            lease = leases.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            try:
                lease.bind(f"\0tiltflow-core-{os.getuid()}-{core}")
            except OSError:
                continue
            cores.append(core)
        yield cores if len(cores) == count else []
