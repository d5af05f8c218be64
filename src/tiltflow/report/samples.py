"""Data, tilted data and samples side by side: in two dimensions as they are, else in principal components."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib import rc_context
from matplotlib.figure import Figure

from tiltflow.files import atomic_file
from tiltflow.guidance.effective_rows import resample_rows
from tiltflow.guidance.fitted import Fitted

SHOWN = 4_000
_INK, _MUTED, _RULE = "#1c2127", "#59616b", "#dcd8ce"


def draw_samples(
    fitted: Fitted, samples: Float[np.ndarray, "n d"], path: Path, columns: Sequence[str] = ()
) -> None:
    """Write a PNG of at most 4000 points a panel; one dimension is drawn as histograms.

    `columns` names the coordinates.
    """
    problem = fitted.problem
    rng = np.random.default_rng(0)
    data = problem.points[rng.permutation(len(problem.points))[:SHOWN]]
    tilted = problem.points[resample_rows(rng, problem.weights, min(SHOWN, len(samples)))]
    names = ("data", f"data resampled, β = {fitted.beta:.4g}", f"{fitted.method.name}: samples")
    panels = [problem.in_data_units(data), problem.in_data_units(tilted), samples[:SHOWN]]
    size = panels[0].shape[1]
    figure = Figure(figsize=(11, 3.9), dpi=150, layout="constrained")
    with rc_context({"text.parse_math": False}):  # a column of the data may have $ in its name
        if size == 1:
            _histograms(figure, panels, names, columns[0] if columns else "x")
        else:
            plane, labels = _plane(panels[0], size, columns or ("x₁", "x₂"))
            _scatter(figure, [panel @ plane if size > 2 else panel for panel in panels], names, labels)
    with atomic_file(path) as file:
        figure.savefig(file, format="png")


def _plane(
    points: Float[np.ndarray, "n d"], size: int, columns: Sequence[str]
) -> tuple[np.ndarray, tuple[str, str]]:
    if size == 2:
        return np.eye(2), (columns[0], columns[1])
    centred = points - points.mean(axis=0)
    _, spread, axes = np.linalg.svd(centred, full_matrices=False)
    shares = spread**2 / max(np.sum(spread**2), 1e-300)
    axes = np.concatenate([axes, np.zeros((max(0, 2 - len(axes)), size))])[:2]
    shares = np.concatenate([shares, np.zeros(2)])
    return axes.T, (
        f"first principal component of the data ({shares[0]:.0%})",
        f"second ({shares[1]:.0%})",
    )


def _scatter(figure: Figure, panels: list, names: tuple[str, ...], labels: tuple[str, str]) -> None:
    axes = figure.subplots(1, len(panels), sharex=True, sharey=True)
    for place, points, name in zip(axes, panels, names, strict=True):
        place.scatter(points[:, 0], points[:, 1], s=2.5, color=_INK, alpha=0.35, linewidths=0)
        place.set_title(name, fontsize=11, color=_INK)
        place.set_xlabel(labels[0], color=_INK)
        _tidy(place)
    axes[0].set_ylabel(labels[1], color=_INK)


def _histograms(figure: Figure, panels: list, names: tuple[str, ...], column: str) -> None:
    axes = figure.subplots()
    together = np.concatenate(panels)
    low, high = np.quantile(together, [0.001, 0.999])
    edges = np.linspace(low, high, 81)
    if edges[0] == edges[-1]:
        edges = edges[0] + np.linspace(-0.5, 0.5, 81)
    styles = (("#59616b", ":"), ("#c14f00", "--"), ("#0072b2", "-"))
    for points, name, (colour, line) in zip(panels, names, styles, strict=True):
        heights, _ = np.histogram(points[:, 0], edges, density=True)
        axes.stairs(heights, edges, color=colour, linestyle=line, linewidth=1.8, label=name)
    axes.set_xlabel(column, color=_INK)
    axes.set_ylabel("density", color=_INK)
    axes.legend(frameon=False)
    _tidy(axes)


def _tidy(axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=_RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_MUTED, labelcolor=_INK)
