"""A process that does jobs, one after the other: `python -m tiltflow.processes.worker`.

Standard input gives them, {"work", "arguments"} a line; standard output gets an event a line, in JSON.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from tiltflow.compiled_programs import keep_compiled
from tiltflow.processes.executor import Event, Send, error_of, failure

CORES, PARENT = "TILTFLOW_CORES", "TILTFLOW_PARENT"


def end_with_parent(parent: str | None) -> None:
    """Ask Linux to kill this process when the one that started it dies, so that none is left behind.

    A parent that died before it was asked is known by its number, which is then no longer the parent's.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if parent is not None and os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGKILL)


def stay_on_cores(cores: str | None) -> None:
    """Run on these cores, where the system can say so: XLA then starts a thread for each, and no more."""
    if cores is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})


def perform(work: str, arguments: dict[str, Any], send: Send) -> int:
    """Call the function of a job, and send "done" or "failed" at its end; returns the exit code.

    Its module is imported here, on the job's cores: XLA starts as many threads as the process has by then.
    """
    module, _, name = work.partition(":")
    try:
        send({"event": "done", "result": getattr(import_module(module), name)(send, **arguments)})
    except BrokenPipeError:
        return 1
    except (Exception, KeyboardInterrupt) as error:
        failed = failure(error)
        send({"event": "failed", **failed})
        return error_of(failed, Path()).exit_code
    return 0


def main() -> int:
    """Do every job that standard input gives; returns the exit code of the last one."""
    end_with_parent(os.environ.get(PARENT))
    stay_on_cores(os.environ.get(CORES))
    keep_compiled()
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not mix with the events

    def send(event: Event) -> None:
        channel.write(json.dumps(event) + "\n")
        channel.flush()

    code = 0
    for line in iter(sys.stdin.readline, ""):
        code = perform(**json.loads(line), send=send)
    return code


if __name__ == "__main__":
    sys.exit(main())
