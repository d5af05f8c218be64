"""A process of its own for one group of seeds: `python -m tiltflow.training.worker RUN SEED [SEED …]`.

It speaks one JSON event a line on standard output; the last one is "done" with what the result needs, or
"failed" with the kind and text of the error.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, TextIO

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


def main(arguments: list[str]) -> int:
    """Train the seeds, sending events. Returns the exit code."""
    end_with_parent(os.environ.get(PARENT))
    stay_on_core(os.environ.get(CORE))
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not mix with the events
    run, seeds = Path(arguments[0]), [int(seed) for seed in arguments[1:]]

    from tiltflow.errors import Interrupted, TrainingDiverged, UserError
    from tiltflow.training.group import train_group
    from tiltflow.training.loop import StopFlag
    from tiltflow.training.run import read_config

    stop = StopFlag()
    signal.signal(signal.SIGTERM, stop.stop)
    try:
        done = train_group(read_config(run), run, seeds, lambda event: _send(channel, event), stop)
    except (UserError, TrainingDiverged, Interrupted) as error:
        _send(channel, {"event": "failed", "kind": type(error).__name__, "text": str(error)})
        return error.exit_code
    except BrokenPipeError:
        return 1
    except Exception:
        traceback.print_exc()
        text = traceback.format_exc()
        _send(channel, {"event": "failed", "kind": "Exception", "text": text})
        return 1
    _send(channel, {"event": "done", **done})
    return 0


def _send(channel: TextIO, event: dict[str, Any]) -> None:
    channel.write(json.dumps(event) + "\n")
    channel.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
