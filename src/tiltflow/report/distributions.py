"""Distributions on a run's page: of what episodes brought, and of the policy's actions against the data's."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tiltflow import words
from tiltflow.data.interface import entry_names
from tiltflow.report.curves import LOOK, PANEL, Chart
from tiltflow.report.record import Actions, RunContent
from tiltflow.report.svg import SHADE, draw_svg

MAX_DIMENSIONS = 20
_BINS = 40


def episode_histogram(name: str, values: Float[np.ndarray, " n"], success: Bool[np.ndarray, " n"]) -> Chart:
    """The distribution of a number that each episode has, successes apart."""
    whole = bool(np.all(values == np.round(values)))
    edges = _whole_edges(values) if whole else np.histogram_bin_edges(values, 30)
    groups = [(values, "", "")]
    told = [words.plural(len(values), "episode")]
    if success.any():
        groups = [(values[success], "success", ""), (values[~success], "no success", "////")]
        told = [f"{words.plural(len(part), 'episode')} with {kind}" for part, kind, _ in groups if len(part)]

    def paint(axes: Axes) -> None:
        bottom = np.zeros(len(edges) - 1)
        for part, kind, hatch in groups:
            heights = np.histogram(part, edges)[0]
            axes.bar(
                edges[:-1], heights, np.diff(edges), bottom, align="edge", label=kind, hatch=hatch,
                facecolor="none" if hatch else LOOK.colour.light,
                edgecolor=LOOK.colour.light, linewidth=0.6, alpha=0.85,
            )  # fmt: skip
            bottom += heights
        axes.set_xlabel(name)
        axes.set_ylabel("episodes")
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=whole, min_n_ticks=1))
        axes.ticklabel_format(axis="x", useOffset=False)
        axes.margins(x=0.01)
        axes.grid(False, axis="x")
        if success.any():
            axes.legend(frameon=False, loc="best", handlelength=1.4)

    low, middle, high = map(words.number, np.quantile(values, [0.05, 0.5, 0.95]))
    return Chart(
        f"{words.capital(name.partition(' (')[0])} of each episode",
        draw_svg(name, PANEL, paint),
        f"Histogram of the {name}: median {middle}, 5 % below {low}, 5 % above {high}. {'; '.join(told)}.",
        f"median {middle}, mean {words.number(values.mean())}",
    )


def _whole_edges(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " edges"]:
    """At most 30 bins of equal width around whole numbers."""
    low, high = values.min(), values.max()
    finest = 2 * np.spacing(max(abs(low), abs(high)))  # above 1 where floats are wider apart
    width = max(1.0, np.ceil((high - low + 1) / 30), finest)
    return np.arange(low, high + width + 1, width) - 0.5


class ActionEntry(NamedTuple):
    """What the run's data call an entry of an action, if anything, and its bounds in their units."""

    name: str
    low: float
    high: float


def action_entries(run: RunContent, size: int) -> list[ActionEntry]:
    """The entries of an action of that size, as environment.json describes them; else nameless, from −1 to 1.

    Raises UserError where it is damaged.
    """
    if run.interface is None:
        return [ActionEntry("", -1.0, 1.0)] * size
    names, signals = entry_names(run.interface.actions), run.interface.actions
    if [signal.name for signal in signals] == ["actions"] and not signals[0].entries:
        names = [""] * size  # the number says as much
    low, high = run.interface.bounds or ((-1.0,) * size, (1.0,) * size)
    return [ActionEntry(*entry) for entry in zip(names, low, high, strict=True)]


def action_histograms(actions: Actions, entries: list[ActionEntry]) -> list[Chart]:
    """Per entry, the distribution of policy actions over that of data actions at the same states.

    Beyond 20 entries, those in which the policy is farthest from the data.
    """
    edges = np.linspace(-1.0, 1.0, _BINS + 1)
    pooled = actions.policy.reshape(-1, actions.policy.shape[-1])
    data = np.sort(actions.data, axis=0).repeat(len(actions.policy), axis=0)  # as many as of the policy
    apart = np.abs(np.sort(pooled, axis=0) - data).mean(axis=0)  # W₁

    def share(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " bins"]:
        return 100 * np.histogram(np.clip(values, -1, 1), edges)[0] / len(values)

    def chart(dimension: int) -> Chart:
        name, low, high = entries[dimension]
        unit = "between its bounds" if (low, high) == (-1.0, 1.0) else "unit of the data"

        def paint(axes: Axes) -> None:
            axes.stairs(share(actions.data[:, dimension]), edges, fill=True, color=SHADE.light)
            axes.stairs(share(pooled[:, dimension]), edges, color=LOOK.colour.light, linewidth=1.7)
            axes.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
            axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.set_ylim(bottom=0)
            axes.set_xlim(-1.04, 1.04)
            ticks = np.linspace(-1, 1, 5)
            axes.set_xticks(ticks, [words.number(low + (tick + 1) / 2 * (high - low)) for tick in ticks])
            axes.set_xlabel(f"{name or f'entry {dimension} of the action'} ({unit})")
            axes.set_ylabel("actions (%)")
            axes.grid(False, axis="x")

        note = f"{apart[dimension]:.3f}"
        return Chart(
            f"Action {dimension}",
            draw_svg(f"action-{dimension}", PANEL, paint),
            f"Histogram of {name or f'action dimension {dimension}'}: policy and data are {note} apart.",
            f"W₁ {note}",
            kicker=name,
        )

    farthest = np.argsort(np.negative(apart), kind="stable")[:MAX_DIMENSIONS]
    return [chart(int(dimension)) for dimension in np.sort(farthest)]
