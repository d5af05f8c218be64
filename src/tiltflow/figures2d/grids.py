"""What each figure shows, from the stored cells."""

from pathlib import Path
from typing import Any

from tiltflow.datasets2d import sample_2d
from tiltflow.figures2d.drawing import Grid, PointsPanel, nearest_label
from tiltflow.figures2d.figure_plan import TRUTH, FigureCell, FigurePlan
from tiltflow.figures2d.store import read_cell
from tiltflow.figures2d.table import ratio_text
from tiltflow.figures2d.truth import sample_class
from tiltflow.guidance.methods import METHODS

_COMPARED = ("cfg", "ed", "efm")
_LABELLED_ROWS = 50_000
_CLASS_SEED, _LABEL_SEED = 2, 3


class Gallery:
    """Makes grids of one plan's finished cells; of several seeds it shows the first."""

    def __init__(self, plan: FigurePlan, folder: Path, numbers: dict[FigureCell, dict[str, Any]]):
        self._plan, self._folder, self._numbers = plan, folder, numbers
        self._labels = {
            name: nearest_label(*sample_2d(name, _LABELLED_ROWS, _LABEL_SEED)) for name in plan.data
        }
        self._betas = [f"β = {beta:g}" for beta in plan.betas]

    def grids(self) -> list[Grid]:
        """Every figure, in the order of the page."""
        return [*self._comparison(), self._truth(), *(self._method(name) for name in self._plan.methods)]

    def _comparison(self) -> list[Grid]:
        """Figure 1: one set, methods below each other."""
        methods = [name for name in _COMPARED if name in self._plan.methods]
        if not methods:
            return []
        data = "8gaussians" if "8gaussians" in self._plan.data else self._plan.data[0]
        rows = [TRUTH, *methods]
        panels = [[*(self._panel(data, row, beta) for beta in self._plan.betas)] for row in rows]
        title = f"Figure 1. The truth p(x)·pᵝ(c = 1 | x) and samples of {', '.join(methods)} on {data}"
        return [Grid("figure1", title, rows, self._betas, panels)]

    def _truth(self) -> Grid:
        """Figure 2: exact samples, and the two posteriors."""
        panels = [
            [
                *(self._panel(data, TRUTH, beta) for beta in self._plan.betas),
                self._posterior(data, True),
                self._posterior(data, False),
            ]
            for data in self._plan.data
        ]
        columns = [*self._betas, "p(x | c = 1)", "p(x | c = 0)"]
        title = "Figure 2. The truth p(x)·pᵝ(c = 1 | x) and the class posteriors"
        return Grid("figure2-truth", title, self._plan.data, columns, panels)

    def _method(self, method: str) -> Grid:
        """Figure 3, for one method."""
        panels = [[self._panel(data, method, beta) for beta in self._plan.betas] for data in self._plan.data]
        title = f"Figure 3. {method}: {METHODS.find(method).description}"
        return Grid(f"figure3-{method}", title, self._plan.data, self._betas, panels)

    def _panel(self, data: str, method: str, beta: float) -> PointsPanel | None:
        cell = FigureCell(data, method, beta, 0)
        if cell not in self._numbers:
            return None
        arrays = read_cell(self._folder, cell)
        points = arrays["points"][: self._plan.points]
        if method == TRUTH:
            return PointsPanel(points, arrays["labels"][: self._plan.points])
        floor = self._numbers[cell._replace(method=TRUTH)]["floor"]
        note = f"{ratio_text(self._numbers[cell]['distance'] / floor)} ×"
        return PointsPanel(points, self._labels[data](points), note)

    def _posterior(self, data: str, in_class: bool) -> PointsPanel:
        points = sample_class(data, self._plan.points, in_class, _CLASS_SEED)
        return PointsPanel(points, self._labels[data](points))
