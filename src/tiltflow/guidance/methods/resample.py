"""`resample`: rows of the data, in resampling.py."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tiltflow.guidance.contract import FitConfig, Method

if TYPE_CHECKING:
    from jaxtyping import PRNGKeyArray

    from tiltflow.guidance.fit_loop import Trainer
    from tiltflow.guidance.outcome import Outcome
    from tiltflow.guidance.problem import Problem


@dataclass(frozen=True)
class ResampleConfig(FitConfig):
    """Settings of resample: of the regression of E on a condition, where there is one."""


def fit(problem: "Problem", config: ResampleConfig, key: "PRNGKeyArray", trainer: "Trainer") -> "Outcome":
    """Nothing is trained."""
    from functools import partial

    from tiltflow.guidance.outcome import Outcome
    from tiltflow.guidance.resampling import sample_rows

    return Outcome(partial(sample_rows, problem), parameters=0, evaluations=0)


METHOD = Method(
    "resample",
    "rows of the data, drawn with probabilities ∝ exp(−βE): what the data can give",
    ResampleConfig(),
    fit,
    exact=True,
    new_points=False,
)
