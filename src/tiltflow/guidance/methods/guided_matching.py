"""FlowQ's guidance (arXiv 2505.14139): matching a flow that is pushed down the energy's gradient.

Found in public summaries of the paper: it approximates the energy-guided path by a Gaussian one, with the
marginal ∝ p_t(x)·exp(−λ(t)·E(x)), schedules t, t², t²/(1 − t) and a learned one, and a training cost that
does not grow with the steps of the flow. Not found: its target velocity, its variance and its λ. Two readings
are built here (`guided_paths.py` has both as equations):

path      x_t is displaced by −λ·h(t)·∇E(mean), and the target is its derivative along t. Its law is that of
          one step down the energy from each row, plus σ·noise: modes move, their masses do not.
velocity  the target is (data − noise) − λ·c(t)·∇E(x_t) at the unguided x_t; c follows from h.

Neither samples the tilt p·exp(−βE), but for a learned schedule where p is one Gaussian and E is linear.
With λ = β the `velocity` reading with the learned schedule comes nearest in our measurements, and is the
default. The learned schedule needs an unguided flow, which is trained first, and exp(−βE) as weights: our
proposal, not the authors'.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.errors import UserError
from tiltflow.flow import Flow, new_flow
from tiltflow.guidance.annealing import anneal
from tiltflow.guidance.contract import FlowFitConfig, Outcome
from tiltflow.guidance.energies import PointEnergy, with_condition
from tiltflow.guidance.fit_loop import Trainer, columns_of, finite_rows, weighted_rows
from tiltflow.guidance.guided_paths import (
    EnergySchedule,
    FixedSchedule,
    LearnedSchedule,
    guided_point,
    schedule_residual,
)
from tiltflow.guidance.methods import register
from tiltflow.guidance.methods.energy_weighted import train_unguided
from tiltflow.guidance.outcome import generative
from tiltflow.guidance.problem import Problem
from tiltflow.optimize import Columns
from tiltflow.settings import Count, FitReading, Fraction, NonNegative, ScheduleName, VelocityFactor


@dataclass(frozen=True)
class FlowQFitConfig(FlowFitConfig):
    """Settings of flowq. Raises UserError for another path or prediction, or a path's learned schedule."""

    reading: FitReading = "velocity"
    """What is guided: the path, displaced against ∇E of the mean, or the velocity, by ∇E of the point."""
    schedule: ScheduleName = "learned"
    """h(t): t, t², t²/(1 − t) with t up to 1 − 1/num_steps, or learned (reading = velocity)."""
    velocity_factor: VelocityFactor = "score"
    """Factor of ∇E in the velocity: h(t)·(1 − t)/t, by which the score is guided by h(t), or h(t)."""
    hessian: bool = True
    """Whether the path takes the change of ∇E along it into its velocity (reading = path)."""
    displacement: NonNegative = 1.0
    """Size of the displacement at h = 1, in units of β·∇E (reading = path)."""
    sigma: Fraction = 0.1
    """Standard deviation of the points around the displaced mean (reading = path), in units of the data's."""
    anneal: Count = 1
    """Steps in which β is reached, each tilting samples of the one before."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path != "ot" or self.prediction != "velocity":
            raise UserError("flowq is defined on the path ot with the prediction velocity.")
        if self.reading == "path" and self.schedule == "learned":
            raise UserError(
                "schedule = learned needs reading = velocity: no schedule of a displaced path moves mass "
                "between modes, so there is nothing to fit it to. Choose linear, quadratic or rational."
            )


@dataclass(frozen=True)
class GuidedMatching:
    """Matching of the velocity of the configured reading."""

    config: FlowQFitConfig

    def __call__(
        self,
        model: Flow,
        batch: Columns,
        key: PRNGKeyArray,
        energy: PointEnergy,
        schedule: EnergySchedule,
        strength: Array,
    ) -> Float[Array, ""]:
        condition = batch.get("condition")
        data, noise, t, key = _ends(batch, key)
        jitter, function = jax.random.normal(key, data.shape), with_condition(energy, condition)
        x, velocity = guided_point(self.config, function, schedule, data, noise, jitter, t, strength=strength)
        return jnp.mean((model.network(x, t, condition) - velocity) ** 2)


@dataclass(frozen=True)
class ScheduleMatching:
    """E_w|u(x | data) − (v_p(x) − λ·c(t)·∇E(x))|², on rows drawn by their weights."""

    def __call__(
        self,
        model: EnergySchedule,
        batch: Columns,
        key: PRNGKeyArray,
        energy: PointEnergy,
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


def train_guided(
    problem: Problem,
    config: FlowQFitConfig,
    key: PRNGKeyArray,
    trainer: Trainer,
    energy: PointEnergy,
    which: str,
) -> Flow:
    """The flow of the configured reading and schedule. `which` is said in the progress display."""
    schedule_key, init_key, key = jax.random.split(key, 3)
    schedule = make_schedule(problem, config, schedule_key, trainer, energy, which)
    strength = problem.beta * (config.displacement if config.reading == "path" else 1.0)
    start = new_flow(init_key, problem.size, problem.condition_size, config)
    columns, rows = columns_of(problem), finite_rows(problem)
    given = energy, schedule, jnp.float32(strength)
    loss = GuidedMatching(config)
    return trainer.descend(f"generative model{which}", start, loss, columns, rows, key, *given)


def make_schedule(
    problem: Problem,
    config: FlowQFitConfig,
    key: PRNGKeyArray,
    trainer: Trainer,
    energy: PointEnergy,
    which: str = "",
) -> EnergySchedule:
    """The configured schedule; a learned one is fitted, after an unguided flow."""
    if config.schedule != "learned":
        return FixedSchedule(config.schedule, 1.0 - 1.0 / max(2, config.num_steps))
    flow_key, init_key, key = jax.random.split(key, 3)
    flow = train_unguided(problem, config, flow_key, trainer, f"unguided model{which}")
    rows = {"": weighted_rows(problem, seed=0)}
    given = energy, flow, jnp.float32(problem.beta)
    start, columns = LearnedSchedule(init_key), columns_of(problem)
    return trainer.descend(f"schedule{which}", start, ScheduleMatching(), columns, rows, key, *given)


def fit(
    problem: Problem, config: FlowQFitConfig, key: PRNGKeyArray, trainer: Trainer, energy: PointEnergy
) -> Outcome:
    """One guided flow in each step of annealing; at β = 0 plain matching of the data."""
    if problem.beta == 0:
        return generative(train_unguided(problem, config, key, trainer), problem, config)

    def step(now: Problem, key: PRNGKeyArray, which: str) -> Flow:
        return train_guided(now, config, key, trainer, energy, which)

    flow = anneal(problem, energy, config, config.anneal, key, step)
    trainer.notes.append(
        "flowq does not sample the tilt p·exp(−βE) itself, whatever its schedule: compare with efm."
    )
    return generative(flow, problem, config)


register("flowq", FlowQFitConfig(), fit, auxiliary=True, needs_energy=True)
