"""A process of its own for one group of seeds: `python -m tiltflow.training.worker RUN SEED [SEED …]`.

It speaks one JSON event a line on standard output (`serve`), as other modules that are run so do.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiltflow.errors import Interrupted, UserError
from tiltflow.run_folder import RunFolder
from tiltflow.training.stopping import StopFlag, listening

Send = Callable[[dict[str, Any]], None]

CORE, PARENT = "TILTFLOW_CORE", "TILTFLOW_PARENT"


def end_with_parent(parent: str | None) -> None:
    """Ask Linux to kill this process when the one that started it dies, so that none is left behind.

    A parent that died before it was asked is known by its number, which is then no longer the parent's.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if parent is not None and os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGKILL)


def stay_on_core(core: str | None) -> None:
    """Run on one core, where the system can say so: XLA then starts one thread, and seeds do not compete."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core)})


def serve(work: Callable[[Send], dict[str, Any]]) -> int:
    """Do the work in this process, on its core, sending events; returns the exit code.

    The last event is "done" with what `work` returns, or "failed" with the kind and text of the error, whose
    traceback standard error gets. `work` imports what is heavy: XLA starts as many threads as
    the process has cores by then.
    """
    end_with_parent(os.environ.get(PARENT))
    stay_on_core(os.environ.get(CORE))
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not mix with the events

    def send(event: dict[str, Any]) -> None:
        channel.write(json.dumps(event) + "\n")
        channel.flush()

    try:
        send({"event": "done", **work(send)})
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        send({"event": "failed", "kind": Interrupted.__name__, "text": "Stopped."})
        return Interrupted.exit_code
    except Exception as error:
        if not isinstance(error, Interrupted):
            traceback.print_exc()
        # A full disk, a folder that cannot be written: the text names the file.
        kind = UserError if isinstance(error, OSError) else type(error)
        send({"event": "failed", "kind": kind.__name__, "text": str(error)})
        return getattr(kind, "exit_code", 1)
    return 0


def main(arguments: list[str]) -> int:
    """Train the seeds, sending events. Returns the exit code."""
    run, seeds = RunFolder(Path(arguments[0])), [int(seed) for seed in arguments[1:]]
    stop = StopFlag()

    def work(send: Send) -> dict[str, Any]:
        from tiltflow.training.group import train_group
        from tiltflow.training.prepare import prepare

        prepared, dataset = prepare(run.read_config())
        return train_group(prepared, dataset, run, seeds, send, stop)

    with listening(stop.ask):
        return serve(work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
