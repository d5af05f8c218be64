"""One call for every method: check the data, train, return something that samples."""

import time
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from tiltflow.errors import UserError
from tiltflow.guidance.baseline import with_baseline
from tiltflow.guidance.contract import FitConfig, FlowFitConfig, Outcome
from tiltflow.guidance.effective_rows import few_rows_note
from tiltflow.guidance.energies import FunctionEnergy, PointEnergy, differentiable_energy
from tiltflow.guidance.fit_loop import FitProgress, Trainer
from tiltflow.guidance.fitted import Fitted
from tiltflow.guidance.methods import METHODS, Method
from tiltflow.guidance.problem import Problem, make_problem
from tiltflow.settings import TransformName

_BASELINE = 0xBA5E
"""Folded into the key of a fit, so that its other networks do not depend on whether there is a baseline."""


def fit(
    method: str,
    points: Any,
    energy: Any,
    beta: float | None = None,
    *,
    target_ess: float | None = None,
    labels: Any = None,
    condition: Any = None,
    transform: TransformName = "none",
    config: FitConfig | None = None,
    seed: int = 0,
    progress: FitProgress | None = None,
) -> Fitted:
    """Learn to sample q(x) ∝ p(x)·exp(−β·E(x)) from samples of p.

    `points` [n, d], in any units; `energy` [n], or a function of the points; `beta` ≥ 0, or `target_ess`,
    the share of the rows that are to remain effective; `labels` [n] in [0, 1] for cg and cfg; `condition`
    [n, c] for q(x | condition), whose weights are by default relative to the energy's level at each
    condition (baseline.py): the conditional law is the same. `transform` changes the coordinates in which
    the networks work (transforms.py): the law is the same, and samples are in the data's units. The config is
    by default the method's own. Equal arguments give equal bits.
    Raises UserError for an unknown method or data that cannot be used, TrainingDiverged.
    """
    METHODS.find(method)
    problem = make_problem(
        points, energy, beta, target_ess=target_ess, labels=labels, condition=condition, transform=transform
    )
    return fit_problem(method, problem, config, seed, progress)


def fit_problem(
    method: str,
    problem: Problem,
    config: FitConfig | None = None,
    seed: int = 0,
    progress: FitProgress | None = None,
    previous: Fitted | None = None,
) -> Fitted:
    """`fit` for a problem that is checked already.

    `previous`, a fit of the same rows with the same method, config and seed at another β, lends the networks
    that do not depend on β. The result has the same bits; its seconds and losses are of what was trained now.
    """
    found = METHODS.find(method)
    declared = found.declared
    config = declared.config if config is None else config
    if type(config) is not type(declared.config):
        raise UserError(
            f"The method {method} takes a {type(declared.config).__name__}, not a {type(config).__name__}: "
            "each method has settings of its own."
        )
    if previous is not None and (previous.method, previous.config) != (found, config):
        raise UserError(f"The previous fit is of {previous.method.name} or of other settings: give none.")
    start = time.perf_counter()
    key = jax.random.key(seed)
    trainer = Trainer(config, progress)
    if declared.tilts and problem.labels is None:
        problem = with_baseline(problem, config, jax.random.fold_in(key, _BASELINE), progress)
    if declared.tilts and (note := few_rows_note(problem.energies, problem.beta, problem.ess)):
        trainer.notes.append(note)
    outcome = outcome_of(found, problem, config, key, trainer, previous)
    seconds = time.perf_counter() - start
    networks = trainer.networks if previous is None else previous.networks | trainer.networks
    notes = tuple(trainer.notes)
    return Fitted(found, config, problem, outcome, seconds, trainer.losses, notes, seed, networks)


def outcome_of(
    method: Method,
    problem: Problem,
    config: FitConfig,
    key: PRNGKeyArray,
    trainer: Trainer,
    previous: Fitted | None = None,
) -> Outcome:
    """What the method makes of a problem whose energies are relative to their level already."""
    declared, given = method.declared, dict[str, Any]()
    if declared.shares:
        given["previous"] = None if previous is None else previous.model
    if declared.needs_energy:
        energy_key, key = jax.random.split(key)
        given["energy"] = _energy(problem, config, energy_key, trainer)
    return declared.fit(problem, config, key, trainer, **given)


def _energy(problem: Problem, config: FitConfig, key: Any, trainer: Trainer) -> PointEnergy:
    """The energy of the problem at new points; at β = 0, where it has no part in the law, that is 0."""
    if problem.beta == 0:
        return FunctionEnergy(_nothing, jnp.zeros(problem.size), jnp.ones(problem.size))
    assert isinstance(config, FlowFitConfig)
    return differentiable_energy(problem, config, key, trainer)


def _nothing(points: Any) -> Any:
    return jnp.zeros(len(points))
