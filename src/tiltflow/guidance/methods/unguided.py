"""`unguided`: a flow of the data, in energy_weighted.py."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tiltflow.guidance.contract import FlowFitConfig, Method

if TYPE_CHECKING:
    from jaxtyping import PRNGKeyArray

    from tiltflow.flow import Flow
    from tiltflow.guidance.fit_loop import Trainer
    from tiltflow.guidance.outcome import Outcome
    from tiltflow.guidance.problem import Problem


@dataclass(frozen=True)
class UnguidedConfig(FlowFitConfig):
    """Settings of unguided."""


def fit(
    problem: "Problem",
    config: UnguidedConfig,
    key: "PRNGKeyArray",
    trainer: "Trainer",
    previous: "Flow | None" = None,
) -> "Outcome":
    """One generative model, of p."""
    from tiltflow.guidance.energy_weighted import train_unguided
    from tiltflow.guidance.outcome import generative

    flow = train_unguided(problem, config, key, trainer) if previous is None else previous
    return generative(flow, problem, config)


METHOD = Method(
    "unguided",
    "flow matching of the data, whatever their energies",
    UnguidedConfig(),
    fit,
    exact=False,
    shares=True,
    tilts=False,
)
