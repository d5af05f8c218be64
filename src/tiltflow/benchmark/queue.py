"""The queue of runs, each a job: every change of state and every score is soon on the disk."""

import os
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiltflow.benchmark.board import Board
from tiltflow.benchmark.plan import Plan
from tiltflow.benchmark.records import DONE, RUN_LOG, write_records
from tiltflow.benchmark.scores import suite_scores, write_summary
from tiltflow.benchmark_file import PlannedRun
from tiltflow.errors import UserError
from tiltflow.files import read_json
from tiltflow.processes.executor import Event, Executor, Job, Send
from tiltflow.processes.locks import locked
from tiltflow.processes.stopping import StopFlag, stopping_at_once
from tiltflow.remote_folder import discard, mirror_of, open_mirror
from tiltflow.remote_store import is_url
from tiltflow.run_folder import RunFolder
from tiltflow.train_config import from_dict, to_dict

Show = Callable[[PlannedRun | None, Event | None], None]
"""Told of every event after the board, and of nothing (None, None) now and then."""


def work_off(
    suite: str, plan: Plan, out: Path, board: Board, show: Show, executor: Executor, stop: StopFlag
) -> None:
    """Run what is not finished, until all has ended or, when asked to stop, has a checkpoint.

    A run that fails, or that the system kills, stops no other.
    """
    queue = [run for run in plan.runs() if board.records[run].state not in DONE]
    work = f"{__name__}:{train_run.__name__}"
    mirror = mirror_of(out)
    place = out if mirror is None else mirror.store.url
    jobs = [
        Job(
            work,
            {"config": to_dict(plan.config(run)), "folder": f"{place}/{run.folder}"},
            out / run.folder / RUN_LOG,
            log_url="" if mirror is None else f"{place}/{run.folder}/{RUN_LOG}",
        )
        for run in queue
    ]
    records = _PacedFile(lambda: write_records(suite, board.records, out))
    summary = _PacedFile(lambda: write_summary(suite_scores(out), out))
    try:
        with closing(executor.submit(jobs, stop)) as told:
            for happening in told:
                for file in (records, summary):
                    file.write_where_asked()
                if happening is None:
                    show(None, None)
                    continue
                run, event = queue[happening[0]], happening[1]
                board.advance(run, event, time.monotonic())
                if event["event"] in ("launched", "lost", "exited"):
                    board.processes = executor.width
                    records.ask()
                if event["event"] == "exited" and mirror is not None:
                    with suppress(UserError):  # nobody answers: at the end all is fetched once more
                        mirror.fetch(ours=True, under=f"{run.folder}/")
                if event["event"] == "exited" and board.records[run].state == "finished":
                    summary.ask()
                show(run, event)
    finally:
        board.leave(time.monotonic())
        records.ask()
        for file in (records, summary):
            file.write_where_asked(late=True)


@dataclass
class _PacedFile:
    """A file of all runs: written when asked for, with thousands of runs for a twentieth of the time."""

    write: Callable[[], object]
    asked: bool = False
    due: float = 0.0

    def ask(self) -> None:
        self.asked = True

    def write_where_asked(self, late: bool = False) -> None:
        """Write it now, or where it is not `late` with one of the next events."""
        began = time.monotonic()
        if self.asked and (late or began >= self.due):
            self.write()
            self.asked, self.due = False, began + 20 * (time.monotonic() - began)


def train_run(send: Send, config: dict[str, Any], folder: str) -> dict[str, Any] | None:
    """The job of a run: train it from its last checkpoint, or its beginning, to its end; gives its result.

    What an earlier command has trained with `--no-play` is played first, where this one plays. Without
    playing there is no result. Raises what `tiltflow.training.run.train` raises.
    """
    # Several processes share an accelerator, where there is one: none may take all its memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    wanted = from_dict(config, folder)
    with stopping_at_once():
        path = open_mirror(folder) if is_url(folder) else Path(folder)
        run = RunFolder(path)
        from tiltflow.training.display import PlainDisplay
        from tiltflow.training.run import resume, train
        from tiltflow.training.unplayed import play_kept, unplayed

        log = PlainDisplay(lambda line: print(line, file=sys.stderr, flush=True))

        def observe(event: Event) -> None:
            log(event)
            send(event)

        with locked(path):  # of a process that was lost, perhaps, and writes another checkpoint
            begun = run.steps_kept() > 0
            if not begun:
                run.clear()
        if begun and wanted.play and unplayed(path) and play_kept(path, observe):
            observe({"event": "finished"})
        elif begun:
            resume(path, observe, config=wanted, in_this_process=True)
        else:
            train(wanted, path, observe, in_this_process=True)
        result = read_json(run.result_file) if wanted.play else None
        if is_url(folder):
            discard(path)
    return result
