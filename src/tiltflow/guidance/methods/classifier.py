"""Classifier guidance (Dhariwal & Nichol 2021): diffusion plus the gradient of a noisy classifier.

With p(c | x) = exp(−E(x)) the tilt is p(x)·p(c | x)^β. The classifier learns E[p(c | data) | x_t], which is
p(c | x_t), and the score is score p_t + β·∇ log p(c | x_t). That is the score of the tilt's marginal for
β = 1 only: Lemma 4.10 of arXiv 2503.04975 has E[p(c | data)^β | x_t] where this has E[p(c | data) | x_t]^β.

Classes follow from the energies as p(c | x) = exp(−(E − min E)/τ), guided towards with the strength β·τ, so
that the tilt aimed at does not depend on τ (our choice); or they are given. Cross-entropy is taken with
the probability itself, which has the minimiser of drawn classes and less variance.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.guidance.contract import DiffusionFitConfig, Outcome
from tiltflow.guidance.fit_loop import Trainer, columns_of, uniform_rows
from tiltflow.guidance.methods import register
from tiltflow.guidance.methods.energy_weighted import train_unguided
from tiltflow.guidance.outcome import generative
from tiltflow.guidance.problem import Problem
from tiltflow.guidance.score_shift import Guided, Potential, init_potential
from tiltflow.optimize import Columns
from tiltflow.settings import Positive

_RARE = 0.01


@dataclass(frozen=True)
class CGConfig(DiffusionFitConfig):
    """Settings of cg."""

    class_temperature: Positive = 1.0
    """τ of the class that is guided towards: p(c | x) = exp(−(E − min E)/τ)."""


@dataclass(frozen=True)
class CrossEntropy:
    """Binary cross-entropy of the classifier, each row with a time of its own."""

    def __call__(self, model: Potential, batch: Columns, key: PRNGKeyArray) -> Float[Array, ""]:
        logit = model.noised_logit(key, batch["points"], batch.get("condition"))
        return jnp.mean(jax.nn.softplus(logit) - batch["labels"] * logit)


def class_probabilities(problem: Problem, temperature: float) -> Float[np.ndarray, " n"]:
    """p(c | x) of every row: the labels where they are given, else exp(−(E − min E)/τ)."""
    if problem.labels is not None:
        return problem.labels
    return np.exp(-problem.energies / np.float32(temperature))


def strength(problem: Problem, temperature: float) -> Float[Array, ""]:
    """The power of p(c | x) in the tilt: β·τ, or β where the labels are given."""
    return jnp.asarray(problem.beta * (1.0 if problem.labels is not None else temperature), jnp.float32)


def note_rare_class(problem: Problem, temperature: float, trainer: Trainer) -> None:
    """Warn where hardly any row is in the class."""
    share = float(np.mean(class_probabilities(problem, temperature)))
    if share < _RARE:
        trainer.notes.append(
            f"Only a share of {share:.2g} of the rows is in the class, p(c | x) = exp(−(E − min E)/τ): it is "
            f"learned from few. Raise class_temperature (τ = {temperature:g}) towards the energies' spread."
        )


def train_classifier(
    problem: Problem, config: CGConfig, init_key: PRNGKeyArray, key: PRNGKeyArray, trainer: Trainer
) -> Potential:
    """The classifier, of a network as large as the generative one."""
    sizes = problem.size, problem.condition_size
    start = init_potential(init_key, *sizes, config.network, config.path, classifier=True)
    labels = class_probabilities(problem, config.class_temperature)
    columns = columns_of(problem) | {"labels": jnp.asarray(labels)}
    return trainer.descend("classifier", start, CrossEntropy(), columns, uniform_rows(problem), key)


def fit(
    problem: Problem, config: CGConfig, key: PRNGKeyArray, trainer: Trainer, previous: Guided | None = None
) -> Outcome:
    """An unguided diffusion and a classifier, which both serve every β."""
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


register("cg", CGConfig(), fit, auxiliary=True, shares=True, uses_labels=True)
