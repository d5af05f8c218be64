"""The level of the energy at each condition, which a conditional tilt does not depend on.

q(x | c) ∝ p(x | c)·exp(−βE(x, c)) ∝ p(x | c)·exp(−β(E(x, c) − b(c))) for every b: a factor of the condition
alone leaves the conditional law as it is. What b changes is how the weights are spread over the conditions:
without it, those at which E is low everywhere carry the fit, and the model of the others is hardly trained.
Here b(c) ≈ E[E | c], by regression. Where the *spread* of E depends on c, so do the mean weights still.

A row's b comes from a network that was fitted to the other half of the rows: one that has seen a row would
take part of its own energy away, and with it part of the tilt. The energies it learns are cut off at ten
spreads, so that a few huge ones do not decide it; b is shrunk by the slope of E on it, to nothing where it
predicts nothing.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.spatial import cKDTree

from tiltflow.guidance.contract import FitConfig
from tiltflow.guidance.effective_rows import beta_for_share, row_weights
from tiltflow.guidance.fit_loop import FitProgress, Trainer
from tiltflow.guidance.problem import Problem
from tiltflow.networks import MLP
from tiltflow.optimize import Columns
from tiltflow.tilting import effective_sample_size

_STEPS, _WIDTH, _DEPTH = 2_000, 64, 2
_CUT = 10.0
_NEIGHBOURS, _PLACES = 100, 1_000


class _Level(eqx.Module):
    """b(c) in units of the energies' spread."""

    network: MLP

    def __call__(self, condition: Float[Array, "*batch c"]) -> Float[Array, "*batch"]:
        return self.network(condition)[..., 0]


@dataclass(frozen=True)
class _LevelRegression:
    """Mean squared error of the level."""

    def __call__(self, model: _Level, batch: Columns, key: PRNGKeyArray) -> Float[Array, ""]:
        return jnp.mean((model(batch["condition"]) - batch["energies"]) ** 2)


class WithinConditions(NamedTuple):
    """Effective shares of the rows near one condition, over conditions of the data."""

    neighbours: int
    """Rows that count as near."""
    median: float
    low: float
    """Of the worst tenth of the conditions, the best."""


def with_baseline(
    problem: Problem, config: FitConfig, key: PRNGKeyArray, progress: FitProgress | None = None
) -> Problem:
    """The problem whose energies are E − b(c), and whose β keeps the wanted share of the rows of these.

    As it is without a condition, with `baseline = "none"`, at β = 0, and with fewer than four finite energies
    or none that differ. Raises TrainingDiverged, UserError for a share that no β keeps.
    """
    finite = np.flatnonzero(np.isfinite(problem.energies))
    if problem.condition is None or config.baseline == "none" or problem.beta == 0 or len(finite) < 4:
        return problem
    energies = problem.energies.astype(np.float64)
    centre = np.median(energies[finite])
    spread = 1.4826 * np.median(np.abs(energies[finite] - centre)) or np.std(energies[finite])
    if spread == 0:
        return problem
    wanted = np.clip((energies - centre) / spread, -_CUT, _CUT).astype(np.float32)
    level = _out_of_fold(problem, wanted, finite, config, key, progress)
    varies = np.var(level[finite]) > 0
    slope = np.cov(level[finite], wanted[finite])[0, 1] / np.var(level[finite], ddof=1) if varies else 0.0
    level = spread * np.clip(slope, 0.0, 1.0) * (level - level[finite].mean())
    residual = energies - level
    residual = (residual - residual[finite].min()).astype(np.float32)
    beta = problem.beta
    if problem.target_ess is not None:
        beta = beta_for_share(residual, problem.target_ess)
    return replace(
        problem,
        energies=residual,
        beta=beta,
        weights=row_weights(residual, beta),
        level=level.astype(np.float32),
    )


def _out_of_fold(
    problem: Problem,
    wanted: Float[np.ndarray, " n"],
    finite: np.ndarray,
    config: FitConfig,
    key: PRNGKeyArray,
    progress: FitProgress | None,
) -> Float[np.ndarray, " n"]:
    """The level of every row, each by the network that has not seen it."""
    assert problem.condition is not None
    columns = {"condition": jnp.asarray(problem.condition), "energies": jnp.asarray(wanted)}
    key, fold_key = jax.random.split(key)
    fold = np.zeros(len(wanted), np.int32)
    fold[finite] = np.asarray(jax.random.permutation(fold_key, np.arange(len(finite)) % 2))
    trainer = Trainer(replace(config, steps=min(config.steps, _STEPS)), progress)
    level = np.zeros(len(wanted))
    for number in range(2):
        init_key, step_key = jax.random.split(jax.random.fold_in(key, number))
        network = MLP(init_key, problem.condition_size, 1, width=_WIDTH, depth=_DEPTH)
        rows = {"": jnp.asarray(finite[fold[finite] != number], jnp.int32)}
        what = f"baseline of the condition, {number + 1}/2"
        model = trainer.descend(what, _Level(network), _LevelRegression(), columns, rows, step_key)
        level = np.where(fold == number, np.asarray(_levels(model, columns["condition"])), level)
    return level


@jax.jit
def _levels(model: _Level, condition: Array) -> Array:
    return model(condition)


def within_conditions(problem: Problem) -> WithinConditions | None:
    """Effective share of the 100 rows whose conditions are nearest to one, at up to 1,000 rows of the data.

    The effective sample size over all rows does not show it: they may all be near one condition. It is never
    below 1/100, one row of the neighbours; None without a condition.
    """
    if problem.condition is None:
        return None
    n = len(problem.condition)
    count = min(_NEIGHBOURS, n)
    places = problem.condition[np.linspace(0, n - 1, min(n, _PLACES)).astype(int)]
    _, near = cKDTree(problem.condition).query(places, k=count)
    weights = problem.weights[np.reshape(near, (len(places), count))]
    shares = np.asarray(effective_sample_size(jnp.asarray(weights))) / count
    return WithinConditions(count, float(np.median(shares)), float(np.quantile(shares, 0.1)))
