"""A process of its own for one run: `python -m tiltflow.benchmark.worker FOLDER CONFIG`, CONFIG in JSON.

It sends the events of the run, and "done" with its result; standard error is the run's log.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from tiltflow.files import read_json
from tiltflow.run_folder import RunFolder
from tiltflow.training.config import TrainConfig, from_dict
from tiltflow.training.stopping import locked, stopping_at_once
from tiltflow.training.worker import Send, serve


def train_run(config: TrainConfig, folder: Path, send: Send) -> dict[str, Any] | None:
    """Train a run from its last checkpoint, or its beginning, to its end; returns its result.

    What an earlier command has trained with `--no-play` is played first, where this one plays. Without
    playing there is no result. Raises what `tiltflow.training.run.train` raises.
    """
    # Several processes share an accelerator, where there is one: none may take all its memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    from tiltflow.training.display import PlainDisplay
    from tiltflow.training.run import resume, train
    from tiltflow.training.unplayed import play_kept, unplayed

    log = PlainDisplay(lambda line: print(line, file=sys.stderr, flush=True))

    def observe(event: dict[str, Any]) -> None:
        log(event)
        send(event)

    run = RunFolder(folder)
    begun = run.steps_kept() > 0
    if begun and config.play and unplayed(folder) and play_kept(folder, observe):
        observe({"event": "finished"})
    elif begun:
        resume(folder, observe, config=config, in_this_process=True)
    else:
        with locked(folder):
            run.clear()
        train(config, folder, observe, in_this_process=True)
    return read_json(run.result_file) if config.play else None


def main(arguments: list[str]) -> int:
    """Train the run, sending events. Returns the exit code."""
    folder, config = arguments

    def work(send: Send) -> dict[str, Any]:
        return {"result": train_run(from_dict(json.loads(config), folder), Path(folder), send)}

    with stopping_at_once():
        return serve(work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
