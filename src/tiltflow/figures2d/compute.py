"""Computing what is missing of a plan, keeping what is there."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from tiltflow.errors import ExplainedError, Interrupted, UserError
from tiltflow.figures2d.figure_plan import TRUTH, FigureCell, FigurePlan, group_cells
from tiltflow.figures2d.store import read_numbers, stored_settings
from tiltflow.processes.executor import Job, error_of
from tiltflow.processes.local import LocalExecutor
from tiltflow.processes.stopping import stop_on_signals
from tiltflow.settings import diff, diff_text

_Advance = Callable[[str, int, int, str], None]
"""(what is done, done, in all, a note)"""
_Say = Callable[[str], None]


class Results(NamedTuple):
    """Numbers of every cell that is finished, and the errors of those that failed."""

    numbers: dict[FigureCell, dict[str, Any]]
    failures: dict[FigureCell, str]


def compute(plan: FigurePlan, out: Path, advance: _Advance, say: _Say) -> Results:
    """Compute every cell of the plan that `out`/cells does not hold yet with the same settings.

    Raises UserError where `out` is not writable or an exact sample is out of reach, and Interrupted; errors
    of methods are told and returned.
    """
    folder = out / "cells"
    log = folder / "worker.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"")
    except OSError as error:
        raise UserError(
            f"Cannot write to {out}: {error.strerror or error}. Choose another folder with --out."
        ) from error
    cells = [*plan.truths(), *plan.cells()]
    missing = _missing(plan, folder, cells, say)
    if there := len(cells) - len(missing):
        say(f"{there} of {len(cells)} cells are there already")
    groups = group_cells(missing)
    work, given = "tiltflow.figures2d.cells:compute_cells", {"plan": asdict(plan), "folder": str(folder)}
    jobs = [Job(work, {**given, "group": group}, log, warm=True) for group in groups]
    left = [group.cells for group in groups]
    failures: dict[FigureCell, str] = {}
    fatal: ExplainedError | None = None
    with stop_on_signals() as stop, closing(LocalExecutor().submit(jobs, stop)) as told:
        for index, event in filter(None, told):
            if event["event"] == "launched":
                continue
            failed = error_of(event["failed"], log) if event["failed"] else None
            ended = [FigureCell(*event["cell"])] if event["event"] == "cell" else left[index]
            left[index] = [cell for cell in left[index] if cell not in ended]
            if isinstance(failed, Interrupted) or (failed and ended and ended[0].method == TRUTH):
                fatal = fatal or failed
                stop.ask()
                continue
            for cell in ended:
                if failed is not None:
                    failures[cell] = str(failed)
                    say(f"{cell.name} failed: {failed}")
                advance("toy", len(cells) - sum(map(len, left)), len(cells), cell.name)
    if fatal:
        raise fatal
    stop.check()
    if not log.stat().st_size:
        log.unlink()
    numbers = {
        cell: found
        for cell in cells
        if (found := read_numbers(folder, cell, plan.settings(cell))) is not None
    }
    return Results(numbers, failures)


def _missing(plan: FigurePlan, folder: Path, cells: list[FigureCell], say: _Say) -> list[FigureCell]:
    """The cells that are not there; says which are there with other settings."""
    missing = []
    for cell in cells:
        stored, wanted = stored_settings(folder, cell), plan.settings(cell)
        if stored == wanted:
            continue
        missing.append(cell)
        if stored is not None:
            say(f"{cell.name} is computed anew: {diff_text(diff(stored, wanted))} (stored ≠ wanted)")
    return missing
