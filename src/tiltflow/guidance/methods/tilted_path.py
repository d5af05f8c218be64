"""`tilted-path`: energy weighting of points moved down the energy, in proposals.py."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tiltflow.guidance.contract import FlowFitConfig, Method, RowWeighting
from tiltflow.settings import Count, Fraction

if TYPE_CHECKING:
    from jaxtyping import PRNGKeyArray

    from tiltflow.flow import Flow
    from tiltflow.guidance.energies import PointEnergy
    from tiltflow.guidance.fit_loop import Trainer
    from tiltflow.guidance.outcome import Outcome
    from tiltflow.guidance.problem import Problem


@dataclass(frozen=True)
class TiltedPathConfig(RowWeighting, FlowFitConfig):
    """Settings of tilted-path."""

    sigma: Fraction = 0.1
    """Standard deviation of the proposals around the data, in units of the data's."""
    anneal: Count = 1
    """Steps in which β is reached, each tilting samples of the one before."""


def fit(
    problem: "Problem",
    config: TiltedPathConfig,
    key: "PRNGKeyArray",
    trainer: "Trainer",
    energy: "PointEnergy",
) -> "Outcome":
    """One weighted model of displaced points in each step of annealing; at β = 0 one of the data."""
    import jax

    from tiltflow.guidance.annealing import anneal
    from tiltflow.guidance.energy_weighted import train_unguided, train_weighted
    from tiltflow.guidance.outcome import generative
    from tiltflow.guidance.proposals import displaced_problem

    if problem.beta == 0:
        return generative(train_unguided(problem, config, key, trainer), problem, config)
    sizes: list[str] = []

    def step(now: "Problem", key: "PRNGKeyArray", which: str) -> "Flow":
        propose_key, key = jax.random.split(key)
        moved = displaced_problem(now, energy, config.sigma, propose_key)
        share, plain = moved.ess / len(moved.points), now.ess / len(now.points)
        sizes.append(f"{share:.2%}, without displacement {plain:.2%}")
        return train_weighted(moved, config, key, trainer, config.weights, which)

    flow = anneal(problem, energy, config, config.anneal, key, step)
    trainer.notes.append(f"Effective share of the proposals: {'; then '.join(sizes)}.")
    return generative(flow, problem, config)


METHOD = Method(
    "tilted-path",
    "energy-weighted flow matching on points moved down the energy, with exact weights",
    TiltedPathConfig(),
    fit,
    exact=True,
    auxiliary=True,
    needs_energy=True,
)
