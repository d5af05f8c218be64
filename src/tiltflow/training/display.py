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

from tiltflow.training.progress import (
    Event,
    SeedView,
    View,
    activity_text,
    advance,
    duration,
    mean_metrics,
    metrics_text,
    seconds_left,
    seed_names,
    with_unit,
)

Clock = Callable[[], float]
PLAIN_LINES = 40
"""Chunk lines that a run prints where the output is not a terminal, however long it is."""


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
    """One line for every event worth one; chunks only when another fortieth of the run is done."""

    def __init__(self, write: Callable[[str], None], clock: Clock = time.monotonic):
        self._write = write
        self._clock = clock
        self._view: View | None = None
        self._printed = 0
        self._said: set[tuple[tuple[int, ...], str, bool]] = set()

    def __call__(self, event: Event) -> None:
        self._view = view = advance(self._view, event, self._clock())
        match event["event"]:
            case "message":
                self._write(message_line(event))
            case _ if view is None:
                pass
            case "started":
                self._printed = 0
                self._said = set()
                self._write(started_line(view))
            case "chunk":
                self._chunk(view, event)
            case "evaluation":
                for seed, score in zip(event["seeds"], event["score"], strict=True):
                    score_text = with_unit(score, view.metric, view.unit)
                    self._write(f"seed {seed}, step {event['step']:,}: {view.metric} {score_text}")
            case "activity":
                self._activity(event)
            case "finished":
                self._write(f"{view.algorithm} on {view.task}: finished")

    def _chunk(self, view: View, event: Event) -> None:
        self._said = {said for said in self._said if said[0] != tuple(event["seeds"])}
        done = int(view.fraction * PLAIN_LINES)
        if done <= self._printed:
            return
        self._printed = done
        seeds = [view.seeds[seed] for seed in event["seeds"]]
        left = seconds_left(view)
        parts = [
            f"{100 * view.fraction:3.0f} %",
            seed_names(list(event["seeds"])),
            f"{event['stage']} {event['stage_step']:,}/{event['stage_steps']:,}",
            metrics_text(mean_metrics(seeds)),
            f"{event['steps_per_second']:,.0f} steps/s",
            "" if left is None else f"{duration(left)} left",
        ]
        self._write("  ".join(part for part in parts if part))

    def _activity(self, event: Event) -> None:
        """Say each activity once in a chunk, and once more at its half."""
        fraction = event.get("fraction")
        said = (tuple(event["seeds"]), event["text"], fraction is not None and fraction >= 0.5)
        if said in self._said:
            return
        self._said.add(said)
        text = activity_text(SeedView(activity=event["text"], activity_fraction=fraction))
        self._write(f"{seed_names(list(event['seeds']))}: {text}")


class LiveDisplay:
    """Bars for the run and its stages, and a row for each seed, redrawn in place."""

    def __init__(self, console: Console, clock: Clock = time.monotonic):
        self._console = console
        self._clock = clock
        self._view: View | None = None
        self._live: Live | None = None

    def __call__(self, event: Event) -> None:
        if event["event"] == "started":
            self.stop()
        self._view = advance(self._view, event, self._clock())
        if event["event"] == "message":
            self._console.print(message_line(event), style=_MESSAGE_STYLES[event["level"]], markup=False)
        if self._view is None:
            return
        if self._live is None:
            self._live = Live(console=self._console, get_renderable=self._render, refresh_per_second=4)
            self._live.start()
        if event["event"] == "finished":
            self.stop()

    def stop(self) -> None:
        """Draw the last state and leave it on the screen."""
        if self._live is not None:
            self._live.stop()
        self._live = self._view = None

    def _render(self) -> RenderableType:
        return "" if self._view is None else render(self._view, self._console.height)


_MESSAGE_STYLES = {"info": "", "warning": "yellow"}


def message_line(event: Event) -> str:
    """The text of a message; a warning says that it is one."""
    return ("warning: " if event["level"] == "warning" else "") + event["text"]


def started_line(view: View) -> str:
    """What is to be trained, in how many steps of which stages, and where it goes."""
    stages = ", ".join(f"{name} {steps:,}" for name, steps in view.stages)
    names = seed_names(list(view.seeds))
    return f"{view.algorithm} on {view.task}: {names}, {view.steps:,} steps ({stages}), to {view.out}"


def render(view: View, height: int) -> RenderableType:
    """The live picture of a run, at most `height` lines high, each cut at the width of the terminal."""
    title = Text(f"{view.algorithm} on {view.task}", style="bold", no_wrap=True, overflow="ellipsis")
    bars = Table.grid(padding=(0, 2))
    for _ in range(3):
        bars.add_column(no_wrap=True)
    if len(view.stages) > 1:
        bars.add_row("all stages", _bar(view.fraction), _overall_text(view))
    for name, _ in view.stages:
        fraction = view.stage_fraction(name)
        alone = len(view.stages) == 1
        bars.add_row(name, _bar(fraction), _overall_text(view) if alone else _percent(fraction))
    room = max(1, height - len(view.stages) - 7)
    return Group(title, bars, Text(), _seed_table(view, room))


def _bar(fraction: float) -> RenderableType:
    return ProgressBar(total=1.0, completed=fraction, width=24)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:3.0f} %"


def _overall_text(view: View) -> str:
    left = seconds_left(view)
    done = f"{_percent(view.fraction)} of {view.steps:,} steps"
    return done if left is None else f"{done}, {duration(left)} left"


def _seed_table(view: View, rows: int) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for title in ("seed", "step", "steps/s", view.metric):
        table.add_column(title, justify="right", no_wrap=True, min_width=len(title))
    table.add_column("now", no_wrap=True, overflow="ellipsis")
    names = list(view.seeds)
    shown = names if len(names) <= rows else names[: max(1, rows - 1)]
    for name in shown:
        seed = view.seeds[name]
        score = "–" if seed.score is None else with_unit(seed.score, view.metric, view.unit)
        speed = f"{seed.steps_per_second:,.0f}" if seed.stage else "–"
        table.add_row(str(name), f"{seed.step:,}", speed, score, _now(view, seed))
    hidden = [view.seeds[name] for name in names[len(shown) :]]
    if hidden:
        scores = [seed.score for seed in hidden if seed.score is not None]
        mean = with_unit(sum(scores) / len(scores), view.metric, view.unit) if scores else "–"
        table.add_row("…", "", "", mean, f"mean of {len(hidden)} more seeds")
    return table


def _now(view: View, seed: SeedView) -> str:
    """What a seed does at the moment, before its last losses, since a narrow terminal cuts the end."""
    if seed.step >= view.steps:
        return "done"
    place = f"{seed.stage} {seed.stage_step:,}/{seed.stage_steps:,}" if seed.stage else "waiting"
    parts = [activity_text(seed) or place, metrics_text(seed.metrics)]
    return "  ".join(part for part in parts if part)
