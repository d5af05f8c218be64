"""A process that computes jobs: `python -m tiltflow.figures2d.worker CELLS`.

Standard input gives the plan, then the jobs, one JSON value a line; standard output gets an event a line:
{"cell": …, "error": null or {"kind", "text"}} for every cell, and {"free": true} after every job.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

from tiltflow.errors import UserError
from tiltflow.figures2d.plan import Job, plan_from
from tiltflow.training.stopping import listening
from tiltflow.training.worker import CORE, PARENT, end_with_parent, stay_on_core


def main(folder: Path) -> None:
    """Work until standard input ends."""
    end_with_parent(os.environ.get(PARENT))
    stay_on_core(os.environ.get(CORE))
    with listening(_leave):
        _work(folder)


def _work(folder: Path) -> None:
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not mix with the events

    def send(event: dict[str, Any]) -> None:
        channel.write(json.dumps(event) + "\n")
        channel.flush()

    lines = iter(sys.stdin.readline, "")
    settings: dict[str, Any] = json.loads(next(lines))
    plan = plan_from(settings)

    from tiltflow.figures2d.cells import run_job

    send({"free": True})
    for line in lines:
        data, method, seed, betas = json.loads(line)
        job = Job(data, method, seed, tuple(betas))
        try:
            for cell, error in run_job(plan, job, folder):
                send({"cell": cell, "error": error and _described(error)})
        except Exception as error:
            for cell in job.cells:
                send({"cell": cell, "error": _described(error)})
        send({"free": True})


def _described(error: Exception) -> dict[str, str]:
    if not isinstance(error, UserError):
        traceback.print_exception(error)
    return {"kind": type(error).__name__, "text": str(error)}


def _leave(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(1)  # through every `finally`: no half-written file stays behind


if __name__ == "__main__":
    main(Path(sys.argv[1]))
