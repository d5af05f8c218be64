"""Progress of one job: a bar on a terminal, a line for every tenth elsewhere. Both on standard error."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Advance = Callable[[str, int, int, str], None]
"""(what is done, done, in all, a note such as the loss)"""


@contextmanager
def progress_bar(unit: str) -> Iterator[Advance]:
    """Show the jobs given to the yielded function, one after the other; `unit` is what is counted."""
    if not sys.stderr.isatty():
        yield _plain(unit)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        jobs: dict[str, Any] = {}

        def advance(what: str, done: int, total: int, note: str = "") -> None:
            if what not in jobs:
                jobs[what] = bar.add_task(what, total=total, note=note)
            bar.update(jobs[what], completed=done, total=total, note=note)

        yield advance


def _plain(unit: str) -> Advance:
    written: dict[str, int] = {}

    def advance(what: str, done: int, total: int, note: str = "") -> None:
        tenth = 10 * done // total
        if tenth > written.get(what, 0):
            written[what] = tenth
            tail = f"  {note}" if note else ""
            print(f"{what}: {done:,} of {total:,} {unit}{tail}", file=sys.stderr, flush=True)

    return advance
