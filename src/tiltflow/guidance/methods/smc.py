"""`smc`: particles of a flow of the data that are selected while they flow, in steering.py."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tiltflow.errors import UserError
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
class SMCConfig(FlowFitConfig):
    """Settings of smc. Raises UserError for dpm-solver++, which cannot start in the middle of a path."""

    num_steps: Count = 40
    pool: Count = 50_000
    """Particles: points of the unguided model that are on their way together."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.solver == "dpm-solver++":
            raise UserError(
                "solver = dpm-solver++ cannot start in the middle of a path: choose midpoint for smc."
            )


def fit(
    problem: "Problem",
    config: SMCConfig,
    key: "PRNGKeyArray",
    trainer: "Trainer",
    energy: "PointEnergy",
    previous: "Flow | None" = None,
) -> "Outcome":
    """A flow of the data, which serves every energy and β; each step also asks for its clean estimate."""
    from tiltflow.guidance.energy_weighted import train_unguided
    from tiltflow.guidance.outcome import selective
    from tiltflow.guidance.steering import sample_steered

    flow = train_unguided(problem, config, key, trainer) if previous is None else previous
    return selective(sample_steered, flow, problem, config, energy, more_evaluations=config.num_steps)


METHOD = Method(
    "smc",
    "flow matching of the data, and particles of it selected by exp(−βE) while they flow",
    SMCConfig(),
    fit,
    exact=True,
    shares=True,
    needs_energy=True,
)
