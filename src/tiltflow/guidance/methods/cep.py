"""`cep`: a diffusion guided by a learned intermediate energy, in energy_prediction.py."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tiltflow.guidance.contract import DiffusionFitConfig, Method, RowWeighting
from tiltflow.settings import Contrast

if TYPE_CHECKING:
    from jaxtyping import PRNGKeyArray

    from tiltflow.guidance.fit_loop import Trainer
    from tiltflow.guidance.outcome import Outcome
    from tiltflow.guidance.problem import Problem
    from tiltflow.guidance.score_shift import Guided


@dataclass(frozen=True)
class CEPConfig(RowWeighting, DiffusionFitConfig):
    """Settings of cep."""

    contrast: Contrast = "contrastive"
    """Loss of the energy network; mse is not exact."""


def fit(
    problem: "Problem",
    config: CEPConfig,
    key: "PRNGKeyArray",
    trainer: "Trainer",
    previous: "Guided | None" = None,
) -> "Outcome":
    """An unguided diffusion, which serves every β, and the energy network of this one."""
    import jax
    import jax.numpy as jnp

    from tiltflow.guidance.energy_prediction import train_energy
    from tiltflow.guidance.energy_weighted import train_unguided
    from tiltflow.guidance.outcome import generative
    from tiltflow.guidance.score_shift import Guided

    base_key, init_key, energy_key = jax.random.split(key, 3)
    base = train_unguided(problem, config, base_key, trainer) if previous is None else previous.base
    potential = train_energy(problem, config, init_key, energy_key, trainer)
    guided = Guided(base=base, potential=potential, scale=jnp.ones(()), path=base.path)
    return generative(guided, problem, config, networks=2)


METHOD = Method(
    "cep",
    "contrastive energy prediction: diffusion guided by a learned intermediate energy",
    CEPConfig(),
    fit,
    exact=True,
    auxiliary=True,
    shares=True,
)
