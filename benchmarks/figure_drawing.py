"""How benchmarks/figures.py draws: numbers with intervals, curves with bands, a panel a task."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tiltflow.files import atomic_file
from tiltflow.report.curves import draw_curve, steps_axis
from tiltflow.report.record import Curve
from tiltflow.report.svg import CARD, INK, LOOKS, PAGE_STYLE


class Value(NamedTuple):
    """A number with its 95 % interval, and what it is made of: seeds, or repeated measurements."""

    label: str
    mean: float
    low: float
    high: float
    parts: list[float]


def order(one: Value, other: Value) -> str:
    """Whether one lies above the other, as far as their intervals can tell."""
    if one.low > other.high:
        return "above"
    return "below" if one.high < other.low else "not told apart from"


def paint_values(axes: Axes, values: Sequence[Value]) -> None:
    """A mark with its interval for each value, and small hollow marks for its seeds."""
    for place, value in enumerate(values):
        look = LOOKS[place % len(LOOKS)]
        axes.plot([place] * 2, [value.low, value.high], color=INK.light, linewidth=2)
        axes.plot(place, value.mean, look.marker, color=look.colour.light, markersize=9)
        if len(value.parts) <= 10:
            axes.plot(
                [place + 0.18] * len(value.parts), value.parts, look.marker, color=look.colour.light,
                markersize=5, markerfacecolor="none",
            )  # fmt: skip
    axes.set_xticks(range(len(values)), [value.label for value in values])
    axes.set_xlim(-0.5, len(values) - 0.5)


def paint_loss(axes: Axes, curve: Curve, name: str) -> None:
    draw_curve(axes, curve, LOOKS[("qipo-ot", "qipo-diff").index(name)], marked=False)
    steps_axis(axes, 0, curve.steps[-1])


def draw(path: Path, tasks: Sequence[str], paint: Callable[[Axes, str], None], title: str) -> None:
    """One panel a task, each with an axis of its own."""
    with matplotlib.style.context(PAGE_STYLE, after_reset=True):
        figure = Figure(figsize=(4.4 * len(tasks), 3.6), layout="constrained", facecolor=CARD.light)
        for axes, task in zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks, strict=True):
            paint(axes, task)
            axes.set_title(task, fontsize=10.5)
        figure.suptitle(title, fontsize=10.5)
        with atomic_file(path) as file:
            figure.savefig(file, format="png", dpi=150, facecolor=CARD.light, metadata={"Software": None})
