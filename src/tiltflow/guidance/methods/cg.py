"""`cg`: classifier guidance, in classifier.py."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tiltflow.guidance.contract import DiffusionFitConfig, Method
from tiltflow.settings import Positive

if TYPE_CHECKING:
    from jaxtyping import PRNGKeyArray

    from tiltflow.guidance.fit_loop import Trainer
    from tiltflow.guidance.outcome import Outcome
    from tiltflow.guidance.problem import Problem
    from tiltflow.guidance.score_shift import Guided


@dataclass(frozen=True)
class CGConfig(DiffusionFitConfig):
    """Settings of cg."""

    class_temperature: Positive = 1.0
    """τ of the class that is guided towards: p(c | x) = exp(−(E − min E)/τ)."""


def fit(
    problem: "Problem",
    config: CGConfig,
    key: "PRNGKeyArray",
    trainer: "Trainer",
    previous: "Guided | None" = None,
) -> "Outcome":
    """An unguided diffusion and a classifier, which both serve every β."""
    import jax

    from tiltflow.guidance.classifier import note_rare_class, strength, train_classifier
    from tiltflow.guidance.energy_weighted import train_unguided
    from tiltflow.guidance.outcome import generative
    from tiltflow.guidance.score_shift import Guided

    base_key, init_key, class_key = jax.random.split(key, 3)
    if previous is None:
        base = train_unguided(problem, config, base_key, trainer)
        classifier = train_classifier(problem, config, init_key, class_key, trainer)
    else:
        base, classifier = previous.base, previous.potential
    note_rare_class(problem, config.class_temperature, trainer)
    scale = strength(problem, config.class_temperature)
    guided = Guided(base=base, potential=classifier, scale=scale, path=base.path)
    return generative(guided, problem, config, networks=2)


METHOD = Method(
    "cg",
    "classifier guidance: diffusion guided by a noise-conditional classifier of p(c | x) = exp(−E)",
    CGConfig(),
    fit,
    exact=False,
    auxiliary=True,
    shares=True,
    uses_labels=True,
)
