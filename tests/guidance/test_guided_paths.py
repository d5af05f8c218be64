"""FlowQ's readings and the tilted path against derivatives, closed-form laws and importance identities."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from laws import assert_mean, random_energy, random_mixture, sample, tilt
from tiltflow.exact import gaussian_mixture
from tiltflow.guidance.guided_paths import (
    FixedSchedule,
    LearnedSchedule,
    guided_path,
    guided_velocity,
    propose,
    schedule_residual,
)

pytestmark = pytest.mark.usefixtures("x64")

KINDS = ["linear", "quadratic", "rational", "learned"]
ROWS, SIZE = 12, 3


def schedule(kind: str):
    return LearnedSchedule(jax.random.key(3)) if kind == "learned" else FixedSchedule(kind, 0.95)


def wavy(x):
    """An energy with a Hessian that changes from place to place."""
    return jnp.sum(jnp.sin(1.3 * x), axis=-1) + 0.3 * jnp.prod(x, axis=-1)


def ends():
    rng = np.random.default_rng(0)
    return (jnp.asarray(rng.standard_normal((ROWS, SIZE))) for _ in range(3))


@pytest.mark.parametrize("kind", KINDS)
def test_the_target_of_the_path_is_its_derivative_along_time(kind):
    data, noise, jitter = ends()
    h = schedule(kind)

    def at(t, hessian=True):
        times = jnp.full(ROWS, t)
        return guided_path(wavy, h, data, noise, jitter, times, strength=0.7, sigma=0.4, hessian=hessian)

    @jax.jit
    def velocities(t, step=1e-6):
        difference = (at(t + step).x - at(t - step).x) / (2 * step)
        return difference, at(t).velocity, at(t, hessian=False).velocity

    for t in (0.2, 0.6, 0.9):
        difference, velocity, without = velocities(t)
        np.testing.assert_allclose(velocity, difference, rtol=1e-7, atol=1e-8)
        # Without the term of the Hessian it is not the derivative of this path.
        assert np.max(np.abs(without - difference)) > 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_the_path_begins_at_standard_noise_and_ends_one_step_down_the_energy(kind):
    rng = np.random.default_rng(1)
    data, noise, jitter = (rng.standard_normal((40_000, 1)) for _ in range(3))
    h = schedule(kind)

    @jax.jit
    def at(t):
        return guided_path(wavy, h, data, noise, jitter, jnp.full(len(data), t), strength=0.7, sigma=0.4).x

    assert_mean(at(0.0), 0.0)
    assert_mean(at(0.0) ** 2, 1.0)
    slope = jax.jit(jax.vmap(jax.grad(wavy)))(data)
    end = 0.95**2 / 0.05 if kind == "rational" else 1.0
    np.testing.assert_allclose(at(1.0), data - 0.7 * end * slope + 0.4 * jitter, atol=1e-9)


@pytest.mark.parametrize(("kind", "h"), [("linear", 0.3), ("quadratic", 0.09), ("rational", 0.09 / 0.7)])
def test_schedules_are_those_of_the_paper(kind, h):
    t = jnp.asarray([0.3])
    assert FixedSchedule(kind).h(t)[0] == pytest.approx(h)
    assert FixedSchedule(kind).c(t)[0] == pytest.approx(h * 0.7 / 0.3)


def test_a_learned_schedule_is_positive_and_fixed_at_both_ends():
    h = schedule("learned")
    t = np.linspace(0.0, 1.0, 21)
    values, c = map(np.asarray, jax.jit(lambda t: (h.h(t), h.c(t)))(t))
    np.testing.assert_allclose(values[[0, -1]], [0, 1], atol=1e-12)
    assert np.all(values[1:] > 0)
    np.testing.assert_allclose(c[1:], values[1:] * (1 - t[1:]) / t[1:], rtol=1e-9)


def test_the_velocity_reading_shifts_the_unguided_target_by_the_gradient_at_the_point():
    data, noise, _ = ends()
    t = np.linspace(0.1, 0.9, ROWS)

    @jax.jit
    def compare(data, noise, t):
        guided, raw = (
            guided_velocity(wavy, schedule("linear"), data, noise, t, strength=2.0, factor=factor)
            for factor in ("score", "raw")
        )
        x = t[:, None] * data + (1 - t)[:, None] * noise
        return guided, raw.velocity, x, jax.vmap(jax.grad(wavy))(x)

    guided, raw, x, slope = compare(data, noise, t)
    data, noise = np.asarray(data), np.asarray(noise)
    np.testing.assert_allclose(guided.x, x)
    expected = data - noise - 2.0 * (1 - t)[:, None] * slope
    np.testing.assert_allclose(guided.velocity, expected, rtol=1e-12)
    np.testing.assert_allclose(raw - (data - noise), (expected - (data - noise)) * (t / (1 - t))[:, None])


def test_the_best_schedule_of_a_gaussian_and_a_linear_energy_leaves_no_mean_residual():
    # p = N(0, 1), E = −x: q = N(1, 1), and u_q − u_p is the same at every x: with v_p exact, the c that
    # equals it leaves a residual of mean 0 over q at every time. u_p = (2t − 1)·x/s, s = t² + (1 − t)²; u_q
    # at m = t: 1 + (2t − 1)·(x − t)/s; so c(t) = 1 − (2t − 1)·t/s = (1 − t)/s.
    class Best:
        def c(self, t):
            return (1 - t) / (t**2 + (1 - t) ** 2)

    @jax.jit
    def residual(t, data, noise):
        def unguided(t, x):
            return ((2 * t - 1) / (t**2 + (1 - t) ** 2))[..., None] * x

        return schedule_residual(lambda x: -x[..., 0], Best(), unguided, data, noise, t, strength=1.0)

    rng = np.random.default_rng(0)
    for t in (0.1, 0.5, 0.9):
        data, noise = 1 + rng.standard_normal((20_000, 1)), rng.standard_normal((20_000, 1))
        assert_mean(residual(np.full(20_000, t), data, noise), 0.0)


@pytest.mark.parametrize(("size", "sigma", "beta"), [(1, 0.5, 1.0), (2, 0.3, 2.0), (3, 1.0, 0.5)])
def test_weighted_proposals_follow_the_tilt_of_the_smoothed_data(size, sigma, beta):
    base, energy = random_mixture(1, 3, size), random_energy(1, size)
    z = sample(base, 5, 200_000)
    x, log_weight = jax.jit(partial(propose, energy, beta=beta, sigma=sigma))(jax.random.key(0), z)
    law = tilt(smooth(base, sigma), energy, beta).tilted
    weights = np.exp(np.asarray(log_weight) - np.max(log_weight))
    weights = weights / weights.mean()
    # The error of a self-normalised mean is that of w·(f − E f).
    for values, expected in (
        (x, law.mean),
        (np.asarray(x)[:, :, None] * np.asarray(x)[:, None, :], law.covariance + second(law.mean)),
    ):
        excess = weights.reshape(-1, *[1] * (values.ndim - 1)) * (np.asarray(values) - np.asarray(expected))
        assert_mean(excess, np.zeros(excess.shape[1:]))


def second(mean):
    return mean[:, None] * mean[None, :]


def smooth(base, sigma):
    """The law of x + σ·noise."""
    covariances = np.asarray(base.covariances) + sigma**2 * np.eye(base.size)
    return gaussian_mixture(np.asarray(base.weights), np.asarray(base.means), covariances)


def test_without_smoothing_the_proposals_are_the_data_with_energy_weights():
    z = next(iter(ends()))
    x, log_weight = propose(wavy, jax.random.key(0), z, beta=1.7, sigma=0.0)
    np.testing.assert_array_equal(x, z)
    np.testing.assert_allclose(log_weight, -1.7 * wavy(z), rtol=1e-12)


@pytest.mark.parametrize("curvature", [0.5, 2.0])
def test_displacement_flattens_the_weights_of_a_quadratic_energy_by_its_closed_form(curvature):
    # E = a·x²/2: given z, the mean of w over x is exp(−βa·z²/(2(1 + βaσ²)))/√(1 + βaσ²).
    beta, sigma, z = 1.3, 0.8, 0.9
    count = 400_000
    quadratic = lambda x: curvature * jnp.sum(x**2, axis=-1) / 2  # noqa: E731
    drawn = jax.jit(partial(propose, quadratic, beta=beta, sigma=sigma))
    _, log_weight = drawn(jax.random.key(1), np.full((count, 1), z))
    flat = 1 + beta * curvature * sigma**2
    assert_mean(np.exp(log_weight), np.exp(-beta * curvature * z**2 / (2 * flat)) / np.sqrt(flat))
