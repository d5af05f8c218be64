"""Resampling: rows of the data with probabilities ∝ exp(−βE). Exact, and never a new point.

The yardstick of every learned method: what the data themselves can give.
"""

from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from tiltflow.errors import UserError
from tiltflow.guidance.contract import FitConfig, Outcome
from tiltflow.guidance.effective_rows import resample_rows
from tiltflow.guidance.fit_loop import Trainer
from tiltflow.guidance.methods import register
from tiltflow.guidance.problem import Problem


@dataclass(frozen=True)
class ResampleConfig(FitConfig):
    """Settings of resample: of the regression of E on a condition, where there is one."""


def sample_rows(
    problem: Problem, key: PRNGKeyArray, n: int, condition: Float[np.ndarray, "n c"] | None
) -> Float[np.ndarray, "n d"]:
    """n rows of the data, of those with its condition. Raises UserError for a condition that no row has."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    if condition is None:
        return problem.points[resample_rows(rng, problem.weights, n)]
    drawn = np.empty((n, problem.size), np.float32)
    distinct, group = np.unique(condition, axis=0, return_inverse=True)
    for index, wanted in enumerate(distinct):
        assert problem.condition is not None
        rows = np.flatnonzero(np.all(problem.condition == wanted, axis=1))
        if not problem.weights[rows].sum() > 0:
            raise UserError(
                "No row of the data has one of these conditions and a weight: resample draws rows of exactly "
                "the condition that is asked for."
            )
        asked = np.flatnonzero(group.reshape(-1) == index)
        drawn[asked] = problem.points[rows[resample_rows(rng, problem.weights[rows], len(asked))]]
    return drawn


def fit(problem: Problem, config: ResampleConfig, key: PRNGKeyArray, trainer: Trainer) -> Outcome:
    """Nothing is trained."""
    return Outcome(partial(sample_rows, problem), parameters=0, evaluations=0)


register("resample", ResampleConfig(), fit, exact=True, new_points=False)
