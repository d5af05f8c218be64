"""FlowQ's readings, its learned schedule and its best of N, against laws in closed form."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from bandits import FLOW, SPEC, exact_flow, gaussian_actions, known_critic, train

from tiltflow.agents.actor_critic import best_of
from tiltflow.agents.bc import init_flow
from tiltflow.agents.flowq import fit_schedule, match_guided, schedule_of
from tiltflow.agents.flowq_settings import FlowQConfig
from tiltflow.agents.sampling import sample_actions
from tiltflow.errors import UserError
from tiltflow.exact import gaussian_mixture, predict
from tiltflow.guidance.guided_paths import LearnedSchedule
from tiltflow.model_settings import CriticConfig, FlowConfig
from tiltflow.optimize import begin
from tiltflow.paths import PATHS
from tiltflow.solvers import integrate

MEAN, STD = -0.2, 0.2
SLOPE, CURVATURE = 0.6, 1.0  # Q = 0.6·a − ½·a²
STRENGTH = 0.1


def mean_q(columns) -> float:
    """q, the mean |Q| of the data."""
    actions = columns["actions"]
    return float(jnp.mean(jnp.abs(SLOPE * actions - 0.5 * CURVATURE * actions**2)))


def trained_actions(config: FlowQConfig, columns) -> np.ndarray:
    critic = known_critic(SLOPE, CURVATURE)

    def step(policy, batch, key):
        return match_guided(
            policy,
            critic,
            schedule_of(None, config),
            batch,
            key,
            config,
            optax.adam(config.flow.learning_rate),
        )

    policy = train(step, config.flow, columns, steps=1000)
    sampler = replace(config.flow, num_steps=20)
    return np.asarray(sample_actions(policy, jnp.zeros((10_000, 1)), jax.random.key(3), SPEC, sampler))


@pytest.mark.parametrize("reading", ["velocity", "path"])
def test_a_step_of_the_policy_is_the_same_program_for_any_number_of_flow_steps(reading):
    """Why the time of figure 3a is flat: no action is sampled for the policy."""
    programs = set()
    for steps in (1, 50):
        flow = replace(FLOW, num_steps=steps)
        config = FlowQConfig(flow=flow, reading=reading, schedule="quadratic", next_action_steps=steps)
        optimizer = optax.adam(flow.learning_rate)

        def step(policy, critic, batch, key, config=config, optimizer=optimizer):
            return match_guided(policy, critic, schedule_of(None, config), batch, key, config, optimizer)

        policy = begin(init_flow(jax.random.key(1), SPEC, flow), optimizer)
        batch = gaussian_actions(MEAN, STD, rows=8)
        lowered = jax.jit(step).lower(policy, known_critic(SLOPE, CURVATURE), batch, jax.random.key(0))
        programs.add(lowered.as_text())
    assert len(programs) == 1


def test_the_path_ends_one_step_up_q_from_the_actions_of_the_data():
    columns = gaussian_actions(MEAN, STD)
    config = FlowQConfig(flow=FLOW, reading="path", schedule="quadratic", strength=STRENGTH, sigma=0.1)
    actions = trained_actions(config, columns)
    rate = STRENGTH / mean_q(columns)
    mean = MEAN + rate * (SLOPE - CURVATURE * MEAN)
    std = np.sqrt(((1 - rate * CURVATURE) * STD) ** 2 + 0.1**2)
    assert actions.mean() == pytest.approx(mean, abs=0.03)
    assert actions.std() == pytest.approx(std, abs=0.02)


def test_the_velocity_reading_samples_the_law_of_its_differential_equation():
    columns = gaussian_actions(MEAN, STD)
    config = FlowQConfig(flow=FLOW, reading="velocity", schedule="linear", strength=STRENGTH)
    actions = trained_actions(config, columns)
    law = gaussian_mixture(np.ones(1), np.full((1, 1), MEAN), np.full((1, 1, 1), STD**2))
    rate = STRENGTH / mean_q(columns)

    def velocity(t, x):
        unguided = predict(law, PATHS["ot"], "velocity", t, x)
        return unguided + rate * (1 - t) * (SLOPE - CURVATURE * x)

    # It is affine in x: what becomes of the noise 0 and 1 tells mean and standard deviation.
    low, high = integrate(velocity, jnp.array([[0.0], [1.0]]), start=0.0, end=1.0, num_steps=500)[:, 0]
    assert actions.mean() == pytest.approx(float(low), abs=0.03)
    assert actions.std() == pytest.approx(float(high - low), abs=0.02)


def test_a_learned_schedule_is_the_one_that_makes_a_gaussian_exact():
    """For p = N(0, s²) and a linear energy c(t) = s²·(1 − t)/(s²t² + (1 − t)²) gives the tilt itself."""
    std = 0.3
    columns = gaussian_actions(0.0, std, rows=20_000)
    law = gaussian_mixture(np.ones(1), np.zeros((1, 1)), np.full((1, 1, 1), std**2))
    config = FlowQConfig(
        flow=replace(FLOW, learning_rate=5e-3, batch_size=512, solver="euler", num_steps=5), strength=1.0
    )
    critic, behaviour = known_critic(1.0), exact_flow(law)

    def step(schedule, batch, key):
        return fit_schedule(
            schedule, behaviour, critic, batch, key, SPEC, config, optax.adam(config.flow.learning_rate)
        )

    start = begin(LearnedSchedule(jax.random.key(4)), optax.adam(config.flow.learning_rate))
    h = train(step, config.flow, columns, steps=600, start=start)
    t = jnp.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose(h.c(t), std**2 * (1 - t) / (std**2 * t**2 + (1 - t) ** 2), atol=0.05)


def test_the_best_of_four_has_the_law_of_the_largest_of_four(key):
    law = gaussian_mixture(np.ones(1), np.zeros((1, 1)), np.full((1, 1, 1), 0.2**2))
    sampler = FlowConfig(num_steps=50)
    observations = jnp.zeros((10_000, 1))
    best = best_of(exact_flow(law), known_critic(1.0), observations, key, 4, SPEC, sampler, CriticConfig())
    assert best.mean() == pytest.approx(0.2 * 1.0294, abs=0.005)  # E[max of 4] of N(0, 1) is 1.0294


@pytest.mark.parametrize(
    "options",
    [
        {"reading": "path", "schedule": "learned"},
        {"flow": FlowConfig(path="vp")},
        {"critic": CriticConfig(kind="in-support-softmax")},
        {"sigma": 1.0},
        {"num_candidates": 0},
        {"next_action_steps": 0},
    ],
)
def test_settings_that_do_not_go_together_are_refused_by_name(options):
    with pytest.raises(UserError, match=list(options)[-1].replace("_", ".")):
        FlowQConfig(**options)
