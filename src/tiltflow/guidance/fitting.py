"""One call for every method: check the data, train, return something that samples."""

import time
from importlib import import_module
from typing import Any

import jax

from tiltflow.errors import UserError
from tiltflow.guidance.baseline import with_baseline
from tiltflow.guidance.configs import FitConfig, find_method
from tiltflow.guidance.fit_loop import Progress, silent
from tiltflow.guidance.problem import Fitted, Problem, ess_note, make_problem
from tiltflow.guidance.sampling import Outcome
from tiltflow.settings import TransformName

BASELINE = 0xBA5E
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
    progress: Progress = silent,
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
    find_method(method)
    problem = make_problem(
        points,
        energy,
        beta,
        target_ess=target_ess,
        labels=labels,
        condition=condition,
        transform=transform,
    )
    return fit_problem(method, problem, config, seed, progress)


def fit_problem(
    method: str,
    problem: Problem,
    config: FitConfig | None = None,
    seed: int = 0,
    progress: Progress = silent,
    previous: Fitted | None = None,
) -> Fitted:
    """`fit` for a problem that is checked already.

    `previous`, a fit of the same rows with the same method, config and seed at another β, lends the networks
    that do not depend on β. The result has the same bits; its seconds and losses are of what was trained now.
    """
    found = find_method(method)
    config = found.config if config is None else config
    if previous is not None and (previous.method, previous.config) != (found, config):
        raise UserError(f"The previous fit is of {previous.method.name} or of other settings: give none.")
    start = time.perf_counter()
    lent = None if previous is None else previous.model
    train = import_module(found.module).train
    key = jax.random.key(seed)
    if found.name != "unguided" and problem.labels is None:
        problem = with_baseline(problem, config, jax.random.fold_in(key, BASELINE), progress)
    done: Outcome = train(found, problem, config, key, progress, lent)
    warning = ess_note(problem) if found.name != "unguided" else None
    return Fitted(
        method=found,
        config=config,
        problem=problem,
        sampler=done.sampler,
        parameters=done.parameters,
        evaluations=done.evaluations,
        seconds=time.perf_counter() - start,
        losses=done.losses,
        notes=((warning,) if warning else ()) + done.notes,
        log_density=done.log_density,
        model=done.model,
    )
