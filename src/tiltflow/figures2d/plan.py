"""What is to be computed: cells, and jobs of cells that share a training. Standard library only."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

from tiltflow.errors import UserError, nearest
from tiltflow.guidance.methods import METHODS, find_method
from tiltflow.settings import SetName

TRUTH = "truth"
"""Stands for a method where a cell holds an exact sample."""


class Cell(NamedTuple):
    """One sample to draw and measure."""

    data: str
    method: str
    beta: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.data}-{self.method}-beta{self.beta:g}-seed{self.seed}"


class Job(NamedTuple):
    """Cells of one set, method and seed that one process computes, one after the other."""

    data: str
    method: str
    seed: int
    betas: tuple[float, ...]

    @property
    def cells(self) -> list[Cell]:
        return [Cell(self.data, self.method, beta, self.seed) for beta in self.betas]


@dataclass(frozen=True)
class Plan:
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
        _check_names("set", self.data, get_args(SetName))
        _check_names("method", self.methods)
        for name in self.methods:
            find_method(name)
        _check_names("β", self.betas)
        for beta in self.betas:
            if not (math.isfinite(beta) and beta >= 0):
                raise UserError(f"β = {beta:g}: it must be finite and not negative.")
        for name, least in {"seeds": 1, "train_rows": 2, "samples": 2, "points": 1}.items():
            if getattr(self, name) < least:
                raise UserError(f"{name} = {getattr(self, name)}: it must be at least {least}.")
        if self.steps is not None and self.steps < 1:
            raise UserError(f"steps = {self.steps}: it must be at least 1.")

    def truths(self) -> list[Cell]:
        """The exact samples, one for each set and β."""
        return [Cell(data, TRUTH, beta, 0) for data in self.data for beta in self.betas]

    def cells(self) -> list[Cell]:
        """Every sample of a method, in the order of the table."""
        return [
            Cell(data, method, beta, seed)
            for data in self.data
            for method in self.methods
            for beta in self.betas
            for seed in range(self.seeds)
        ]

    def settings(self, cell: Cell) -> dict[str, Any]:
        """Everything that a cell's samples and distances depend on, in JSON."""
        common = {"format": 1, **cell._asdict(), "samples": self.samples, "drawn": self.drawn}
        if cell.method == TRUTH:
            return common
        return {**common, "steps": self.steps, "train_rows": self.train_rows}

    @property
    def drawn(self) -> int:
        """Points that a cell holds."""
        return max(self.samples, self.points)


def plan_from(settings: dict[str, Any]) -> Plan:
    """The plan of `dataclasses.asdict`'s dict, also after a way through JSON."""
    lists = {name: tuple(settings[name]) for name in ("data", "methods", "betas")}
    return Plan(**{**settings, **lists})


def jobs(missing: list[Cell]) -> Iterator[Job]:
    """The jobs of these cells: one for all β where a training is shared between them, else one for each."""
    together: dict[tuple, list[float]] = {}
    for cell in missing:
        shared = cell.method != TRUTH and METHODS[cell.method].shares
        group = (cell.data, cell.method, cell.seed, None if shared else cell.beta)
        together.setdefault(group, []).append(cell.beta)
    # Long jobs first, so that no core is left alone with one at the end.
    for (data, method, seed, _), betas in sorted(together.items(), key=lambda item: -len(item[1])):
        yield Job(data, method, seed, tuple(betas))


def _check_names(what: str, given: tuple, known: tuple | None = None) -> None:
    if not given:
        raise UserError(f"No {what} was given: name at least one.")
    for name in given:
        if known is not None and name not in known:
            raise UserError(f"There is no {what} {name!r}.{nearest(name, known)} Known: {', '.join(known)}.")
        if given.count(name) > 1:
            raise UserError(f"{what} {name} is given twice: name each once.")
