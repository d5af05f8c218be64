"""`flowq`: FlowQ's guided paths and velocities, in guided_matching.py and guided_paths.py."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tiltflow.errors import UserError
from tiltflow.guidance.contract import FlowFitConfig, Method
from tiltflow.settings import Count, FitReading, Fraction, NonNegative, ScheduleName, VelocityFactor

if TYPE_CHECKING:
    from jaxtyping import PRNGKeyArray

    from tiltflow.flow import Flow
    from tiltflow.guidance.energies import PointEnergy
    from tiltflow.guidance.fit_loop import Trainer
    from tiltflow.guidance.outcome import Outcome
    from tiltflow.guidance.problem import Problem


@dataclass(frozen=True)
class FlowQFitConfig(FlowFitConfig):
    """Settings of flowq. Raises UserError for another path or prediction, or a path's learned schedule."""

    reading: FitReading = "velocity"
    """What is guided: the path, displaced against ∇E of the mean, or the velocity, by ∇E of the point."""
    schedule: ScheduleName = "learned"
    """h(t): t, t², t²/(1 − t) with t up to 1 − 1/num_steps, or learned (reading = velocity)."""
    velocity_factor: VelocityFactor = "score"
    """Factor of ∇E in the velocity: h(t)·(1 − t)/t, by which the score is guided by h(t), or h(t)."""
    hessian: bool = True
    """Whether the path takes the change of ∇E along it into its velocity (reading = path)."""
    displacement: NonNegative = 1.0
    """Size of the displacement at h = 1, in units of β·∇E (reading = path)."""
    sigma: Fraction = 0.1
    """Standard deviation of the points around the displaced mean (reading = path), in units of the data's."""
    anneal: Count = 1
    """Steps in which β is reached, each tilting samples of the one before."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path != "ot" or self.prediction != "velocity":
            raise UserError("flowq is defined on the path ot with the prediction velocity.")
        if self.reading == "path" and self.schedule == "learned":
            raise UserError(
                "schedule = learned needs reading = velocity: no schedule of a displaced path moves mass "
                "between modes, so there is nothing to fit it to. Choose linear, quadratic or rational."
            )


def fit(
    problem: "Problem", config: FlowQFitConfig, key: "PRNGKeyArray", trainer: "Trainer", energy: "PointEnergy"
) -> "Outcome":
    """One guided flow in each step of annealing; at β = 0 plain matching of the data."""
    from tiltflow.guidance.annealing import anneal
    from tiltflow.guidance.energy_weighted import train_unguided
    from tiltflow.guidance.guided_matching import train_guided
    from tiltflow.guidance.outcome import generative

    if problem.beta == 0:
        return generative(train_unguided(problem, config, key, trainer), problem, config)

    def step(now: "Problem", key: "PRNGKeyArray", which: str) -> "Flow":
        return train_guided(now, config, key, trainer, energy, which)

    flow = anneal(problem, energy, config, config.anneal, key, step)
    trainer.notes.append(
        "flowq does not sample the tilt p·exp(−βE) itself, whatever its schedule: compare with efm."
    )
    return generative(flow, problem, config)


METHOD = Method(
    "flowq",
    "flow matching guided by the gradient of the energy, in the manner of FlowQ",
    FlowQFitConfig(),
    fit,
    exact=False,
    auxiliary=True,
    needs_energy=True,
)
