"""FlowQ's schedules drawn: samples, the ways that lead to them, and the share of the upper mode."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from tiltflow.figures2d.drawing import FIGURE_INK, FIGURE_MUTED, FIGURE_STYLE, Picture, save_figure
from tiltflow.figures2d.schedules import Traced

_COLUMNS, _SHOWN = 4, 800
_LOW, _HIGH = -4.0, 7.0
_NAME = "flowq-schedules"
_TITLE = (
    "FlowQ's Figures 1 and 2. Samples (dots) and ways from noise (circles) of flows that an energy "
    "E\u00a0=\u00a0−x₂ guides at β\u00a0=\u00a01; below each the share of the upper mode"
)


def draw_schedules(traced: Sequence[Traced], folder: Path) -> Picture:
    """Write FOLDER/flowq-schedules.png and .svg; equal samples give equal bytes."""
    rows = -(-len(traced) // _COLUMNS)
    with matplotlib.style.context(FIGURE_STYLE | {"svg.hashsalt": _NAME}, after_reset=True):
        figure = Figure(figsize=(2.1 * _COLUMNS, 2.75 * rows + 0.5), dpi=200, layout="constrained")
        axes = figure.subplots(rows, _COLUMNS, sharex=True, sharey=True, squeeze=False)
        for number, place in enumerate(axes.flat):
            if number >= len(traced):
                place.set_axis_off()
                continue
            _paint(place, traced[number])
            if number % _COLUMNS == 0:
                place.set_ylabel("x₂")
            if number >= len(traced) - _COLUMNS:
                place.set_xlabel("x₁")
        figure.suptitle(_TITLE, fontsize=10, x=0.01, ha="left", wrap=True)
        for kind in ("png", "svg"):
            save_figure(figure, folder / f"{_NAME}.{kind}")
    return Picture(_NAME, _TITLE)


def _paint(place: Axes, traced: Traced) -> None:
    place.set(xlim=(-3, 3), ylim=(_LOW, _HIGH), xticks=(-2, 0, 2), yticks=(-2, 0, 2, 4, 6), aspect="equal")
    place.set_title(traced.case.title, fontsize=9, color=FIGURE_INK)
    place.tick_params(length=2.5, width=0.6)
    for mode in (-2.0, 2.0):
        place.axhline(mode, color=FIGURE_MUTED, linewidth=0.5, linestyle=(0, (4, 4)), zorder=0)
    if traced.ways.size:
        lines = np.swapaxes(traced.ways, 0, 1)
        place.add_collection(LineCollection(list(lines), colors="#0072b2", linewidths=0.4, alpha=0.6))
        start = traced.ways[0]
        place.scatter(
            start[:, 0],
            start[:, 1],
            s=5,
            facecolors="white",
            edgecolors=FIGURE_MUTED,
            linewidths=0.4,
            zorder=2,
        )
    points = traced.points[:_SHOWN]
    place.scatter(
        points[:, 0], points[:, 1], s=1.2, color=FIGURE_INK, linewidths=0, zorder=3, rasterized=True
    )
    note = f"upper {100 * traced.upper:.1f} %"
    beyond = float(np.mean((traced.points[:, 1] < _LOW) | (traced.points[:, 1] > _HIGH)))
    if beyond > 0.005:
        note += f"; {100 * beyond:.0f} % off the panel"
    place.text(0.5, 0.02, note, transform=place.transAxes, ha="center", va="bottom", fontsize=8)
