"""Classifier-free guidance (Ho & Salimans 2022): one network with and without the class.

With p(c | x) = exp(−E(x)) as in `classifier`, the score is (1 − β)·score p_t + β·score p_t(· | c): the same
as classifier guidance with a perfect classifier, and just as little the score of the tilt for β ≠ 1
(Lemma 4.10 of arXiv 2503.04975). For one Gaussian its law is known: `tiltflow.exact.classifier_free_law`.
The class of a row is drawn anew whenever the row is used, and hidden in a share of them.
"""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.flow import Flow, Generator, matching_loss, new_flow
from tiltflow.guidance.contract import DiffusionFitConfig, Outcome
from tiltflow.guidance.fit_loop import Trainer, columns_of, uniform_rows
from tiltflow.guidance.methods import register
from tiltflow.guidance.methods.classifier import class_probabilities, note_rare_class, strength
from tiltflow.guidance.outcome import generative
from tiltflow.guidance.problem import Problem
from tiltflow.optimize import Columns
from tiltflow.paths import Path
from tiltflow.settings import InnerFraction, Positive, Prediction

_CLASS_ENTRIES = 2


@dataclass(frozen=True)
class CFGConfig(DiffusionFitConfig):
    """Settings of cfg."""

    class_temperature: Positive = 1.0
    """τ of the class that is guided towards: p(c | x) = exp(−(E − min E)/τ)."""
    unconditional_share: InnerFraction = 0.2
    """Share of rows whose class is hidden from the network in training."""


def with_class(
    condition: Float[Array, "*batch c"] | None,
    in_class: Float[Array, "*batch"],
    shown: Float[Array, "*batch"],
) -> Float[Array, "*batch c"]:
    """The condition with two further entries: whether the class is shown, and the class where it is."""
    entries = jnp.stack([shown, shown * in_class], axis=-1)
    return entries if condition is None else jnp.concatenate([condition, entries], axis=-1)


@dataclass(frozen=True)
class ClassMatching:
    """Matching conditional on a drawn class that is hidden in a share of the rows."""

    hidden: float

    def __call__(self, model: Flow, batch: Columns, key: PRNGKeyArray) -> Float[Array, ""]:
        class_key, hide_key, key = jax.random.split(key, 3)
        labels = batch["labels"]
        in_class = jax.random.bernoulli(class_key, labels).astype(labels.dtype)
        shown = jax.random.bernoulli(hide_key, 1 - self.hidden, labels.shape).astype(labels.dtype)
        return matching_loss(model, key, batch["points"], with_class(batch.get("condition"), in_class, shown))


class ClassifierFree(Generator):
    """(1 − scale)·prediction without the class + scale·prediction with it."""

    base: Flow
    scale: Float[Array, ""]
    path: Path = eqx.field(static=True)

    def predict(
        self, want: Prediction, t: Array, x: Array, condition: Array | None = None
    ) -> Float[Array, "*batch d"]:
        """Every prediction is affine in the score with one shift in x: they all combine alike."""
        ones = jnp.ones(x.shape[:-1], x.dtype)
        without = self.base.predict(want, t, x, with_class(condition, ones, 0 * ones))
        given = self.base.predict(want, t, x, with_class(condition, ones, ones))
        return without + self.scale * (given - without)


def train_with_class(problem: Problem, config: CFGConfig, key: PRNGKeyArray, trainer: Trainer) -> Flow:
    """The network with and without the class."""
    init_key, key = jax.random.split(key)
    flow = new_flow(init_key, problem.size, problem.condition_size + _CLASS_ENTRIES, config)
    labels = class_probabilities(problem, config.class_temperature)
    columns = columns_of(problem) | {"labels": jnp.asarray(labels)}
    loss = ClassMatching(config.unconditional_share)
    return trainer.descend("generative model", flow, loss, columns, uniform_rows(problem), key)


def fit(
    problem: Problem,
    config: CFGConfig,
    key: PRNGKeyArray,
    trainer: Trainer,
    previous: ClassifierFree | None = None,
) -> Outcome:
    """One diffusion with and without the class, which serves every β."""
    flow = train_with_class(problem, config, key, trainer) if previous is None else previous.base
    note_rare_class(problem, config.class_temperature, trainer)
    scale = strength(problem, config.class_temperature)
    return generative(ClassifierFree(base=flow, scale=scale, path=flow.path), problem, config, networks=2)


register("cfg", CFGConfig(), fit, shares=True, uses_labels=True)
