"""What is to be computed: cells, and groups of cells that share a training. Standard library only."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

from tiltflow.errors import UserError, check_names
from tiltflow.guidance.methods import METHODS
from tiltflow.settings import SetName

TRUTH = "truth"
"""Stands for a method where a cell holds an exact sample."""


class FigureCell(NamedTuple):
    """One sample to draw and measure."""

    data: str
    method: str
    beta: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.data}-{self.method}-beta{self.beta:g}-seed{self.seed}"


class CellGroup(NamedTuple):
    """Cells of one set, method and seed that one process computes, one after the other."""

    data: str
    method: str
    seed: int
    betas: tuple[float, ...]

    @property
    def cells(self) -> list[FigureCell]:
        return [FigureCell(self.data, self.method, beta, self.seed) for beta in self.betas]


@dataclass(frozen=True)
class FigurePlan:
    """Which sets, methods, β and seeds, and how large everything is.

    Raises UserError for unknown names, values that occur twice or are out of range.
    """

    data: tuple[str, ...] = get_args(SetName)
    methods: tuple[str, ...] = tuple(METHODS)
    betas: tuple[float, ...] = (0.0, 3.0, 10.0, 20.0)
    seeds: int = 1
    steps: int | None = None
    """Gradient steps of each network; None leaves it to the method."""
    train_rows: int = 200_000
    samples: int = 10_000
    """Points of each sample whose distance is measured, against twice as many of the truth."""
    points: int = 2_000
    """Points of each panel of the figures."""

    def __post_init__(self) -> None:
        check_names("set", self.data, get_args(SetName))
        check_names("method", self.methods, METHODS.known())
        check_names("β", self.betas)
        for beta in self.betas:
            if not (math.isfinite(beta) and beta >= 0):
                raise UserError(f"β = {beta:g}: it must be finite and not negative.")
        for name, least in {"seeds": 1, "train_rows": 2, "samples": 2, "points": 1}.items():
            if getattr(self, name) < least:
                raise UserError(f"{name} = {getattr(self, name)}: it must be at least {least}.")
        if self.steps is not None and self.steps < 1:
            raise UserError(f"steps = {self.steps}: it must be at least 1.")

    def truths(self) -> list[FigureCell]:
        """The exact samples, one for each set and β."""
        return [FigureCell(data, TRUTH, beta, 0) for data in self.data for beta in self.betas]

    def cells(self) -> list[FigureCell]:
        """Every sample of a method, in the order of the table."""
        return [
            FigureCell(data, method, beta, seed)
            for data in self.data
            for method in self.methods
            for beta in self.betas
            for seed in range(self.seeds)
        ]

    def settings(self, cell: FigureCell) -> dict[str, Any]:
        """Everything that a cell's samples and distances depend on, in JSON."""
        common = {"format": 1, **cell._asdict(), "samples": self.samples, "drawn": self.drawn}
        if cell.method == TRUTH:
            return common
        return {**common, "steps": self.steps, "train_rows": self.train_rows}

    @property
    def drawn(self) -> int:
        """Points that a cell holds."""
        return max(self.samples, self.points)


def plan_from(settings: dict[str, Any]) -> FigurePlan:
    """The plan of `dataclasses.asdict`'s dict, also after a way through JSON."""
    lists = {name: tuple(settings[name]) for name in ("data", "methods", "betas")}
    return FigurePlan(**{**settings, **lists})


def group_cells(cells: list[FigureCell]) -> list[CellGroup]:
    """The groups in which cells are computed: all β where they share a training, else each alone."""
    together: dict[tuple, list[float]] = {}
    for cell in cells:
        shared = cell.method != TRUTH and METHODS.find(cell.method).declared.shares
        group = (cell.data, cell.method, cell.seed, None if shared else cell.beta)
        together.setdefault(group, []).append(cell.beta)
    groups = [
        CellGroup(data, method, seed, tuple(betas)) for (data, method, seed, _), betas in together.items()
    ]
    # Exact samples first: where one is out of reach, nothing has been trained for it. Then long groups, so
    # that no core is left alone with one at the end.
    return sorted(groups, key=lambda group: (group.method != TRUTH, -len(group.betas)))
