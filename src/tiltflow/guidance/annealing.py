"""β reached in several steps, each tilting samples of the model before it: QIPO's iteration, for any data.

q_j ∝ q_{j−1}·exp(−(β/k)·E), j = 1 … k, q_0 = p: exact at every step when a model is, and each step has the
effective sample size of β/k in the place of β's. The price is that a step inherits the errors of the last.
"""

from collections.abc import Callable
from dataclasses import replace

import jax
import numpy as np
from jaxtyping import Bool, Float, PRNGKeyArray
from scipy.spatial import cKDTree

from tiltflow.flow import Flow
from tiltflow.guidance.contract import FlowFitConfig
from tiltflow.guidance.effective_rows import row_weights
from tiltflow.guidance.energies import PointEnergy, energies_at
from tiltflow.guidance.outcome import draw_points
from tiltflow.guidance.problem import Problem

Step = Callable[[Problem, PRNGKeyArray, str], Flow]
"""Train one tilt of a problem; the text says which of them it is, for the progress display."""


def anneal(
    problem: Problem, energy: PointEnergy, config: FlowFitConfig, count: int, key: PRNGKeyArray, step: Step
) -> Flow:
    """The model of the last of `count` steps; one step is `step` itself.

    Every step trains on as many points as the data have, each with `config.steps` gradient steps.
    """
    if count == 1:
        return step(problem, key, "")
    now = _at(problem, problem.beta / count)
    for number in range(1, count + 1):
        step_key, draw_key = jax.random.split(jax.random.fold_in(key, number))
        flow = step(now, step_key, f", β {number}/{count}")
        if number < count:
            n = len(problem.points)
            points = draw_points(flow, problem.size, config, draw_key, n, problem.condition)
            energies = energies_at(energy, points, problem.condition)
            if problem.energy is not None and problem.level is not None:
                energies = energies - problem.level
            energies = np.where(_excluded(problem, points), np.inf, energies)
            now = _at(replace(now, points=points, energies=energies), now.beta)
    return flow


def _excluded(problem: Problem, points: Float[np.ndarray, "n d"]) -> Bool[np.ndarray, " n"]:
    """Whether a point lies nearer to a row of the data with an energy of +∞ than to any other.

    A fitted energy knows nothing of these rows, and would let them in again after the first step.
    """
    infinite = np.isposinf(problem.energies)
    if not infinite.any() or problem.energy is not None:
        return np.zeros(len(points), bool)
    _, nearest = cKDTree(problem.points).query(points)
    return infinite[nearest]


def _at(problem: Problem, beta: float) -> Problem:
    return replace(problem, beta=beta, weights=row_weights(problem.energies, beta))
