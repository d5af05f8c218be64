"""Random problems with known truths, and Monte Carlo comparisons in units of their standard error.

Randomness is numpy's, in double precision: nothing here has to be compiled but the tilt.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from tiltflow import exact
from tiltflow.exact import GaussianMixture, QuadraticEnergy, Tilt, gaussian_mixture

# One comparison in a million exceeds five standard errors by chance.
MAX_Z = 5.0


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def random_mixture(seed: int, components: int, size: int) -> GaussianMixture:
    """Separated, correlated components of unequal weights."""
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((components, size, size)) / np.sqrt(size)
    covariances = 0.3 * factors @ np.swapaxes(factors, -1, -2) + 0.1 * np.eye(size)
    means = 1.5 * rng.standard_normal((components, size))
    return gaussian_mixture(rng.uniform(0.5, 1.5, components), means, covariances)


def random_energy(seed: int, size: int) -> QuadraticEnergy:
    """A convex energy whose minimum is not at zero."""
    rng = np.random.default_rng([seed, 1])
    factor = rng.standard_normal((size, size)) / np.sqrt(size)
    return QuadraticEnergy(0.5 * factor @ factor.T, 0.5 * rng.standard_normal(size), 0.3)


def tilt(base: GaussianMixture, energy: QuadraticEnergy, beta: float) -> Tilt:
    """`exact.tilt`, compiled as a whole: one by one, its operations take seconds to compile."""
    return _tilt(base, energy, jnp.asarray(beta, base.means.dtype))


_tilt = eqx.filter_jit(exact.tilt)


def sample(law: GaussianMixture, seed: int, n: int) -> np.ndarray:
    """n independent points of a mixture, drawn without its own sampler."""
    rng = np.random.default_rng([seed, 2])
    weights, means, variances, axes = (
        np.asarray(leaf) for leaf in (law.weights, law.means, law.variances, law.axes)
    )
    component = rng.choice(len(weights), size=n, p=weights / weights.sum())
    scaled = np.sqrt(variances[component]) * rng.standard_normal((n, law.size))
    return means[component] + np.einsum("nij,nj->ni", axes[component], scaled)


def assert_mean(values, expected) -> None:
    """The mean over the first axis of independent values is the expected one, up to its standard error."""
    values, expected = np.asarray(values, np.float64), np.asarray(expected, np.float64)
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    excess = values.mean(axis=0) - expected
    # Values that do not vary have no standard error, only that of rounding.
    z = excess / (error + 1e-12 * np.abs(expected))
    assert np.all(np.abs(z) < MAX_Z), f"mean {values.mean(axis=0)}, expected {expected}, z-scores {z}"


def assert_moments(samples, law) -> None:
    """Mean and covariance of samples are those of a law with these attributes."""
    samples = np.asarray(samples, np.float64)
    assert_mean(samples, law.mean)
    centred = samples - np.asarray(law.mean)
    assert_mean(centred[:, :, None] * centred[:, None, :], law.covariance)
