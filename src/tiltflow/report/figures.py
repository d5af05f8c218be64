"""Curves and bars of a report. Each figure takes the runs it is to show, one or several."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tiltflow.report import words
from tiltflow.report.glossary import find_metric
from tiltflow.report.record import Curve, Run
from tiltflow.report.svg import CARD, INK, LOOKS, MUTED, Look, draw

PANEL, WIDE, NARROW = (300, 195), (690, 400), (300, 255)


@dataclass(frozen=True)
class Panel:
    """A figure on the page. `wide` is the same drawn for a broad screen; `alt` says what is to be seen."""

    title: str
    svg: str
    alt: str
    note: str = ""
    kicker: str = ""
    wide: str = ""


def labels(runs: Sequence[Run]) -> list[str]:
    """What each run is called: its algorithm, with its folder where two share one."""
    algorithms = [run.algorithm for run in runs]
    return [
        f"{run.algorithm} ({run.name})" if algorithms.count(run.algorithm) > 1 else run.algorithm
        for run in runs
    ]


def score_curve(runs: Sequence[Run]) -> Panel | None:
    """The score at every evaluation of the final stage, with its 95 % interval and the refreshes.

    A level marks the score at the end of an earlier stage: that of the policy which is to be improved.
    """
    shown = [
        (label, run, *list(run.scores.items())[-1], list(run.scores.items())[:-1], look)
        for label, run, look in zip(labels(runs), runs, LOOKS, strict=False)
        if run.scores
    ]
    if not shown:
        return None
    task = runs[0].task

    def paint(axes: Axes) -> None:
        for _, run, stage, curve, earlier, look in shown:
            start = run.stage_start(stage)
            draw_curve(axes, curve, look, marked=True)
            _refreshes(axes, run, look)
            for _, before in earlier:
                axes.plot(
                    [start, curve.steps[-1]], [before.mean[-1]] * 2, color=look.colour.light, linewidth=1.2,
                    linestyle=(0, (6, 4)),
                )  # fmt: skip
                axes.plot(
                    start, before.mean[-1], look.marker, color=look.colour.light, markerfacecolor="none"
                )
        first = min(run.stage_start(stage) for _, run, stage, *_ in shown)
        steps_axis(axes, first, max(curve.steps[-1] for _, _, _, curve, *_ in shown))
        axes.set_ylabel(axis_label(task.metric, task.unit))
        if task.unit == "%":
            axes.set_ylim(-3, 103)

    told, levels = [], []
    for label, _, stage, curve, earlier, _ in shown:
        told.append(
            f"{label}: {words.score(curve.mean[0])} at step {words.count(curve.steps[0])}, "
            f"{words.score(curve.mean[-1])} at step {words.count(curve.steps[-1])} of the {stage} stage"
        )
        whose = f" of {label}" if len(runs) > 1 else ""
        levels += [
            f"Dashed level, hollow mark: after the {name} stage{whose}, {words.score(before.mean[-1])}."
            for name, before in earlier
        ]
    refreshed = any(run.refreshes for run in runs)
    notes = [
        "Thick: mean over seeds. Thin: each seed. Band: 95 % interval of the mean.",
        *levels,
        *(["Triangle and dotted line: refresh of the support actions."] if refreshed else []),
    ]
    return Panel(
        f"{capital(task.metric)} over training",
        draw("score", NARROW, paint),
        f"Line chart of {axis_label(task.metric, task.unit)} over gradient steps. {'; '.join(told)}. "
        + " ".join(levels),
        " ".join(notes),
        wide=draw("score-wide", WIDE, paint),
    )


def score_bars(runs: Sequence[Run]) -> Panel | None:
    """The score of each run with its interval, and that of each seed as a mark."""
    scored = [
        (label, run.result, look)
        for label, run, look in zip(labels(runs), runs, LOOKS, strict=False)
        if run.result
    ]
    if not scored:
        return None
    task = runs[0].task

    def paint(axes: Axes) -> None:
        for place, (_, result, look) in enumerate(scored):
            low, high = result["ci95"]
            axes.barh(place, result["mean"], 0.5, color=look.colour.light, alpha=0.3)
            axes.barh(
                place, result["mean"], 0.5, fill=False, edgecolor=look.colour.light, linestyle=look.line
            )
            axes.plot([low, high], [place, place], color=INK.light, linewidth=2.2)
            axes.plot([low, high], [place, place], "|", color=INK.light, markersize=12, markeredgewidth=1.6)
            seeds = result["per_seed"]
            axes.plot(
                seeds, np.full(len(seeds), place + 0.36), look.marker, color=look.colour.light,
                markersize=5.5, markerfacecolor="none", clip_on=False,
            )  # fmt: skip
        axes.set_yticks(range(len(scored)), [label for label, *_ in scored])
        axes.set_ylim(len(scored) - 0.4, -0.6)
        axes.grid(False, axis="y")
        axes.set_xlabel(axis_label(task.metric, task.unit))
        if task.unit == "%":
            axes.set_xlim(0, 103)

    told = [
        f"{label} {words.score(result['mean'])}, 95 % interval {words.score(result['ci95'][0])} to "
        f"{words.score(result['ci95'][1])}"
        for label, result, _ in scored
    ]
    return Panel(
        f"{capital(task.metric)} with 95 % interval",
        draw("bars", (PANEL[0], 75 + 50 * len(scored)), paint),
        f"Bar chart of {axis_label(task.metric, task.unit)}. {'; '.join(told)}.",
        "Bar: mean over seeds. Line: its 95 % interval. Marks below: each seed.",
    )


def metric_curve(runs: Sequence[Run], stage: str, name: str) -> Panel:
    """A logged metric of one stage over gradient steps, for every run that logged it."""
    known = find_metric(stage, name)
    shown = [
        (label, run, run.metric(stage, name), look)
        for label, run, look in zip(labels(runs), runs, LOOKS, strict=False)
        if any(s.name == stage and name in s.metrics for s in run.stages)
    ]

    def paint(axes: Axes) -> None:
        for _, run, curve, look in shown:
            draw_curve(axes, curve, look, marked=False)
            _refreshes(axes, run, look, curve.steps[0], curve.steps[-1])
        values = np.concatenate([curve.seeds.ravel() for _, _, curve, _ in shown])
        first = min(curve.steps[0] for _, _, curve, _ in shown)
        steps_axis(axes, first, max(curve.steps[-1] for _, _, curve, _ in shown))
        axes.set_ylabel(known.unit)
        if name.endswith("loss") and values.min() > 0 and values.max() > 20 * values.min():
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: words.number(value)))
        if name == "ess":
            _ess_limits(axes, [run for _, run, _, _ in shown])

    told = [
        f"{label}: from {words.number(curve.mean[0])} to {words.number(curve.mean[-1])}"
        for label, _, curve, _ in shown
    ]
    return Panel(
        known.title,
        draw(f"{stage}-{name}", PANEL, paint),
        f"Line chart of {name} over the gradient steps of the {stage} stage. {'; '.join(told)}.",
        f"logged as {name}",
        f"{stage} stage",
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


def _refreshes(axes: Axes, run: Run, look: Look, first: float = 0, last: float = np.inf) -> None:
    for step in run.refreshes:
        if first <= step <= last:
            axes.axvline(step, color=look.colour.light, linewidth=1.1, linestyle=(0, (1, 2)))
            axes.plot(
                step, 0, marker="^", markersize=6, color=look.colour.light, clip_on=False,
                transform=axes.get_xaxis_transform(),
            )  # fmt: skip


def _ess_limits(axes: Axes, runs: Sequence[Run]) -> None:
    """The number of actions that share a state's weights: no effective sample size is larger."""
    agents = [run.config["agent"] for run in runs if "num_support_actions" in run.config["agent"]]
    if not agents:
        return
    most = max(a["num_support_actions"] + bool(a.get("include_data_action", True)) for a in agents)
    for value, text, above in (
        (most, f"all {most} actions count alike", True),
        (1, "one action counts", False),
    ):
        axes.axhline(value, color=MUTED.light, linewidth=1, linestyle=(0, (5, 3)))
        axes.annotate(
            text, (1, value), (0, -4 if above else 3), xycoords=axes.get_yaxis_transform(), fontsize=9.5,
            textcoords="offset points", ha="right", va="top" if above else "bottom", color=MUTED.light,
        )  # fmt: skip
    axes.set_ylim(0, most * 1.04)


def steps_axis(axes: Axes, first: float, last: float) -> None:
    """The horizontal axis of a curve: gradient steps, with few and short labels."""
    axes.set_xlabel("gradient steps")
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: _short(step)))
    if last > first:
        axes.set_xlim(first - 0.02 * (last - first), last + 0.02 * (last - first))


def _short(step: float) -> str:
    if abs(step) >= 1e6:
        return f"{step / 1e6:g}M"
    return f"{step / 1e3:g}k" if abs(step) >= 1e3 else f"{step:g}"


def axis_label(metric: str, unit: str) -> str:
    """The metric with its unit in brackets; a plain return has none."""
    return metric if unit == metric else f"{metric} ({unit})"


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]
