"""Distributions in a report: of what episodes brought, and of the policy's actions against the data's."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from scipy.stats import wasserstein_distance

from tiltflow.report import words
from tiltflow.report.figures import PANEL, Panel, capital, labels
from tiltflow.report.record import Run
from tiltflow.report.svg import LOOKS, SHADE, draw

SMALL = (140, 106)
MAX_DIMENSIONS = 20
_BINS = 40


def episode_histogram(
    runs: Sequence[Run], index: int, name: str, values: Callable[[Run], Float[np.ndarray, " n"]]
) -> Panel:
    """The distribution of a per-episode number in run `index`, successes apart; all runs share the bins."""
    run, look, label = runs[index], LOOKS[index], labels(runs)[index]
    everything = np.concatenate([values(other) for other in runs if other.last_episodes])
    edges = np.histogram_bin_edges(everything, 30)
    own = values(run)
    success = np.array([s for episodes in run.last_episodes for s in episodes.successes])
    groups = [(own, "", "")]
    told = [words.plural(len(own), "episode")]
    if success.any():
        groups = [(own[success], "success", ""), (own[~success], "no success", "////")]
        told = [f"{words.plural(len(part), 'episode')} with {kind}" for part, kind, _ in groups if len(part)]

    def paint(axes: Axes) -> None:
        bottom = np.zeros(len(edges) - 1)
        for part, kind, hatch in groups:
            heights = np.histogram(part, edges)[0]
            axes.bar(
                edges[:-1], heights, np.diff(edges), bottom, align="edge", label=kind, hatch=hatch,
                facecolor="none" if hatch else look.colour.light,
                edgecolor=look.colour.light, linewidth=0.6, alpha=0.85,
            )  # fmt: skip
            bottom += heights
        axes.set_xlabel(name)
        axes.set_ylabel("episodes")
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.margins(x=0.01)
        axes.grid(False, axis="x")
        if success.any():
            axes.legend(frameon=False, loc="best", handlelength=1.4)

    low, middle, high = np.quantile(own, [0.05, 0.5, 0.95])
    return Panel(
        f"{capital(name.partition(' (')[0])} of each episode" + (f", {label}" if len(runs) > 1 else ""),
        draw(f"{name}-{index}", PANEL, paint),
        f"Histogram of the {name} of {words.count(len(own))} episodes of {label}: median "
        f"{words.number(middle)}, 5 % below {words.number(low)}, 5 % above {words.number(high)}. "
        f"{'; '.join(told)}.",
        f"median {words.number(middle)}, mean {words.number(own.mean())}",
    )


def action_panels(runs: Sequence[Run]) -> list[Panel]:
    """Per dimension, the distribution of policy actions over that of data actions at the same states.

    Beyond 20 dimensions, those in which the first run is farthest from the data.
    """
    shown = [
        (label, run.actions, look)
        for label, run, look in zip(labels(runs), runs, LOOKS, strict=False)
        if run.actions
    ]
    if not shown:
        return []
    edges = np.linspace(-1.0, 1.0, _BINS + 1)
    data = shown[0][1].data

    def distances(dimension: int) -> list[float]:
        return [
            float(wasserstein_distance(a.policy[..., dimension].ravel(), a.data[:, dimension]))
            for _, a, _ in shown
        ]

    def share(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " bins"]:
        return 100 * np.histogram(np.clip(values, -1, 1), edges)[0] / len(values)

    def panel(dimension: int, apart: list[float]) -> Panel:
        def paint(axes: Axes) -> None:
            axes.stairs(share(data[:, dimension]), edges, fill=True, color=SHADE.light)
            for _, actions, look in shown:
                pooled = share(actions.policy[..., dimension].ravel())
                axes.stairs(pooled, edges, color=look.colour.light, linestyle=look.line, linewidth=1.5)
            axes.set_yscale("function", functions=(lambda y: np.sqrt(np.maximum(y, 0)), np.square))
            axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
            axes.set_ylim(bottom=0)
            axes.set_xlim(-1.04, 1.04)
            axes.set_xticks([-1, 0, 1], ["−1", "0", "1"])
            axes.tick_params(labelsize=9.5, pad=2)

        note = ", ".join(f"{value:.3f}" for value in apart)
        told = [f"{label} {value:.3f}" for (label, *_), value in zip(shown, apart, strict=True)]
        return Panel(
            f"Action {dimension}",
            draw(f"action-{dimension}", SMALL, paint),
            f"Histogram of action dimension {dimension}: distance between policy and data, "
            f"{words.listing(told)}.",
            f"W₁ {note}",
        )

    apart = {dimension: distances(dimension) for dimension in range(data.shape[1])}
    chosen = sorted(sorted(apart, key=lambda dimension: -apart[dimension][0])[:MAX_DIMENSIONS])
    return [panel(dimension, apart[dimension]) for dimension in chosen]
