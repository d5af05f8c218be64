import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from laws import assert_mean, normal
from tiltflow.metrics import energy_distance, mmd, sliced_wasserstein, wasserstein

pytestmark = pytest.mark.usefixtures("x64")


def _spectral(seed: int, size: int) -> np.ndarray:
    """A random symmetric matrix with eigenvalues between 0.5 and 2."""
    turn = np.linalg.qr(normal(seed, size, size))[0]
    return turn @ np.diag(np.linspace(0.5, 2.0, size)) @ turn.T


# Wasserstein distances of maps that are known to be optimal, also between finite samples


def test_wasserstein_of_the_gradient_of_a_convex_function():
    """x ↦ Ax + c with A positive is optimal (Brenier), so W₂² is the mean squared displacement."""
    x = normal(0, 300, 3)
    y = x @ _spectral(1, 3) + np.asarray([1.0, 0.0, -2.0])
    expected = np.sqrt(np.mean(np.sum((x - y) ** 2, axis=-1)))
    np.testing.assert_allclose(wasserstein(0, x, y[::-1], replicates=0).value, expected, rtol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 8])
def test_sliced_wasserstein_of_scaling_and_shift(key, size):
    """On every line x ↦ s·x + c stays monotone, and over a frame the mean of |θᵀv|² is |v|²/d."""
    x = normal(0, 200, size)
    y = 1.5 * x + 1.0
    expected = np.sqrt(np.mean(np.sum((x - y) ** 2, axis=-1)) / size)
    value = sliced_wasserstein(key, x, y[::-1], num_projections=16, replicates=0).value
    np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_directions_are_uniform(key):
    """Frames alone would do for the last test: here the distance depends on the direction."""
    x = normal(0, 30, 2) * np.asarray([3.0, 0.1])
    value = sliced_wasserstein(key, x, normal(1, 30, 2), num_projections=2000, replicates=0).value
    angles = np.pi * (np.arange(720) + 0.5) / 720
    squares = [
        np.mean((np.sort(x @ theta) - np.sort(normal(1, 30, 2) @ theta)) ** 2)
        for theta in np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    ]
    error = np.std(squares) / np.sqrt(2000)
    assert abs(value**2 - np.mean(squares)) < 5 * error


def test_sliced_wasserstein_of_unequal_sizes_is_exact_on_the_line(key):
    x, y = normal(0, 12), normal(1, 18) + 1
    expected = np.sqrt(np.mean((np.sort(np.repeat(x, 3)) - np.sort(np.repeat(y, 2))) ** 2))
    value = sliced_wasserstein(key, x[:, None], y[:, None], num_projections=1, replicates=0).value
    np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_sliced_wasserstein_of_gaussians(key):
    """W₂² of N(0, 1) and N(1, 4) is 1² + (2 − 1)²; the standard error is read off the interval."""
    estimate = sliced_wasserstein(key, normal(0, 10_000, 1), 1 + 2 * normal(1, 10_000, 1), num_projections=1)
    error = (estimate.high - estimate.low) / (2 * 1.96)
    assert abs(estimate.value - math.sqrt(2)) < 5 * error
    assert error < 0.03


# Unbiased estimates: their means over independent repetitions are the closed forms


def _length_of_normal(mean: float, deviation: float) -> float:
    """E|X| for X ~ N(mean, deviation²)."""
    z = mean / deviation
    return deviation * math.sqrt(2 / math.pi) * math.exp(-(z**2) / 2) + mean * math.erf(z / math.sqrt(2))


def _repeat(metric, x, y, repetitions: int, **options):
    keys = jax.random.split(jax.random.key(0), repetitions)
    xs, ys = np.split(x, repetitions), np.split(y, repetitions)
    return [metric(key, a, b, **options) for key, a, b in zip(keys, xs, ys, strict=True)]


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.7, 1.5)])
def test_energy_distance_of_gaussians_on_the_line(shift, scale):
    across = _length_of_normal(shift, math.sqrt(1 + scale**2))
    expected = 2 * across - _length_of_normal(0, math.sqrt(2)) - _length_of_normal(0, math.sqrt(2) * scale)
    x, y = normal(0, 10_000, 1), shift + scale * normal(1, 10_000, 1)
    assert_mean([e.value for e in _repeat(energy_distance, x, y, 100, replicates=0)], expected)


@pytest.mark.parametrize("size", [1, 3])
def test_mmd_of_gaussians(size):
    """E k(X, Y) = (1 + c/h²)^(−d/2)·exp(−|m|²/2(h² + c)) for X − Y ~ N(m, c·I)."""
    h, shift, scale = 0.8, np.full(size, 0.5), 1.5

    def kernel_mean(c, m=0.0):
        return (1 + c / h**2) ** (-size / 2) * math.exp(-np.sum(m**2) / (2 * (h**2 + c)))

    shift_mean = kernel_mean(1 + scale**2, shift)
    expected = kernel_mean(2) + kernel_mean(2 * scale**2, np.zeros(size)) - 2 * shift_mean
    x, y = normal(0, 10_000, size), shift + scale * normal(1, 10_000, size)
    values = [e.value for e in _repeat(mmd, x, y, 100, bandwidth=h, replicates=0)]
    assert_mean(values, expected)


def test_chunks_and_single_precision_do_not_change_the_value(key):
    x, y = normal(0, 1500, 4) + 100, normal(1, 1100, 4) + 100.2
    n, m = len(x), len(y)
    within = cdist(x, x).sum() / (n * (n - 1)) + cdist(y, y).sum() / (m * (m - 1))
    expected = 2 * cdist(x, y).mean() - within
    np.testing.assert_allclose(energy_distance(key, x, y, replicates=0).value, expected, rtol=1e-6)
    single = [jnp.asarray(points, jnp.float32) for points in (x, y)]
    np.testing.assert_allclose(energy_distance(key, *single, replicates=0).value, expected, atol=2e-5)


def test_the_bandwidth_is_the_median_distance_of_the_reference(key):
    x, y = normal(0, 300, 2), 3 * normal(1, 300, 2)
    median = np.median(cdist(y, y)[np.triu_indices(300, 1)])
    chosen, given = mmd(key, x, y, replicates=0), mmd(key, x, y, bandwidth=median, replicates=0)
    assert chosen.value == given.value


# Intervals


def test_intervals_hold_the_mean_of_the_estimate_as_often_as_they_say():
    """95 % of the intervals, up to five standard errors of 100 trials; where the laws coincide, no fewer."""
    trials, n = 100, 30
    lowest = 0.95 - 5 * math.sqrt(0.95 * 0.05 / trials)
    options = {"energy": (energy_distance, {}), "mmd": (mmd, {"bandwidth": 1.0})}
    options["sliced"] = (sliced_wasserstein, {"num_projections": 8})
    for (name, (metric, extra)), shift in itertools.product(options.items(), (0.0, 1.0)):
        x, y = normal(0, trials * n, 2), normal(1, trials * n, 2) + shift
        estimates = _repeat(metric, x, y, trials, replicates=100, **extra)
        mean = np.mean([e.value for e in estimates])
        coverage = np.mean([e.low <= mean <= e.high for e in estimates])
        assert coverage > lowest, f"{name}, shift {shift}: {coverage}"


def test_exact_wasserstein_interval_holds_the_mean_of_the_estimate():
    trials, n = 50, 40
    x, y = normal(0, trials * n, 2), normal(1, trials * n, 2) + 1
    pairs = zip(np.split(x, trials), np.split(y, trials), strict=True)
    estimates = [wasserstein(seed, a, b) for seed, (a, b) in enumerate(pairs)]
    mean = np.mean([e.value for e in estimates])
    assert np.mean([e.low <= mean <= e.high for e in estimates]) > 0.95 - 5 * math.sqrt(0.95 * 0.05 / trials)


def test_the_same_key_gives_the_same_interval_and_another_does_not(key):
    x, y = normal(0, 200, 2), normal(1, 200, 2)
    assert energy_distance(key, x, y) == energy_distance(key, x, y)
    assert energy_distance(key, x, y).low != energy_distance(jax.random.key(1), x, y).low
    assert wasserstein(0, x, y, replicates=3) == wasserstein(0, x, y, replicates=3)


def test_a_distance_without_replicates_has_no_interval(key):
    estimate = energy_distance(key, normal(0, 50, 2), normal(1, 50, 2), replicates=0)
    assert math.isfinite(estimate.value)
    assert math.isnan(estimate.low)
    assert math.isnan(estimate.high)
