"""Computing what is missing of a plan, keeping what is there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tiltflow.errors import ProcessFailed, UserError
from tiltflow.figures2d.plan import TRUTH, Cell, Plan, jobs
from tiltflow.figures2d.processes import LOG, run_jobs
from tiltflow.figures2d.store import read_numbers, stored_settings
from tiltflow.settings import diff, diff_text

Advance = Callable[[str, int, int, str], None]
"""(what is done, done, in all, a note)"""
Say = Callable[[str], None]


class Results(NamedTuple):
    """Numbers of every cell that is finished, and the errors of those that failed."""

    numbers: dict[Cell, dict[str, Any]]
    failures: dict[Cell, str]


def compute(plan: Plan, out: Path, advance: Advance, say: Say) -> Results:
    """Compute every cell of the plan that `out`/cells does not hold yet with the same settings.

    Raises UserError where `out` is not writable or an exact sample is out of reach; errors of methods are
    told and returned.
    """
    folder = out / "cells"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / LOG).write_bytes(b"")
    except OSError as error:
        raise UserError(
            f"Cannot write to {out}: {error.strerror or error}. Choose another folder with --out."
        ) from error
    cells = [*plan.truths(), *plan.cells()]
    missing = _missing(plan, folder, cells, say)
    failures: dict[Cell, str] = {}
    done = len(cells) - len(missing)
    if done:
        say(f"{done} of {len(cells)} cells are there already")

    def observe(cell: Cell, error: dict[str, str] | None) -> None:
        nonlocal done
        done += 1
        if error is not None and cell.method == TRUTH:
            raise (UserError if error["kind"] == "UserError" else ProcessFailed)(error["text"])
        if error is not None:
            failures[cell] = error["text"]
            say(f"{cell.name} failed: {error['kind']}: {error['text']}")
        advance("toy", done, len(cells), cell.name)

    exact = [cell for cell in missing if cell.method == TRUTH]
    learned = [cell for cell in missing if cell.method != TRUTH]
    # Exact samples first: where one is out of reach, nothing has been trained for it.
    run_jobs(plan, [*jobs(exact), *jobs(learned)], folder, observe)
    if not (folder / LOG).stat().st_size:
        (folder / LOG).unlink()
    numbers = {
        cell: found
        for cell in cells
        if (found := read_numbers(folder, cell, plan.settings(cell))) is not None
    }
    return Results(numbers, failures)


def _missing(plan: Plan, folder: Path, cells: list[Cell], say: Say) -> list[Cell]:
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
