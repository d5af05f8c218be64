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

from tiltflow.guidance.configs import FitConfig, Method
from tiltflow.guidance.energy_weighted import columns_of, train_unguided
from tiltflow.guidance.fit_loop import Progress, descend, uniform_rows
from tiltflow.guidance.problem import Problem
from tiltflow.guidance.sampling import Outcome, outcome, with_notes
from tiltflow.guidance.score_shift import Guided, Potential, init_potential
from tiltflow.optimize import Columns
from tiltflow.paths import PATHS

RARE = 0.01


@dataclass(frozen=True)
class CrossEntropy:
    """Binary cross-entropy of the classifier, each row with a time of its own."""

    def __call__(self, model: Potential, batch: Columns, key: PRNGKeyArray) -> Float[Array, ""]:
        logit = model.noised_logit(key, batch["points"], batch.get("condition"))
        return jnp.mean(jax.nn.softplus(logit) - batch["labels"] * logit)


def class_probabilities(problem: Problem, config: FitConfig) -> Float[np.ndarray, " n"]:
    """p(c | x) of every row: the labels where they are given, else exp(−(E − min E)/τ)."""
    if problem.labels is not None:
        return problem.labels
    return np.exp(-problem.energies / np.float32(config.class_temperature))


def strength(problem: Problem, config: FitConfig) -> float:
    """The power of p(c | x) in the tilt: β·τ, or β where the labels are given."""
    return problem.beta * (1.0 if problem.labels is not None else config.class_temperature)


def rare_note(problem: Problem, config: FitConfig) -> str | None:
    """A warning where hardly any row is in the class."""
    share = float(np.mean(class_probabilities(problem, config)))
    if share >= RARE:
        return None
    return (
        f"Only a share of {share:.2g} of the rows is in the class, p(c | x) = exp(−(E − min E)/τ): it is "
        "learned from few. Raise class_temperature "
        f"(τ = {config.class_temperature:g}) towards the energies' spread."
    )


def train(
    method: Method,
    problem: Problem,
    config: FitConfig,
    key: PRNGKeyArray,
    progress: Progress,
    previous: Guided | None = None,
) -> Outcome:
    """Fit `cg`: an unguided generative model, then the classifier.

    Neither depends on β: both are taken from `previous` if given.
    """
    base_key, init_key, class_key = jax.random.split(key, 3)
    networks = {}
    if previous is None:
        base, networks["generative model"] = train_unguided(problem, config, base_key, progress)
        classifier = init_potential(init_key, problem, config, 1.0, classifier=True)
        columns = columns_of(problem) | {"labels": jnp.asarray(class_probabilities(problem, config))}
        rows = uniform_rows(problem)
        classifier, networks["classifier"] = descend(
            classifier, CrossEntropy(), columns, rows, config, class_key, progress, "classifier"
        )
    else:
        base, classifier = previous.base, previous.potential
    scale = jnp.asarray(strength(problem, config), jnp.float32)
    guided = Guided(base=base, potential=classifier, scale=scale, path=PATHS[config.path])
    done = outcome(guided, problem.points.shape[1], config, networks, networks=2)
    return with_notes(done, rare_note(problem, config))
