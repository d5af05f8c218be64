"""What the policies of each column did on each task: paths over the same maze, and frames."""

from typing import Any, NamedTuple

import numpy as np

from tiltflow.report.behaviour import Strip, film_strip, path_panel
from tiltflow.report.compare.comparison import Comparison, ScoreCell
from tiltflow.report.curves import Chart
from tiltflow.report.pictures import MazePaths
from tiltflow.run_folder import PATH_ARRAYS

_MOST = 12
"""Paths of a panel, of all seeds together."""


class BehaviourRow(NamedTuple):
    """The pictures of one task, one for each column that has them."""

    task: str
    paths: list[Chart]
    strips: list[Strip]


def behaviour_rows(comparison: Comparison) -> list[BehaviourRow]:
    """The tasks of which there are pictures."""
    rows = []
    for number, task in enumerate(comparison.tasks):
        paths, strips = [], []
        for place, (column, cell) in enumerate(comparison.row(task)):
            if (found := _paths(cell)) is not None:
                paths.append(path_panel(found, column.label, f"paths-{number}-{place}"))
            film = next((run.film for run in cell.runs if run.film is not None), None)
            if film is not None:
                strips.append(film_strip(film, column.label, task))
        if paths or strips:
            rows.append(BehaviourRow(task.name, paths, strips))
    return rows


def _paths(cell: ScoreCell) -> MazePaths | None:
    """The first episodes of each seed of all runs."""
    found = [run.paths for run in cell.runs if run.paths is not None]
    if not found:
        return None
    joined: dict[str, Any] = {
        name: np.concatenate([getattr(one, name) for one in found]) for name in PATH_ARRAYS
    }
    seeds = joined["seeds"]
    number = np.array([np.sum(seeds[:place] == seed) for place, seed in enumerate(seeds)])
    rows = np.sort(np.argsort(number, kind="stable")[:_MOST])
    return found[0]._replace(**joined).take(rows)
