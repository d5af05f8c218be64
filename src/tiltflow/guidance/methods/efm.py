"""`efm`: energy-weighted flow matching, in energy_weighted.py."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tiltflow.guidance.contract import FlowFitConfig, Method, RowWeighting

if TYPE_CHECKING:
    from jaxtyping import PRNGKeyArray

    from tiltflow.guidance.fit_loop import Trainer
    from tiltflow.guidance.outcome import Outcome
    from tiltflow.guidance.problem import Problem


@dataclass(frozen=True)
class EFMConfig(RowWeighting, FlowFitConfig):
    """Settings of efm."""


def fit(problem: "Problem", config: EFMConfig, key: "PRNGKeyArray", trainer: "Trainer") -> "Outcome":
    """One generative model, of the tilt itself."""
    from tiltflow.guidance.energy_weighted import train_weighted
    from tiltflow.guidance.outcome import generative

    return generative(train_weighted(problem, config, key, trainer, config.weights), problem, config)


METHOD = Method(
    "efm",
    "energy-weighted flow matching on the optimal-transport path",
    EFMConfig(),
    fit,
    exact=True,
)
