"""A process of its own for one run: `python -m tiltflow.benchmark.worker FOLDER CONFIG`, CONFIG in JSON.

It sends the events of the run, and "done" with its result; standard error is the run's log.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from tiltflow.benchmark.records import steps_kept
from tiltflow.files import read_json
from tiltflow.training import logs
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

    if steps_kept(folder) and config.play and unplayed(folder) and play_kept(folder, observe):
        observe({"event": "finished"})
    elif steps_kept(folder):
        resume(folder, observe, config=config, in_this_process=True)
    else:
        with locked(folder):
            # What an attempt leaves that came to nothing may be of other settings.
            shutil.rmtree(folder / "seeds", ignore_errors=True)
            for name in ("config.json", "environment.json", *logs.NAMES):
                (folder / name).unlink(missing_ok=True)
        train(config, folder, observe, in_this_process=True)
    return read_json(folder / "result.json") if config.play else None


def main(arguments: list[str]) -> int:
    """Train the run, sending events. Returns the exit code."""
    folder, config = arguments

    def work(send: Send) -> dict[str, Any]:
        return {"result": train_run(from_dict(json.loads(config), folder), Path(folder), send)}

    with stopping_at_once():
        return serve(work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
