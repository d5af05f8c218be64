"""The queue of runs: one process a core, every change of state and every score on disk at once."""

import json
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tiltflow.benchmark.board import Board
from tiltflow.benchmark.plan import Plan, Run
from tiltflow.benchmark.records import DONE, LOG, write_records
from tiltflow.benchmark.summary import summarise, write_summary
from tiltflow.training.config import to_dict
from tiltflow.training.pool import Job, run_jobs
from tiltflow.training.progress import Event
from tiltflow.training.stopping import StopFlag

Show = Callable[[Run | None, Event | None], None]
"""Told of every event after the board, and of nothing (None, None) now and then."""


def work_off(suite: str, plan: Plan, out: Path, board: Board, show: Show, stop: StopFlag) -> None:
    """Run what is not finished, until all has ended or, when asked to stop, has a checkpoint.

    A run that fails, or that the system kills, stops no other.
    """
    queue = [run for run in plan.runs() if board.records[run].state not in DONE]
    jobs = [_job(plan, run, out) for run in queue]
    try:
        with closing(run_jobs(jobs, stop, board.processes)) as happenings:
            for happening in happenings:
                if happening is None:
                    show(None, None)
                    continue
                index, event = happening
                board.advance(queue[index], event, time.monotonic(), stop.stopped)
                if event["event"] in ("launched", "exited"):
                    write_records(suite, board.records, out)
                if event["event"] == "exited" and board.records[queue[index]].state == "finished":
                    write_summary(summarise(out), out)
                show(queue[index], event)
    finally:
        board.leave(time.monotonic())
        write_records(suite, board.records, out)


def _job(plan: Plan, run: Run, out: Path) -> Job:
    config = json.dumps(to_dict(plan.config(run)))
    return Job(["tiltflow.benchmark.worker", str(out / run.folder), config], out / run.folder / LOG)
