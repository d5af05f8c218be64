"""`cfg`: classifier-free guidance, in classifier_free.py."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tiltflow.guidance.contract import DiffusionFitConfig, Method
from tiltflow.settings import InnerFraction, Positive

if TYPE_CHECKING:
    from jaxtyping import PRNGKeyArray

    from tiltflow.guidance.classifier_free import ClassifierFree
    from tiltflow.guidance.fit_loop import Trainer
    from tiltflow.guidance.outcome import Outcome
    from tiltflow.guidance.problem import Problem


@dataclass(frozen=True)
class CFGConfig(DiffusionFitConfig):
    """Settings of cfg."""

    class_temperature: Positive = 1.0
    """τ of the class that is guided towards: p(c | x) = exp(−(E − min E)/τ)."""
    unconditional_share: InnerFraction = 0.2
    """Share of rows whose class is hidden from the network in training."""


def fit(
    problem: "Problem",
    config: CFGConfig,
    key: "PRNGKeyArray",
    trainer: "Trainer",
    previous: "ClassifierFree | None" = None,
) -> "Outcome":
    """One diffusion with and without the class, which serves every β."""
    from tiltflow.guidance.classifier import note_rare_class, strength
    from tiltflow.guidance.classifier_free import ClassifierFree, train_with_class
    from tiltflow.guidance.outcome import generative

    flow = train_with_class(problem, config, key, trainer) if previous is None else previous.base
    note_rare_class(problem, config.class_temperature, trainer)
    scale = strength(problem, config.class_temperature)
    return generative(ClassifierFree(base=flow, scale=scale, path=flow.path), problem, config, networks=2)


METHOD = Method(
    "cfg",
    "classifier-free guidance: diffusion conditional on a class with p(c | x) = exp(−E)",
    CFGConfig(),
    fit,
    exact=False,
    shares=True,
    uses_labels=True,
)
