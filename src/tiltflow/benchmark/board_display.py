"""The progress of a benchmark on a terminal: live where it can be, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tiltflow.benchmark.board import Board
from tiltflow.benchmark.queue import Show
from tiltflow.benchmark.records import DONE, RUN_LOG
from tiltflow.benchmark_file import PlannedRun
from tiltflow.processes.executor import Event
from tiltflow.training.progress import View, activity_text
from tiltflow.words import duration, score_text

_QUIET_SECONDS = 60.0
"""After so long without a line, one tells where everything is."""


@contextmanager
def show_board(board: Board, out: Path, console: Console | None = None) -> Iterator[Show]:
    """Show the board after each event: live on a terminal, a line for each end and each minute elsewhere."""
    console = console or Console(highlight=False)
    live = Live(console=console, get_renderable=lambda: _render(board), refresh_per_second=2)
    written = time.monotonic()

    def write(line: str, style: str = "") -> None:
        nonlocal written
        written = time.monotonic()
        console.print(line, style=style, markup=False, soft_wrap=True)

    def show(run: PlannedRun | None, event: Event | None) -> None:
        if run is not None and event is not None and event["event"] == "exited":
            failed = board.records[run].state == "failed"
            write(f"{ended_line(board, run, out)}; {overall(board)}", "red" if failed else "")
        elif run is not None and event is not None and event["event"] == "lost":
            write(f"lost, to be continued: {run}: {event['text']}", "yellow")
        elif not console.is_terminal and time.monotonic() - written > _QUIET_SECONDS:
            write("; ".join([overall(board), *(f"{run}: {now(view)}" for run, view in board.views.items())]))

    write(overall(board))
    if not console.is_terminal:
        yield show
        return
    with live:
        yield show


def overall(board: Board) -> str:
    """How many runs are in which state, and the time left."""
    done, all_runs = len(board.of(*DONE)), len(board.records)
    failed = len([run for run in board.of("failed") if run in board.tried])
    left = board.seconds_left(time.monotonic())
    parts = [
        f"{done} of {all_runs} runs finished",
        f"{failed} failed" if failed else "",
        f"{len(board.views)} running" if board.views else "",
        f"{len(board.waiting)} waiting" if board.waiting else "",
        "" if left is None else f"about {duration(left)} left",
    ]
    return ", ".join(part for part in parts if part)


def ended_line(board: Board, run: PlannedRun, out: Path) -> str:
    """What became of a run whose process has ended."""
    record = board.records[run]
    if record.state == "failed":
        return f"failed: {run}: {record.reason} ({out / run.folder / RUN_LOG})"
    if record.state == "trained":
        return f"trained, to be played: {run}, in {duration(record.seconds)}"
    if record.metric is None or record.unit is None:
        return f"stopped: {run}, {record.step:,} steps are kept"
    score = "no estimate" if record.score is None else score_text(record.score, record.unit)
    return f"finished: {run}: {record.metric} {score} in {duration(record.seconds)}"


def now(view: View) -> str:
    """What a run does at the moment."""
    seed = next(iter(view.seeds.values()), None)
    if seed is None:
        return "loading"
    doing = activity_text(seed.activity, seed.activity_fraction) or seed.stage or "compiling"
    if seed.step >= view.steps and not seed.activity:
        doing = "writing"
    score = "" if seed.score is None else f", {view.metric} {score_text(seed.score, view.unit)}"
    return f"{100 * view.fraction:.0f} %, {doing}{score}"


def _render(board: Board) -> RenderableType:
    """The live picture: a line and a bar for all runs, a row for each at work."""
    steps = sum(min(record.step, board.steps[run]) for run, record in board.records.items())
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim", expand=True)
    for title in ("task", "agent", "seed"):
        table.add_column(title, no_wrap=True)
    table.add_column("now", no_wrap=True, overflow="ellipsis", ratio=1)
    for run, view in board.views.items():
        table.add_row(run.task, run.label, str(run.seed), now(view))
    heading = Text(overall(board), style="bold", no_wrap=True, overflow="ellipsis")
    total = sum(board.steps[run] for run in board.records)
    return Group(heading, ProgressBar(total=total, completed=steps, width=60), Text(), table)
