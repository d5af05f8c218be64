"""What policies did, drawn: paths over a maze, and frames of an episode side by side."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from PIL import Image

from tiltflow import words
from tiltflow.report.curves import PANEL, Chart
from tiltflow.report.pictures import FilmStrip, MazePaths
from tiltflow.report.svg import CARD, INK, LOOKS, SHADE, draw_svg
from tiltflow.tasks import Task

REACHED, MISSED = LOOKS[0].colour, LOOKS[1].colour
_MARGINS = (56, 46)
"""What labels take of a panel's width and height, in pixels."""


@dataclass(frozen=True)
class Strip:
    """Frames as data URLs with what is said below each."""

    title: str
    frames: tuple[tuple[str, str], ...]
    alt: str
    note: str


def seed_panels(paths: MazePaths) -> list[Chart]:
    """A panel for each seed."""
    seeds = np.unique(paths.seeds)
    return [
        path_panel(paths.take(np.flatnonzero(paths.seeds == seed)), f"Seed {seed}", f"paths-{seed}")
        for seed in seeds
    ]


def path_panel(paths: MazePaths, title: str, name: str) -> Chart:
    """The maze from above with the paths over it; `name` is the drawing's own on its page."""
    rows, columns = paths.walls.shape
    width = PANEL[0] - _MARGINS[0]
    size = (PANEL[0], round(width * rows / columns) + _MARGINS[1])

    def paint(axes: Axes) -> None:
        _walls(axes, paths)
        for positions, reached in sorted(
            zip(paths.positions, paths.successes, strict=True), key=lambda path: bool(path[1])
        ):
            _path(axes, positions[np.isfinite(positions[:, 0])], bool(reached), _cell(paths))
        axes.plot(
            *np.unique(paths.goals.round(3), axis=0).T, "*", color=INK.light, markersize=13,
            markeredgecolor=CARD.light, markeredgewidth=1.2, zorder=6,
        )  # fmt: skip
        axes.set_aspect("equal")
        axes.set_xlabel("x (m)")
        axes.set_ylabel("y (m)", labelpad=1)
        axes.grid(False)

    reached, count = int(paths.successes.sum()), len(paths.successes)
    told = f"{reached} of {count} paths reach the goal"
    return Chart(
        title,
        draw_svg(name, size, paint),
        f"Map of a maze of {rows} by {columns} cells with {words.plural(count, 'path')}: {told}.",
        told,
    )


def _cell(paths: MazePaths) -> float:
    """The side of a cell."""
    return float(paths.extent[1] - paths.extent[0]) / paths.walls.shape[1]


def _walls(axes: Axes, paths: MazePaths) -> None:
    side = _cell(paths)
    left, right, low, high = paths.extent
    for row, column in np.argwhere(paths.walls):
        corner = (left + column * side, high - (row + 1) * side)
        axes.add_patch(
            Rectangle(corner, side, side, facecolor=SHADE.light, edgecolor=SHADE.light, linewidth=0.5)
        )
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)


def _path(axes: Axes, positions: Float[np.ndarray, "points 2"], reached: bool, cell: float) -> None:
    """A line from a ring to a dot or a cross; parted where a door of the maze has moved the one who walks."""
    jumps = np.flatnonzero(np.linalg.norm(np.diff(positions, axis=0), axis=1) > cell)
    line = np.insert(positions, jumps + 1, np.nan, axis=0)
    colour = (REACHED if reached else MISSED).light
    style = "-" if reached else (0, (4, 2))
    axes.plot(*line.T, linestyle=style, color=colour, linewidth=1.3, alpha=0.9, zorder=3)
    axes.plot(*positions[0], "o", color=INK.light, markerfacecolor=CARD.light, markersize=5, zorder=4)
    axes.plot(
        *positions[-1], "o" if reached else "x", color=colour, markersize=5 if reached else 7,
        markeredgewidth=2, zorder=5,
    )  # fmt: skip


def film_strip(film: FilmStrip, title: str, task: Task) -> Strip:
    """The frames with their steps, and what the episode brought."""
    outcome = "success, " if film.success else "no success, " if task.metric == "success" else ""
    policy = f"of seed {film.seed} after {words.count(film.policy_step)} gradient steps"
    note = f"Median episode by return {policy}: {outcome}return {words.number(film.total)}"
    return Strip(
        title,
        tuple(
            (_data_url(frame), f"step {words.count(step)}")
            for frame, step in zip(film.frames, film.steps.tolist(), strict=True)
        ),
        f"{len(film.steps)} frames of an episode of {words.count(film.steps[-1])} steps. {note}.",
        note,
    )


def _data_url(frame: UInt8[np.ndarray, "height width 3"]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
