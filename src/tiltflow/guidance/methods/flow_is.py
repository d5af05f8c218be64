"""`flow-is`: a flow of the data whose samples are drawn again by their energies, in importance.py."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tiltflow.guidance.contract import FlowFitConfig, Method
from tiltflow.settings import Count

if TYPE_CHECKING:
    from jaxtyping import PRNGKeyArray

    from tiltflow.flow import Flow
    from tiltflow.guidance.energies import PointEnergy
    from tiltflow.guidance.fit_loop import Trainer
    from tiltflow.guidance.outcome import Outcome
    from tiltflow.guidance.problem import Problem


@dataclass(frozen=True)
class FlowISConfig(FlowFitConfig):
    """Settings of flow-is."""

    pool: Count = 400_000
    """Points of the unguided model that are drawn at most, to choose samples from."""


def fit(
    problem: "Problem",
    config: FlowISConfig,
    key: "PRNGKeyArray",
    trainer: "Trainer",
    energy: "PointEnergy",
    previous: "Flow | None" = None,
) -> "Outcome":
    """A flow of the data, which serves every energy and β."""
    from tiltflow.guidance.energy_weighted import train_unguided
    from tiltflow.guidance.importance import sample_resampled
    from tiltflow.guidance.outcome import selective

    flow = train_unguided(problem, config, key, trainer) if previous is None else previous
    return selective(sample_resampled, flow, problem, config, energy)


METHOD = Method(
    "flow-is",
    "flow matching of the data, and samples of it drawn again with probabilities ∝ exp(−βE)",
    FlowISConfig(),
    fit,
    exact=True,
    shares=True,
    needs_energy=True,
)
