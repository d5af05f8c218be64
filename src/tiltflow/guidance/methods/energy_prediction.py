"""Contrastive energy prediction (CEP, arXiv 2304.12824): guidance by a learned intermediate energy.

q_t(x) ∝ p_t(x)·exp(−E_t(x)) with exp(−E_t(x)) = E[exp(−βE(data)) | x_t = x], so that the score of q_t is that
of an unguided diffusion minus ∇E_t. The energy network f learns −E_t up to a constant of each time by
    L_CEP = −E [ Σ_i w_i·log softmax_i f(x_t^i, t) ],   w_i ∝ exp(−βE(data^i)) over a batch of one time t.
`contrast="mse"`, |f + βE|², learns E[−βE | x_t] instead and is not exact; `contrast="emse"`,
|exp f − exp(−β(E − min E))|², has the exact minimiser. Both are in CEP's public code.

Departs from the paper:
- w is normalised over the data set, with which any number of rows has the exact minimiser; the published
  softmax over the batch is `weights="batch"`. With `weights="sampled"` (the default) half of a batch is
  drawn in proportion to w and each of its rows contrasted with the other half, drawn from p: the same
  loss, its sum over i taken by sampling, with less variance.
- A batch is contrasted in groups of one time each, so that a step sees several times. The network's
  parametrisation (see Potential), sizes and learning rates are ours.
- With conditions, rows of different conditions are contrasted with each other, which has the same minimiser
  as support points of one condition.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.errors import UserError
from tiltflow.guidance.contract import DiffusionFitConfig, Outcome, RowWeighting
from tiltflow.guidance.fit_loop import Loss, Trainer, columns_of, random_rows, uniform_rows, weighted_rows
from tiltflow.guidance.methods import register
from tiltflow.guidance.methods.energy_weighted import train_unguided
from tiltflow.guidance.outcome import generative
from tiltflow.guidance.problem import Problem
from tiltflow.guidance.score_shift import Guided, Potential, init_potential
from tiltflow.optimize import Columns
from tiltflow.paths import interpolate
from tiltflow.settings import Contrast

_TIMES = 4
_LARGEST_EXPONENT = 4.0
_LARGEST_UNIT = 1.0


@dataclass(frozen=True)
class CEPConfig(RowWeighting, DiffusionFitConfig):
    """Settings of cep."""

    contrast: Contrast = "contrastive"
    """Loss of the energy network; mse is not exact."""


def contrast(f: Float[Array, "groups rows"], weights: Float[Array, "groups rows"]) -> Float[Array, ""]:
    """−Σ_i w_i·log softmax_i f in each group, the mean of rows and groups."""
    return -jnp.mean(weights * jax.nn.log_softmax(f, axis=1))


@dataclass(frozen=True)
class Contrastive:
    """L_CEP, with the weights as factors."""

    over_batch: bool

    def __call__(self, model: Potential, batch: Columns, key: PRNGKeyArray) -> Float[Array, ""]:
        f = _grouped(model, batch["points"], batch.get("condition"), key)
        weights = batch["weights"].reshape(f.shape)
        if self.over_batch:
            tiny = jnp.finfo(weights.dtype).tiny
            weights = weights / jnp.maximum(jnp.mean(weights, axis=1, keepdims=True), tiny)
        return contrast(f, weights)


@dataclass(frozen=True)
class SampledContrastive:
    """L_CEP, with the weights as the chance to be drawn: a row of q among rows of p, at one time each."""

    def __call__(self, model: Potential, batch: Columns, key: PRNGKeyArray) -> Float[Array, ""]:
        tilted = _grouped(model, batch["points"], batch.get("condition"), key)
        others_key = jax.random.fold_in(key, 1)
        others = _grouped(model, batch["p_points"], batch.get("p_condition"), key, noise_key=others_key)
        rest = jax.nn.logsumexp(others, axis=1, keepdims=True)
        return jnp.mean(jnp.logaddexp(tilted, rest) - tilted)


@dataclass(frozen=True)
class Regression:
    """The mean squared error of f, or of exp f, each row with a time of its own."""

    exponential: bool

    def __call__(self, model: Potential, batch: Columns, key: PRNGKeyArray) -> Float[Array, ""]:
        energies = batch["energies"]
        f = model.noised_logit(key, batch["points"], batch.get("condition"))
        if self.exponential:
            return jnp.mean((jnp.exp(jnp.minimum(f, _LARGEST_EXPONENT)) - jnp.exp(-energies)) ** 2)
        return jnp.mean((f + energies) ** 2)


def _grouped(
    model: Potential,
    points: Float[Array, "n d"],
    condition: Float[Array, "n c"] | None,
    key: PRNGKeyArray,
    noise_key: PRNGKeyArray | None = None,
) -> Float[Array, "groups rows"]:
    """f at the noised points, in groups of one time each; the times follow from `key` alone."""
    n = len(points)
    groups = _TIMES if n % _TIMES == 0 and n >= 8 * _TIMES else 1
    t = jax.random.uniform(key, (groups,), minval=model.path.start, maxval=model.path.end)
    t = jnp.repeat(t, n // groups)
    noise = jax.random.normal(jax.random.fold_in(key, 0) if noise_key is None else noise_key, points.shape)
    return model.logit(t, interpolate(model.path, points, noise, t), condition).reshape(groups, -1)


def train_energy(
    problem: Problem, config: CEPConfig, init_key: PRNGKeyArray, key: PRNGKeyArray, trainer: Trainer
) -> Potential:
    """The energy network; at β = 0 its unit is 0, and it guides nowhere. Raises UserError for mse with +∞."""
    energies = problem.beta * problem.energies
    if config.contrast == "mse" and not np.all(np.isfinite(energies)):
        raise UserError("contrast = mse needs finite energies; contrastive and emse also take +∞.")
    unit = float(min(np.std(energies[np.isfinite(energies)], dtype=np.float64), _LARGEST_UNIT))
    sizes = problem.size, problem.condition_size
    start = init_potential(init_key, *sizes, config.network, config.path, unit=unit)
    columns = columns_of(problem)
    rows = uniform_rows(problem)
    batch_size = config.batch_size
    loss: Loss
    if config.contrast != "contrastive":
        loss = Regression(exponential=config.contrast == "emse")
        columns["energies"] = jnp.asarray(energies)
    elif config.weights == "sampled":
        loss = SampledContrastive()
        rows = {"": weighted_rows(problem, seed=0), "p_": random_rows(problem, seed=0)}
        batch_size = max(1, batch_size // 2)
    else:
        loss = Contrastive(config.weights == "batch")
        columns["weights"] = jnp.asarray(problem.weights)
    potential = trainer.descend("energy network", start, loss, columns, rows, key, batch_size=batch_size)
    trainer.notes.append(_error_note(potential, problem))
    return potential


def _error_note(potential: Potential, problem: Problem) -> str:
    """How well the network knows the energy at the data, where it is given."""
    known = np.isfinite(problem.energies)
    rows = np.flatnonzero(known)[:: max(1, int(known.sum()) // 10_000)]
    condition = None if problem.condition is None else jnp.asarray(problem.condition[rows])
    t = jnp.full(len(rows), potential.path.end)
    f = np.asarray(potential.logit(t, jnp.asarray(problem.points[rows]), condition), np.float64)
    truth = -problem.beta * problem.energies[rows].astype(np.float64)
    weights = problem.weights[rows].astype(np.float64)
    weights = weights / weights.sum() if weights.sum() > 0 else np.full(len(rows), 1 / len(rows))
    error = f - truth
    error = np.sqrt(weights @ (error - weights @ error) ** 2)
    return (
        f"A second network was fitted for the energy. At the tilted data its error is {error:.3g} in βE "
        f"(root mean square up to a constant), whose spread over the data is {np.std(truth):.3g}."
    )


def fit(
    problem: Problem, config: CEPConfig, key: PRNGKeyArray, trainer: Trainer, previous: Guided | None = None
) -> Outcome:
    """An unguided diffusion, which serves every β, and the energy network of this one."""
    base_key, init_key, energy_key = jax.random.split(key, 3)
    base = train_unguided(problem, config, base_key, trainer) if previous is None else previous.base
    potential = train_energy(problem, config, init_key, energy_key, trainer)
    guided = Guided(base=base, potential=potential, scale=jnp.ones(()), path=base.path)
    return generative(guided, problem, config, networks=2)


register("cep", CEPConfig(), fit, exact=True, auxiliary=True, shares=True)
