"""The work of a group of cells: train, draw, measure, store, one after the other."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from tiltflow.datasets2d import class_posterior, sample_2d
from tiltflow.errors import TrainingDiverged
from tiltflow.figures2d.figure_plan import TRUTH, CellGroup, FigureCell, FigurePlan, plan_from
from tiltflow.figures2d.stopwatch import Stopwatch
from tiltflow.figures2d.store import write_cell
from tiltflow.figures2d.truth import energies, sample_truth
from tiltflow.guidance.fitted import Fitted
from tiltflow.guidance.fitting import fit_problem
from tiltflow.guidance.methods import METHODS
from tiltflow.guidance.problem import make_problem
from tiltflow.metrics import Estimate, sliced_wasserstein
from tiltflow.processes.executor import Send, failure
from tiltflow.processes.stopping import stopping_at_once

_REFERENCE_SEED, _EXACT_SEED = 1, 1000
"""Of the sample that distances are measured against, and of the first of the exact ones measured likewise."""
_EXACT_SAMPLES = 8
_DIRECTIONS = 64
_SPEED_POINTS = 10_000
"""Points that the seconds of sampling are given for."""
_Stored = tuple[dict[str, Any], dict[str, np.ndarray]]
"""Numbers and arrays of a cell."""


def compute_cells(send: Send, plan: dict[str, Any], group: Sequence[Any], folder: str) -> None:
    """The job of a `CellGroup`: compute and store its cells, and send what became of each."""
    whole, cells = plan_from(plan), CellGroup(*group).cells
    with stopping_at_once():
        learner = None if cells[0].method == TRUTH else _Learner(whole, cells[0])
        for cell in cells:
            failed = None
            try:
                numbers, arrays = _exact(whole, cell) if learner is None else _learned(whole, cell, learner)
                write_cell(Path(folder), cell, whole.settings(cell), numbers, arrays)
            except Exception as error:
                failed = failure(error)
            send({"event": "cell", "cell": cell, "failed": failed})


class _Learner:
    """Fits one method to one set at one β after the other, training what does not depend on β once."""

    def __init__(self, plan: FigurePlan, first: FigureCell):
        self._method, self._seed = first.method, first.seed
        self._rows = sample_2d(first.data, plan.train_rows, first.seed)
        config = METHODS.find(first.method).config
        self._config = config if plan.steps is None else replace(config, steps=plan.steps)
        self._previous: Fitted | None = None
        self._stopwatch = Stopwatch()

    def fit(self, beta: float) -> tuple[Fitted, float]:
        """The fitted method, and the seconds of its gradient steps, shared ones included."""
        points, labels = self._rows
        problem = make_problem(points, energies(labels), beta, labels=class_posterior(labels))
        fitted = fit_problem(self._method, problem, self._config, self._seed, self._stopwatch, self._previous)
        if fitted.method.declared.shares:
            self._previous = fitted
        return fitted, self._stopwatch.seconds


def _distance(
    plan: FigurePlan, cell: FigureCell, points: Float[np.ndarray, "n 2"], *, replicates: int = 100
) -> Estimate:
    """Sliced W₂ between the first `plan.samples` points and the truth of the cell's set and β.

    Against one and the same sample of the truth, twice as large, and along the same directions for every
    method, so that distances can be compared.
    """
    truth = sample_truth(cell.data, 2 * plan.samples, cell.beta, _REFERENCE_SEED)
    return sliced_wasserstein(
        jax.random.key(0),
        jnp.asarray(points[: plan.samples]),
        jnp.asarray(truth.points),
        num_projections=_DIRECTIONS,
        replicates=replicates,
    )


def _exact(plan: FigurePlan, cell: FigureCell) -> _Stored:
    """An exact sample for the figures, and the mean distance of several: the floor of every method."""
    samples = [
        sample_truth(cell.data, plan.drawn if number == 0 else plan.samples, cell.beta, _EXACT_SEED + number)
        for number in range(_EXACT_SAMPLES)
    ]
    distances = [_distance(plan, cell, sample.points, replicates=0).value for sample in samples]
    numbers = {"floor": float(np.mean(distances)), "floor_std": float(np.std(distances, ddof=1))}
    return numbers, samples[0]._asdict()


def _learned(plan: FigurePlan, cell: FigureCell, learner: _Learner) -> _Stored:
    """A sample of a method fitted to the cell's set and β, its distance and what it cost."""
    fitted, train_seconds = learner.fit(cell.beta)
    points = fitted.sample(plan.drawn, cell.seed)
    if not np.all(np.isfinite(points)):
        raise TrainingDiverged(
            f"Some of {cell.name}'s samples are not finite. Give more steps or a smaller β."
        )
    start = time.perf_counter()
    fitted.sample(plan.drawn, cell.seed)  # again: the first call may have compiled
    sample_seconds = time.perf_counter() - start
    estimate = _distance(plan, cell, points)
    numbers: dict[str, Any] = {
        "distance": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "effective_rows": fitted.problem.ess,
        "parameters": fitted.parameters,
        "evaluations": fitted.evaluations,
        "train_seconds": train_seconds,
        "sample_seconds": sample_seconds * _SPEED_POINTS / plan.drawn,
    }
    return numbers, {"points": points}
