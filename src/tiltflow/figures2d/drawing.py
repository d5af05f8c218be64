"""Figures 1, 2 and 3 of arXiv 2503.04975: grids of samples, as PNG and as SVG."""

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import matplotlib.style
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from tiltflow.datasets2d import Labels
from tiltflow.files import atomic_file

_LIMIT = 4.5
FIGURE_INK, FIGURE_MUTED, _FRAME = "#1c2127", "#59616b", "#c9c6be"
_PANEL, _DPI = 1.62, 200
_LETTERS = 11
"""Of a title on an inch."""
# Dark is where e is high, so that what a tilt favours stands out, in black and white too; the palest tenth
# of cividis would be lost on white.
LABEL_COLOURS = LinearSegmentedColormap.from_list(
    "label", matplotlib.colormaps["cividis_r"](np.linspace(0.1, 1, 256))
)
FIGURE_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.size": 9,
    "text.color": FIGURE_INK,
    "axes.labelcolor": FIGURE_INK,
    "axes.edgecolor": _FRAME,
    "xtick.color": FIGURE_MUTED,
    "ytick.color": FIGURE_MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}


class Picture(NamedTuple):
    """A figure that is drawn: the name of its files, and its title."""

    name: str
    title: str


class PointsPanel(NamedTuple):
    """Points with the label that gives each its colour, and what is written into the corner."""

    points: Float[np.ndarray, "n 2"]
    labels: Labels
    note: str = ""


class Grid(NamedTuple):
    """A figure: one panel for each row and column, None where there is nothing to show."""

    name: str
    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    panels: Sequence[Sequence[PointsPanel | None]]


def draw_grid(grid: Grid, folder: Path) -> list[Path]:
    """Write FOLDER/NAME.png and NAME.svg; equal grids give equal bytes."""
    height, width = len(grid.rows), len(grid.columns)
    with matplotlib.style.context(FIGURE_STYLE | {"svg.hashsalt": grid.name}, after_reset=True):
        # Room beside the panels for labels and the colour bar, above and below for titles.
        title = textwrap.fill(grid.title, int(_LETTERS * (_PANEL * width + 1.5)))
        size = (_PANEL * width + 1.5, _PANEL * height + 0.75 + 0.18 * title.count("\n"))
        figure = Figure(figsize=size, dpi=_DPI, layout="constrained", facecolor="white")
        if engine := figure.get_layout_engine():
            engine.set(w_pad=0.05, h_pad=0.03, wspace=0.0, hspace=0.0)  # type: ignore[call-arg]
        axes = figure.subplots(height, width, sharex=True, sharey=True, squeeze=False)
        for row, name in enumerate(grid.rows):
            for column, head in enumerate(grid.columns):
                place = axes[row, column]
                _paint(place, grid.panels[row][column])
                if row == 0:
                    place.set_title(head, fontsize=9.5, color=FIGURE_INK)
                if row == height - 1:
                    place.set_xlabel("x₁", labelpad=1)
                if column == 0:
                    place.set_ylabel(f"{name}\nx₂", labelpad=1, linespacing=1.3)
        colours = ScalarMappable(Normalize(0, 1), LABEL_COLOURS)
        bar = figure.colorbar(
            colours, ax=axes, label="label e (energy 1 − e)", aspect=30, pad=0.02, fraction=0.03
        )
        bar.outline.set_visible(False)  # type: ignore[operator]
        figure.suptitle(title, fontsize=11, x=0.01, ha="left")
        return [save_figure(figure, folder / f"{grid.name}.{kind}") for kind in ("png", "svg")]


def _paint(place: Axes, panel: PointsPanel | None) -> None:
    place.set(
        xlim=(-_LIMIT, _LIMIT), ylim=(-_LIMIT, _LIMIT), xticks=(-4, 0, 4), yticks=(-4, 0, 4), aspect="equal"
    )
    place.tick_params(length=2.5, width=0.6)
    if panel is None:
        place.text(0, 0, "not available", ha="center", va="center", color=FIGURE_MUTED)
        return
    place.scatter(
        panel.points[:, 0],
        panel.points[:, 1],
        c=panel.labels,
        cmap=LABEL_COLOURS,
        vmin=0,
        vmax=1,
        s=max(0.5, min(8.0, 5000 / len(panel.points))),
        linewidths=0,
        rasterized=True,  # thousands of points a panel would make a vector file of many megabytes
    )
    if panel.note:
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.2}
        place.text(
            0.97, 0.03, panel.note, transform=place.transAxes, ha="right", va="bottom", fontsize=8, bbox=box
        )


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure; the kind of file follows from its name, and equal figures give equal bytes."""
    metadata = {"Software": None} if path.suffix == ".png" else {"Date": None, "Creator": None}
    with atomic_file(path) as file:
        figure.savefig(file, format=path.suffix[1:], metadata=metadata)
    return path


def nearest_label(
    rows: Float[np.ndarray, "n 2"], labels: Labels
) -> Callable[[Float[np.ndarray, "m 2"]], Labels]:
    """The label of the nearest of `rows`: a colour for points that no generator has labelled."""
    from scipy.spatial import cKDTree

    tree = cKDTree(rows)
    return lambda points: labels[tree.query(points)[1]]
