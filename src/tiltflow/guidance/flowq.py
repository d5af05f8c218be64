"""FlowQ's guidance (arXiv 2505.14139): matching a flow that is pushed down the energy's gradient.

Found in public summaries of the paper: it approximates the energy-guided path by a Gaussian one, with the
marginal ∝ p_t(x)·exp(−λ(t)·E(x)), schedules t, t², t²/(1 − t) and a learned one, and a training cost that
does not grow with the steps of the flow. Not found: its target velocity, its variance and its λ. Two readings
are built here (`displaced.py` has both as equations):

path      x_t is displaced by −λ·h(t)·∇E(mean), and the target is its derivative along t. Its law is that of
          one step down the energy from each row, plus σ·noise: modes move, their masses do not.
velocity  the target is (data − noise) − λ·c(t)·∇E(x_t) at the unguided x_t; c follows from h.

Neither samples the tilt p·exp(−βE), but for a learned schedule where p is one Gaussian and E is linear.
With λ = β the `velocity` reading with the learned schedule comes nearest in our measurements, and is the
default. The learned schedule needs an unguided flow, which is trained first, and exp(−βE) as weights: our
proposal, not the authors'.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.errors import UserError
from tiltflow.flow import Flow
from tiltflow.guidance.annealing import anneal
from tiltflow.guidance.configs import FitConfig, Method
from tiltflow.guidance.energies import Energy, differentiable_energy, with_condition
from tiltflow.guidance.energy_weighted import columns_of, init_flow, train_unguided
from tiltflow.guidance.fit_loop import Progress, descend, finite_rows, weighted_rows
from tiltflow.guidance.guided_paths import (
    FixedSchedule,
    LearnedSchedule,
    Schedule,
    guided_path,
    guided_velocity,
    schedule_residual,
)
from tiltflow.guidance.problem import Problem
from tiltflow.guidance.sampling import Outcome, outcome, with_notes
from tiltflow.optimize import Columns
from tiltflow.settings import VelocityFactor


@dataclass(frozen=True)
class PathMatching:
    """Matching of the displaced path."""

    sigma: float
    hessian: bool

    def __call__(
        self,
        model: Flow,
        batch: Columns,
        key: PRNGKeyArray,
        energy: Energy,
        schedule: Schedule,
        strength: Array,
    ) -> Float[Array, ""]:
        data, noise, t, key = _ends(batch, key)
        jitter = jax.random.normal(key, data.shape)
        guided = guided_path(
            with_condition(energy, batch.get("condition")),
            schedule,
            data,
            noise,
            jitter,
            t,
            strength=strength,
            sigma=self.sigma,
            hessian=self.hessian,
        )
        output = model.network(guided.x, t, batch.get("condition"))
        return jnp.mean((output - guided.velocity) ** 2)


@dataclass(frozen=True)
class VelocityMatching:
    """Matching of the velocity with the gradient in it."""

    factor: VelocityFactor

    def __call__(
        self,
        model: Flow,
        batch: Columns,
        key: PRNGKeyArray,
        energy: Energy,
        schedule: Schedule,
        strength: Array,
    ) -> Float[Array, ""]:
        data, noise, t, _ = _ends(batch, key)
        function = with_condition(energy, batch.get("condition"))
        guided = guided_velocity(function, schedule, data, noise, t, strength=strength, factor=self.factor)
        output = model.network(guided.x, t, batch.get("condition"))
        return jnp.mean((output - guided.velocity) ** 2)


@dataclass(frozen=True)
class ScheduleMatching:
    """E_w|u(x | data) − (v_p(x) − λ·c(t)·∇E(x))|², on rows drawn by their weights."""

    def __call__(
        self,
        model: Schedule,
        batch: Columns,
        key: PRNGKeyArray,
        energy: Energy,
        unguided: Flow,
        strength: Array,
    ) -> Float[Array, ""]:
        data, noise, t, _ = _ends(batch, key)
        condition = batch.get("condition")
        residual = schedule_residual(
            with_condition(energy, condition),
            model,
            lambda t, x: unguided.network(x, t, condition),
            data,
            noise,
            t,
            strength=strength,
        )
        return jnp.mean(residual**2)


def _ends(batch: Columns, key: PRNGKeyArray) -> tuple[Array, Array, Array, PRNGKeyArray]:
    """Data, noise and times of a batch, and a key for more."""
    data = batch["points"]
    time_key, noise_key, key = jax.random.split(key, 3)
    return data, jax.random.normal(noise_key, data.shape), jax.random.uniform(time_key, data.shape[:1]), key


def train(
    method: Method,
    problem: Problem,
    config: FitConfig,
    key: PRNGKeyArray,
    progress: Progress,
    previous: Flow | None = None,
) -> Outcome:
    """Fit `flowq`; at β = 0 it is plain matching of the data. Raises UserError for settings that do not go
    together: another path than ot, another prediction than velocity, a learned schedule of the path."""
    if config.path != "ot" or config.prediction != "velocity":
        raise UserError("flowq is defined on the path ot with the prediction velocity.")
    if config.reading == "path" and config.schedule == "learned":
        raise UserError(
            "schedule = learned needs reading = velocity: no schedule of a displaced path moves mass between "
            "modes, so there is nothing to fit it to. Choose linear, quadratic or rational."
        )
    size = problem.points.shape[1]
    energy_key, key = jax.random.split(key)
    if problem.beta == 0:
        flow, losses = train_unguided(problem, config, key, progress)
        return outcome(flow, size, config, {"generative model": losses})
    energy, networks, note = differentiable_energy(problem, config, energy_key, progress)
    loss: Callable[..., Float[Array, ""]]
    if config.reading == "path":
        loss = PathMatching(config.sigma, config.hessian)
    else:
        loss = VelocityMatching(config.velocity_factor)

    def step(now: Problem, key: PRNGKeyArray, which: str) -> Flow:
        schedule_key, init_key, key = jax.random.split(key, 3)
        schedule = make_schedule(now, config, energy, schedule_key, progress, networks, which)
        strength = now.beta * (config.displacement if config.reading == "path" else 1.0)
        given = energy, schedule, jnp.float32(strength)
        start, rows = init_flow(init_key, now, config), finite_rows(now)
        what = f"generative model{which}"
        flow, networks[what] = descend(
            start, loss, columns_of(now), rows, config, key, progress, what, *given
        )
        return flow

    flow = anneal(problem, energy, config, key, step)
    text = "flowq does not sample the tilt p·exp(−βE) itself, whatever its schedule: compare with efm."
    return with_notes(outcome(flow, size, config, networks), note, text)


def make_schedule(
    problem: Problem,
    config: FitConfig,
    energy: Energy,
    key: PRNGKeyArray,
    progress: Progress,
    networks: dict[str, list[float]],
    which: str = "",
) -> Schedule:
    """The configured schedule; a learned one is fitted, after an unguided flow. Adds their losses."""
    if config.schedule != "learned":
        return FixedSchedule(config.schedule, 1.0 - 1.0 / max(2, config.num_steps))
    flow_key, init_key, key = jax.random.split(key, 3)
    flow, networks[f"unguided model{which}"] = train_unguided(problem, config, flow_key, progress)
    start = LearnedSchedule(init_key)
    rows = {"": weighted_rows(problem, seed=0)}
    what = f"schedule{which}"
    given = energy, flow, jnp.float32(problem.beta)
    schedule, networks[what] = descend(
        start, ScheduleMatching(), columns_of(problem), rows, config, key, progress, what, *given
    )
    return schedule
