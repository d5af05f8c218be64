"""Figures of a comparison: curves of each task, intervals as dots, performance profiles."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from tiltflow import words
from tiltflow.report.compare.across_tasks import GAMMA, AcrossTasks, ScoreEstimate, TaskAggregate
from tiltflow.report.compare.comparison import Comparison
from tiltflow.report.compare.comparison_tables import SIDE_BY_SIDE
from tiltflow.report.curves import PANEL, WIDE, Chart, draw_curve, score_axis, steps_axis, told_curve
from tiltflow.report.svg import CARD, LOOKS, MUTED, Look, draw_svg
from tiltflow.tasks import Task

FEW_CURVES = 4
"""Up to so many columns each seed has a thin line of its own."""
DOTS_WIDTH = 260
_LABEL_LETTERS = 40


class Dot(NamedTuple):
    """A row of a dot plot."""

    label: str
    estimate: ScoreEstimate
    look: Look


def looks(comparison: Comparison) -> dict[str, Look]:
    """The colour, line and marker of each column."""
    labels = [column.label for column in comparison.columns]
    return dict(zip(labels, LOOKS, strict=False))


def task_curve(comparison: Comparison, task: Task, place: int) -> Chart:
    """The score on one task at every evaluation of the last stage, with its 95 % interval."""
    shown = [(column.label, cell.curve) for column, cell in comparison.row(task)]
    look = looks(comparison)

    def paint(axes: Axes) -> None:
        for label, curve in shown:
            few, some = len(shown) <= FEW_CURVES, len(shown) <= SIDE_BY_SIDE
            draw_curve(axes, curve, look[label], marked=True, each_seed=few, band=some)
        first, last = (f(f(curve.steps) for _, curve in shown) for f in (min, max))
        steps_axis(axes, first, last)
        score_axis(axes, task)

    told = [f"{label}: {told_curve(curve)}" for label, curve in shown]
    alone = len(comparison.tasks) == 1
    return Chart(
        task.name.partition("/")[2],
        draw_svg(f"curve-{place}", (PANEL[0], 215), paint),
        f"Line chart of {words.metric_text(task.metric, task.unit)} on {task.name} over gradient steps. "
        f"{'; '.join(told)}.",
        kicker=words.capital(task.metric),
        wide=draw_svg(f"curve-{place}-wide", WIDE, paint) if alone else "",
    )


def aggregate_dots(comparison: Comparison, aggregate: TaskAggregate) -> Chart:
    """One aggregate of every column, as a dot with its interval."""
    look = looks(comparison)
    dots = [Dot(label, estimate, look[label]) for label, estimate in aggregate.estimates.items()]
    return _dots(
        words.capital(aggregate.name), f"aggregate-{aggregate.name.replace(' ', '-')}", dots,
        f"{aggregate.name} (points)", aggregate.meaning,
    )  # fmt: skip


def improvement_dots(comparison: Comparison, across: AcrossTasks, leader: str) -> Chart | None:
    """The chance that the leading column beats each of the others; None where it is known of none."""
    look = looks(comparison)
    dots = [
        Dot(other, found.chance, look[other])
        for (one, other), found in across.improvements.items()
        if one == leader
    ]
    dots.sort(key=lambda dot: dot.estimate.value)
    if not dots:
        return None
    return _dots(
        f"Chance that {leader} beats …", "improvement", dots, "probability (%)",
        "Dashed: 50 %, neither is better. Further right: the leader wins more often.", (-3, 103), 50.0,
    )  # fmt: skip


def _dots(
    title: str, name: str, dots: Sequence[Dot], label: str, note: str,
    limits: tuple[float, float] | None = None, middle: float | None = None,
) -> Chart:  # fmt: skip
    def paint(axes: Axes) -> None:
        if middle is not None:
            axes.axvline(middle, color=MUTED.light, linewidth=1.2, linestyle=(0, (5, 3)))
        for place, (text, (value, interval), look) in enumerate(dots):
            if interval is not None:
                axes.plot(interval, [place, place], look.line, color=look.colour.light, linewidth=2.4)
                axes.plot(interval, [place, place], "|", color=look.colour.light, markersize=9)
            _mark(axes, value, place, look)
            axes.annotate(
                _shortened(text), (0, place), (2, 8), xycoords=axes.get_yaxis_transform(),
                textcoords="offset points", fontsize=10, va="bottom",
            )  # fmt: skip
        axes.set_yticks([])
        axes.set_ylim(len(dots) - 0.5, -0.9)
        axes.grid(True, axis="x")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(label)
        if limits:
            axes.set_xlim(*limits)

    told = [
        f"{dot.label} {words.score_text(dot.estimate.value)}" + _told_interval(dot.estimate) for dot in dots
    ]
    return Chart(
        title,
        draw_svg(name, (DOTS_WIDTH, 60 + 38 * len(dots)), paint),
        f"Dot plot of {label}. {'; '.join(told)}.",
        note,
    )


def _mark(axes: Axes, x: Any, y: Any, look: Look) -> None:
    colour = look.colour.light
    axes.plot(
        x, y, look.marker, color=colour, markersize=8, markeredgewidth=1.4, clip_on=False,
        markerfacecolor=colour if look.filled else CARD.light,
    )  # fmt: skip


def _told_interval(estimate: ScoreEstimate) -> str:
    if estimate.interval is None:
        return ", no interval"
    return f", 95 % interval {words.interval_text(estimate.interval)}"


def _shortened(text: str) -> str:
    return text if len(text) <= _LABEL_LETTERS else text[: _LABEL_LETTERS - 1] + "…"


def profile_curves(comparison: Comparison, across: AcrossTasks) -> Chart:
    """The share of runs above each score, with its 95 % band."""
    look = looks(comparison)
    banded = len(across.profiles) <= SIDE_BY_SIDE

    def paint(axes: Axes) -> None:
        for label, profile in across.profiles.items():
            colour, every = look[label].colour.light, max(1, len(profile.thresholds) // 8)
            if banded:
                axes.fill_between(
                    profile.thresholds, profile.low, profile.high, color=colour, alpha=0.14, linewidth=0
                )
            axes.plot(
                profile.thresholds, profile.share, look[label].line, color=colour, linewidth=2,
                marker=look[label].marker, markevery=every, markersize=5,
                markerfacecolor=colour if look[label].filled else CARD.light,
            )  # fmt: skip
        axes.set_ylim(-3, 103)
        axes.set_xlabel("score τ (points of 100)")
        axes.set_ylabel("runs above τ (%)")

    told = [
        f"{label}: {words.score_text(float(np.interp(GAMMA / 2, p.thresholds, p.share)))} % of runs above 50"
        for label, p in across.profiles.items()
    ]
    return Chart(
        "Performance profiles",
        draw_svg("profile", (PANEL[0], 240), paint),
        f"Line chart of the share of runs that score above a threshold. {'; '.join(told)}.",
        "Higher is better everywhere; where two curves cross, neither algorithm is better throughout. "
        + (
            "Band: 95 % interval from the stratified bootstrap."
            if banded
            else "There are too many curves for bands."
        ),
        wide=draw_svg("profile-wide", (WIDE[0], 330), paint),
    )
