import math

import jax
import numpy as np
import pytest

from laws import normal
from tiltflow.metrics import sliced_wasserstein

pytestmark = pytest.mark.usefixtures("x64")


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
    estimate = sliced_wasserstein(key, normal(0, 20_000, 1), 1 + 2 * normal(1, 20_000, 1), num_projections=1)
    error = (estimate.high - estimate.low) / (2 * 1.96)
    assert abs(estimate.value - math.sqrt(2)) < 5 * error
    assert error < 0.03


# Intervals


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_intervals_hold_the_mean_of_the_estimate_as_often_as_they_say(shift):
    """95 % of the intervals, up to five standard errors of 100 trials; where the laws coincide, no fewer."""
    trials, n = 100, 100
    keys = jax.random.split(jax.random.key(0), trials)
    x, y = normal(0, trials, n, 2), normal(1, trials, n, 2) + shift
    estimates = [
        sliced_wasserstein(key, a, b, num_projections=8) for key, a, b in zip(keys, x, y, strict=True)
    ]
    mean = np.mean([e.value for e in estimates])
    coverage = np.mean([e.low <= mean <= e.high for e in estimates])
    assert coverage > 0.95 - 5 * math.sqrt(0.95 * 0.05 / trials)


def test_the_same_key_gives_the_same_interval_and_another_does_not(key):
    x, y = normal(0, 200, 2), normal(1, 200, 2)
    assert sliced_wasserstein(key, x, y) == sliced_wasserstein(key, x, y)
    assert sliced_wasserstein(key, x, y).low != sliced_wasserstein(jax.random.key(1), x, y).low


def test_a_distance_without_replicates_has_no_interval(key):
    estimate = sliced_wasserstein(key, normal(0, 50, 2), normal(1, 50, 2), replicates=0)
    assert math.isfinite(estimate.value)
    assert math.isnan(estimate.low)
    assert math.isnan(estimate.high)
