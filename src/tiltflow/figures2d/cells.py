"""The work of one job: train, draw, measure, store, one cell after the other."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from tiltflow.datasets2d import class_posterior, sample_2d
from tiltflow.errors import TrainingDiverged
from tiltflow.figures2d.plan import SHARING, TRUTH, Cell, Job, Plan
from tiltflow.figures2d.stopwatch import Stopwatch
from tiltflow.figures2d.store import write_cell
from tiltflow.figures2d.truth import energies, sample_truth
from tiltflow.guidance.configs import METHODS
from tiltflow.guidance.fitting import fit_problem
from tiltflow.guidance.problem import Fitted, make_problem
from tiltflow.metrics import Estimate, sliced_wasserstein

REFERENCE_SEED, EXACT_SEED = 1, 1000
"""Of the sample that distances are measured against, and of the first of the exact ones measured likewise."""
EXACT_SAMPLES = 8
DIRECTIONS = 64
SPEED_POINTS = 10_000
"""Points that the seconds of sampling are given for."""


def run_job(plan: Plan, job: Job, folder: Path) -> Iterator[tuple[Cell, Exception | None]]:
    """Compute and store the cells of a job; yields each as it is done, with the error where it failed."""
    if job.method == TRUTH:
        for cell in job.cells:
            yield cell, _attempt(lambda cell=cell: _exact_cell(plan, cell, folder))
        return
    learner = Learner(plan, job)
    for cell in job.cells:
        yield cell, _attempt(lambda cell=cell: _method_cell(plan, cell, learner, folder))


class Learner:
    """Fits one method to one set at one β after the other, training what does not depend on β once."""

    def __init__(self, plan: Plan, job: Job):
        self._job = job
        self._rows = sample_2d(job.data, plan.train_rows, job.seed)
        config = METHODS[job.method].config
        self._config = config if plan.steps is None else replace(config, steps=plan.steps)
        self._previous: Fitted | None = None
        self._stopwatch = Stopwatch()

    def fit(self, beta: float) -> tuple[Fitted, float]:
        """The fitted method, and the seconds of its gradient steps, shared ones included."""
        points, labels = self._rows
        problem = make_problem(points, energies(labels), beta, labels=class_posterior(labels))
        method, seed = self._job.method, self._job.seed
        fitted = fit_problem(method, problem, self._config, seed, self._stopwatch, self._previous)
        if method in SHARING:
            self._previous = fitted
        return fitted, self._stopwatch.seconds


def distance(plan: Plan, cell: Cell, points: Float[np.ndarray, "n 2"], *, replicates: int = 100) -> Estimate:
    """Sliced W₂ between the first `plan.samples` points and the truth of the cell's set and β.

    Against one and the same sample of the truth, twice as large, and along the same directions for every
    method, so that distances can be compared.
    """
    truth = sample_truth(cell.data, 2 * plan.samples, cell.beta, REFERENCE_SEED)
    return sliced_wasserstein(
        jax.random.key(0),
        jnp.asarray(points[: plan.samples]),
        jnp.asarray(truth.points),
        num_projections=DIRECTIONS,
        replicates=replicates,
    )


def _exact_cell(plan: Plan, cell: Cell, folder: Path) -> None:
    """An exact sample for the figures, and the mean distance of several: the floor of every method."""
    samples = [
        sample_truth(cell.data, plan.drawn if number == 0 else plan.samples, cell.beta, EXACT_SEED + number)
        for number in range(EXACT_SAMPLES)
    ]
    distances = [distance(plan, cell, sample.points, replicates=0).value for sample in samples]
    numbers = {"floor": float(np.mean(distances)), "floor_std": float(np.std(distances, ddof=1))}
    write_cell(folder, cell, plan.settings(cell), numbers, samples[0]._asdict())


def _method_cell(plan: Plan, cell: Cell, learner: Learner, folder: Path) -> None:
    fitted, train_seconds = learner.fit(cell.beta)
    points = fitted.sample(plan.drawn, cell.seed)
    if not np.all(np.isfinite(points)):
        raise TrainingDiverged(
            f"Some of {cell.name}'s samples are not finite. Give more steps or a smaller β."
        )
    start = time.perf_counter()
    fitted.sample(plan.drawn, cell.seed)  # again: the first call may have compiled
    sample_seconds = time.perf_counter() - start
    estimate = distance(plan, cell, points)
    numbers: dict[str, Any] = {
        "distance": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "effective_rows": fitted.problem.ess,
        "parameters": fitted.parameters,
        "evaluations": fitted.evaluations,
        "train_seconds": train_seconds,
        "sample_seconds": sample_seconds * SPEED_POINTS / plan.drawn,
    }
    write_cell(folder, cell, plan.settings(cell), numbers, {"points": points})


def _attempt(work: Any) -> Exception | None:
    try:
        work()
    except Exception as error:
        return error
    return None
