"""The progress of runs on a terminal: live where it can be, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tiltflow.processes.executor import Event
from tiltflow.training.progress import (
    SeedView,
    View,
    activity_text,
    advance,
    mean_metrics,
    metrics_text,
    seconds_left,
)
from tiltflow.words import duration, score_text, seed_names

Clock = Callable[[], float]
PLAIN_LINES = 40
"""Chunks of a run that print a line where the output is not a terminal: every fortieth part of it."""
_QUIET_SECONDS = 20.0
"""After so long without a line, the next chunk or activity prints one."""


class Display(Protocol):
    """Something that shows the events of one or several runs, one after the other."""

    def __call__(self, event: Event) -> None: ...


@contextmanager
def show_progress(console: Console | None = None, clock: Clock = time.monotonic) -> Iterator[Display]:
    """Show the events given to the yielded function: live on a terminal, as lines elsewhere."""
    console = console or Console(highlight=False)
    if not console.is_terminal:
        yield PlainDisplay(lambda line: console.print(line, markup=False, soft_wrap=True), clock)
        return
    display = LiveDisplay(console, clock)
    try:
        yield display
    finally:
        display.stop()


class PlainDisplay:
    """A line for everything worth one: not each chunk and activity, but enough to see that it goes on."""

    def __init__(self, write: Callable[[str], None], clock: Clock = time.monotonic):
        self._write_line = write
        self._clock = clock
        self._view = View()
        self._printed = 0
        self._last_line = -_QUIET_SECONDS

    def __call__(self, event: Event) -> None:
        self._view = view = advance(self._view, event, self._clock())
        match event["event"]:
            case "message":
                self._write(message_line(event))
            case "started":
                self._printed = 0
                self._write(started_line(view))
            case "chunk":
                done = int(view.fraction * PLAIN_LINES)
                if done > self._printed or self._quiet():
                    self._printed = done
                    self._write(chunk_line(view, event))
            case "evaluation":
                for seed, score in zip(event["seeds"], event["score"], strict=True):
                    value = score_text(score, view.unit)
                    self._write(f"seed {seed}, step {event['step']:,}: {view.metric} {value}")
            case "activity":
                if self._quiet():
                    self._write(activity_line(event))
            case "finished":
                self._write(f"{view.algorithm} on {view.task}: finished")

    def _write(self, line: str) -> None:
        self._last_line = self._clock()
        self._write_line(line)

    def _quiet(self) -> bool:
        return self._clock() - self._last_line >= _QUIET_SECONDS


class LiveDisplay:
    """Bars for the run and its stages, and a row for each seed, redrawn in place."""

    def __init__(self, console: Console, clock: Clock = time.monotonic):
        self._console = console
        self._clock = clock
        self._view = View()
        self._live: Live | None = None

    def __call__(self, event: Event) -> None:
        if event["event"] == "started":
            self.stop()
        self._view = advance(self._view, event, self._clock())
        if event["event"] == "message":
            self._console.print(Text(message_line(event), style=_MESSAGE_STYLES[event["level"]]))
        elif self._live is None:
            self._live = Live(console=self._console, get_renderable=self._render, refresh_per_second=4)
            self._live.start()
        if event["event"] == "finished":
            self.stop()

    def stop(self) -> None:
        """Draw the last state and leave it on the screen."""
        if self._live is not None:
            self._live.stop()
        self._live = None
        self._view = View()

    def _render(self) -> RenderableType:
        return render(self._view, self._console.height)


_MESSAGE_STYLES = {"info": "", "warning": "yellow"}


def message_line(event: Event) -> str:
    """The text of a message; a warning says that it is one."""
    return ("warning: " if event["level"] == "warning" else "") + event["text"]


def started_line(view: View) -> str:
    """What is to be trained, in how many steps of which stages, and where it goes."""
    stages = ", ".join(f"{name} {steps:,}" for name, steps in view.stages)
    names = seed_names(list(view.seeds))
    return f"{view.algorithm} on {view.task}: {names}, {view.steps:,} steps ({stages}), to {view.out}"


def chunk_line(view: View, event: Event) -> str:
    """Where the run is, and the losses, speed and time left of the seeds that report."""
    left = seconds_left(view)
    parts = [
        _percent(view.fraction),
        seed_names(list(event["seeds"])),
        f"{event['stage']} {event['stage_step']:,}/{event['stage_steps']:,}",
        metrics_text(mean_metrics([view.seeds[seed] for seed in event["seeds"]])),
        f"{event['steps_per_second']:,.0f} steps/s",
        "" if left is None else f"{duration(left)} left",
    ]
    return "  ".join(part for part in parts if part)


def activity_line(event: Event) -> str:
    """What goes on between chunks, and in which seeds."""
    text = activity_text(event["text"], event.get("fraction"))
    return f"{seed_names(list(event['seeds']))}: {text}" if event["seeds"] else text


def render(view: View, height: int) -> RenderableType:
    """The live picture of a run, at most `height` lines high, each cut at the width of the terminal."""
    if not view.stages:
        return _activities(view)
    title = Text(f"{view.algorithm} on {view.task}", style="bold", no_wrap=True, overflow="ellipsis")
    bars = _grid()
    if len(view.stages) > 1:
        bars.add_row("all stages", _bar(view.fraction), _overall_text(view))
    for name, _ in view.stages:
        fraction = view.stage_fraction(name)
        alone = len(view.stages) == 1
        bars.add_row(name, _bar(fraction), _overall_text(view) if alone else _percent(fraction))
    room = max(1, height - len(view.stages) - 7)
    return Group(title, bars, Text(), _seed_table(view, room))


def _activities(view: View) -> RenderableType:
    """A bar for each thing that goes on outside a run."""
    bars = _grid()
    going = [(view.activity, view.activity_fraction)]
    going += [(f"seed {name}: {seed.activity}", seed.activity_fraction) for name, seed in view.seeds.items()]
    for text, fraction in going:
        if text and fraction is not None:
            bars.add_row(text, _bar(fraction), _percent(fraction))
        elif text:
            bars.add_row(text)
    return bars


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(max_width=24)  # where room is short, the bars give way first
    grid.add_column(no_wrap=True)
    return grid


def _bar(fraction: float) -> RenderableType:
    return ProgressBar(total=1.0, completed=fraction)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:3.0f} %"


def _overall_text(view: View) -> str:
    left = seconds_left(view)
    done = f"{_percent(view.fraction)} of {view.steps:,} steps"
    return done if left is None else f"{done}, {duration(left)} left"


def _seed_table(view: View, rows: int) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim", expand=True)
    for title in ("seed", "step", "steps/s", view.metric):
        table.add_column(title, justify="right", no_wrap=True, min_width=len(title))
    table.add_column("now", no_wrap=True, overflow="ellipsis", ratio=1)
    names = list(view.seeds)
    shown = names if len(names) <= rows else names[: max(1, rows - 1)]
    for name in shown:
        seed = view.seeds[name]
        score = "–" if seed.score is None else score_text(seed.score, view.unit)
        speed = f"{seed.steps_per_second:,.0f}" if seed.stage else "–"
        table.add_row(str(name), f"{seed.step:,}", speed, score, _now(view, seed))
    hidden = [view.seeds[name] for name in names[len(shown) :]]
    if hidden:
        scores = [seed.score for seed in hidden if seed.score is not None]
        mean = score_text(sum(scores) / len(scores), view.unit) if scores else "–"
        table.add_row("…", "", "", mean, f"mean of {len(hidden)} more seeds")
    return table


def _now(view: View, seed: SeedView) -> str:
    """What a seed does at the moment, before its last losses, since a narrow terminal cuts the end."""
    if seed.step >= view.steps:
        return "done"
    place = f"{seed.stage} {seed.stage_step:,}/{seed.stage_steps:,}" if seed.stage else "waiting"
    parts = [activity_text(seed.activity, seed.activity_fraction) or place, metrics_text(seed.metrics)]
    return "  ".join(part for part in parts if part)
