"""Curves and bars of a run's page, and what curves on other pages are drawn with."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tiltflow import words
from tiltflow.report.glossary import find_metric
from tiltflow.report.record import Curve, RunContent
from tiltflow.report.svg import CARD, INK, LOOKS, MUTED, Look, draw_svg
from tiltflow.tasks import Task

PANEL, WIDE, NARROW = (300, 195), (690, 400), (300, 255)
LOOK = LOOKS[0]
"""How a run looks on its own page."""


@dataclass(frozen=True)
class Chart:
    """A figure on the page. `wide` is the same drawn for a broad screen; `alt` says what is to be seen."""

    title: str
    svg: str
    alt: str
    note: str = ""
    kicker: str = ""
    wide: str = ""


def score_curve(run: RunContent) -> Chart | None:
    """The score at every evaluation of the final stage, with its 95 % interval and the refreshes.

    A level marks the score at the end of an earlier stage: that of the policy which is to be improved.
    """
    if not run.scores:
        return None
    *earlier, (stage, curve) = run.scores.items()
    start, colour = run.stage_start(stage), LOOK.colour.light

    def paint(axes: Axes) -> None:
        draw_curve(axes, curve, LOOK, marked=True)
        _refreshes(axes, run)
        for _, before in earlier:
            level, ends = before.mean[-1], [start, curve.steps[-1]]
            axes.plot(ends, [level, level], color=colour, linewidth=1.2, linestyle=(0, (6, 4)))
            axes.plot(start, level, LOOK.marker, color=colour, markerfacecolor="none")
        steps_axis(axes, start, curve.steps[-1])
        score_axis(axes, run.task)

    levels = [
        f"Dashed level, hollow mark: after the {name} stage, {words.score_text(before.mean[-1])}."
        for name, before in earlier
    ]
    refreshes = ["Triangle and dotted line: refresh of the support actions."] if run.refreshes else []
    what = words.metric_text(run.task.metric, run.task.unit)
    told = f"Line chart of {what} over gradient steps. {told_curve(curve)} of the {stage} stage."
    return Chart(
        f"{words.capital(run.task.metric)} over training",
        draw_svg("score", NARROW, paint),
        " ".join([told, *levels]),
        " ".join([_what_lines_are(run), *levels, *refreshes, *_betas(run)]),
        wide=draw_svg("score-wide", WIDE, paint),
    )


def _what_lines_are(run: RunContent) -> str:
    if len(run.seed_numbers) > 1:
        return "Thick: mean over seeds. Thin: each seed. Band: 95 % interval of the mean."
    return "Line: the one seed. Band: 95 % interval by the chance of its episodes."


def _betas(run: RunContent) -> list[str]:
    """Which β the evaluated policies of the last stage had, where it is logged."""
    steps = list(run.scores.values())[-1].steps
    betas = [words.number(beta) for step in steps if (beta := run.beta_at(int(step))) is not None]
    if not betas:
        return []
    return [f"β of the points: {', '.join(betas) if len(set(betas)) > 1 else f'{betas[0]} at each'}."]


def score_bar(run: RunContent) -> Chart | None:
    """The score with its interval, and that of each seed as a mark."""
    if run.result is None:
        return None
    mean, interval, seeds = (run.result[key] for key in ("mean", "ci95", "per_seed"))
    colour, what = LOOK.colour.light, words.metric_text(run.task.metric, run.task.unit)

    def paint(axes: Axes) -> None:
        axes.barh(0, mean, 0.5, color=colour, alpha=0.3)
        axes.barh(0, mean, 0.5, fill=False, edgecolor=colour)
        axes.plot(interval, [0, 0], color=INK.light, linewidth=2.2)
        axes.plot(interval, [0, 0], "|", color=INK.light, markersize=12, markeredgewidth=1.6)
        axes.plot(
            seeds, np.full(len(seeds), 0.36), LOOK.marker, color=colour, markersize=5.5,
            markerfacecolor="none", clip_on=False,
        )  # fmt: skip
        axes.set_yticks([0], [run.algorithm])
        axes.set_ylim(0.6, -0.6)
        axes.grid(False, axis="y")
        axes.set_xlabel(what)
        if run.task.unit == "%":
            axes.set_xlim(0, 103)

    return Chart(
        f"{words.capital(run.task.metric)} with 95 % interval",
        draw_svg("bars", (PANEL[0], 125), paint),
        f"Bar chart of {what}: {words.score_text(mean)}, 95 % interval {words.interval_text(interval)}.",
        "Bar: mean over seeds. Line: its 95 % interval. Marks below: each seed."
        if len(seeds) > 1
        else "Bar: the one seed. Line: 95 % interval of this one training, not of other seeds.",
    )


def metric_curve(run: RunContent, stage: str, name: str) -> Chart:
    """A logged metric of one stage over gradient steps."""
    known, curve = find_metric(stage, name), run.metric(stage, name)

    def paint(axes: Axes) -> None:
        draw_curve(axes, curve, LOOK, marked=False)
        _refreshes(axes, run, curve.steps[0], curve.steps[-1])
        steps_axis(axes, curve.steps[0], curve.steps[-1])
        axes.set_ylabel(known.unit)
        if name.endswith("loss") and curve.seeds.min() > 0 and curve.seeds.max() > 20 * curve.seeds.min():
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: words.number(value)))
        if name == "ess":
            _ess_limits(axes, run.config["agent"])

    return Chart(
        known.title,
        draw_svg(f"{stage}-{name}", PANEL, paint),
        f"Line chart of {name} over the gradient steps of the {stage} stage: from "
        f"{words.number(curve.mean[0])} to {words.number(curve.mean[-1])}.",
        f"logged as {name}",
        f"{stage} stage",
    )


def told_curve(curve: Curve) -> str:
    """Where a curve of scores begins and ends."""
    return " to ".join(
        f"{words.score_text(curve.mean[place])} at step {words.count(curve.steps[place])}"
        for place in (0, -1)
    )


def draw_curve(
    axes: Axes, curve: Curve, look: Look, marked: bool, each_seed: bool = True, band: bool = True
) -> None:
    """Each seed thin and the band behind (unless there is no room for them), their mean thick."""
    colour = look.colour.light
    if band:
        axes.fill_between(curve.steps, curve.low, curve.high, color=colour, alpha=0.16, linewidth=0)
    if band and len(curve.steps) == 1:  # a band of no width cannot be seen
        axes.vlines(curve.steps, curve.low, curve.high, color=colour, alpha=0.6)
    if each_seed and curve.seeds.shape[1] > 1:
        axes.plot(curve.steps, curve.seeds, color=colour, linewidth=0.7, alpha=0.7)
    marker = look.marker if marked or len(curve.steps) == 1 else ""
    axes.plot(
        curve.steps, curve.mean, look.line, color=colour, linewidth=2.1, marker=marker, markersize=5,
        markerfacecolor=colour if look.filled else CARD.light,
    )  # fmt: skip


def _refreshes(axes: Axes, run: RunContent, first: float = 0, last: float = np.inf) -> None:
    for step in run.refreshes:
        if first <= step <= last:
            axes.axvline(step, color=LOOK.colour.light, linewidth=1.1, linestyle=(0, (1, 2)))
            axes.plot(
                step, 0, marker="^", markersize=6, color=LOOK.colour.light, clip_on=False,
                transform=axes.get_xaxis_transform(),
            )  # fmt: skip


def _ess_limits(axes: Axes, agent: dict[str, Any]) -> None:
    """The number of actions that share a state's weights: no effective sample size is larger."""
    if "num_support_actions" not in agent:
        return
    most = agent["num_support_actions"] + bool(agent.get("include_data_action", True))
    for value, text, offset, side in (
        (most, f"all {most} actions count alike", -4, "top"),
        (1, "one action counts", 3, "bottom"),
    ):
        axes.axhline(value, color=MUTED.light, linewidth=1, linestyle=(0, (5, 3)))
        axes.annotate(
            text, (1, value), (0, offset), xycoords=axes.get_yaxis_transform(), fontsize=9.5,
            textcoords="offset points", ha="right", va=side, color=MUTED.light,
        )  # fmt: skip
    axes.set_ylim(0, most * 1.04)


def steps_axis(axes: Axes, first: float, last: float) -> None:
    """The horizontal axis of a curve: gradient steps, with few and short labels."""
    axes.set_xlabel("gradient steps")
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: words.short_steps(step)))
    if last > first:
        axes.set_xlim(first - 0.02 * (last - first), last + 0.02 * (last - first))


def score_axis(axes: Axes, task: Task) -> None:
    """The vertical axis of a curve of scores."""
    axes.set_ylabel(words.metric_text(task.metric, task.unit))
    if task.unit == "%":
        axes.set_ylim(-3, 103)
