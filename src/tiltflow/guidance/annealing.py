"""β reached in several steps, each tilting samples of the model before it: QIPO's iteration, for any data.

q_j ∝ q_{j−1}·exp(−(β/k)·E), j = 1 … k, q_0 = p: exact at every step when a model is, and each step has the
effective sample size of β/k in the place of β's. The price is that a step inherits the errors of the last.
"""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, PRNGKeyArray
from scipy.spatial import cKDTree

from tiltflow.flow import Flow
from tiltflow.guidance.configs import FitConfig
from tiltflow.guidance.energies import Energy, evaluate
from tiltflow.guidance.problem import Problem
from tiltflow.guidance.sampling import draw
from tiltflow.tilting import tilt_weights

Step = Callable[[Problem, PRNGKeyArray, str], Flow]
"""Train one tilt of a problem; the text says which of them it is, for the progress display."""


def anneal(problem: Problem, energy: Energy, config: FitConfig, key: PRNGKeyArray, step: Step) -> Flow:
    """The model of the last of `config.anneal` steps; one step is `step` itself.

    Every step trains on as many points as the data have, each with `config.steps` gradient steps.
    """
    count = config.anneal
    if count == 1:
        return step(problem, key, "")
    now = _at(problem, problem.beta / count)
    for number in range(1, count + 1):
        step_key, draw_key = jax.random.split(jax.random.fold_in(key, number))
        flow = step(now, step_key, f", β {number}/{count}")
        if number < count:
            points = draw(
                flow, problem.points.shape[1], config, draw_key, len(problem.points), problem.condition
            )
            energies = evaluate(energy, points, problem.condition)
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
    weights = np.asarray(tilt_weights(jnp.asarray(problem.energies), beta))
    return replace(problem, beta=beta, weights=weights)
