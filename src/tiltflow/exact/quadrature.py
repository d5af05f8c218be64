"""Laws tabulated on a grid, in one or two dimensions: targets without a closed form, such as p·p(c | x)^β."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.exact.laws import Times, times
from tiltflow.exact.mixtures import GaussianMixture, combine
from tiltflow.paths import Path, Points

# Points of the law that are handled at a time: the table of points against the grid stays below 100 MB.
BATCH = 256


class GridLaw(eqx.Module):
    """Masses exp(log_masses), summing to 1, on the points of a regular grid: the trapezoid rule.

    Integrals of smooth integrands that vanish at the grid's edge converge faster than any power of the
    spacing; on a path this holds while σ/α is no smaller than the spacing.
    """

    points: Float[Array, "n d"]
    log_masses: Float[Array, " n"]
    spacing: Float[Array, " d"]

    @property
    def mean(self) -> Float[Array, " d"]:
        return jnp.exp(self.log_masses) @ self.points

    @property
    def covariance(self) -> Float[Array, "d d"]:
        centred = self.points - self.mean
        return (centred.T * jnp.exp(self.log_masses)) @ centred

    def sample(self, key: PRNGKeyArray, n: int) -> Float[Array, "n d"]:
        """n independent points, uniform within the grid's cells."""
        point_key, shift_key = jax.random.split(key)
        chosen = jax.random.choice(point_key, self.points, (n,), p=jnp.exp(self.log_masses))
        shift = jax.random.uniform(shift_key, chosen.shape, chosen.dtype, minval=-0.5, maxval=0.5)
        return chosen + shift * self.spacing

    def posterior(self, path: Path, t: Times, x: Points) -> tuple[Points, Points]:
        """E[data | x_t = x] and E[noise | x_t = x], as sums over the grid; needs σ > 0."""

        def one(t: Array, x: Array) -> tuple[Array, Array]:
            noise = (x - path.alpha(t) * self.points) / path.sigma(t)
            share = jax.nn.softmax(self.log_masses - 0.5 * jnp.sum(noise**2, axis=-1))
            return share @ self.points, share @ noise

        return _over_points(one, t, x)

    def marginal_score(self, path: Path, t: Times, x: Points) -> Points:
        """∇ log p_t(x) = −E[noise | x_t = x] / σ; needs σ > 0."""
        return -self.posterior(path, t, x)[1] / path.sigma(times(t, x))[..., None]

    def log_marginal(self, path: Path, t: Times, x: Points) -> Float[Array, "*batch"]:
        """log p_t(x) in nats, as a sum over the grid; needs σ > 0."""

        def one(t: Array, x: Array) -> Array:
            sigma = path.sigma(t)
            noise = (x - path.alpha(t) * self.points) / sigma
            logs = self.log_masses - 0.5 * jnp.sum(noise**2, axis=-1)
            return jax.nn.logsumexp(logs) - x.shape[-1] * (jnp.log(sigma) + 0.5 * jnp.log(2 * jnp.pi))

        return _over_points(one, t, x)


def _over_points(one: Callable, t: Times, x: Points):
    """Map one(t, x) over the points, a batch at a time."""
    flat = (times(t, x).reshape(-1), x.reshape(-1, x.shape[-1]))
    values = jax.lax.map(lambda pair: one(*pair), flat, batch_size=BATCH)
    return jax.tree.map(lambda value: value.reshape(*x.shape[:-1], *value.shape[1:]), values)


def tabulate(
    log_density: Callable[[Points], Float[Array, "*batch"]],
    low: Sequence[float],
    high: Sequence[float],
    size: int,
) -> tuple[GridLaw, Float[Array, ""]]:
    """The law of a density known up to a factor, on size^d points of a box, and the log of its integral.

    The density must be negligible at the edge of the box.
    """
    axes = [np.linspace(a, b, size) for a, b in zip(low, high, strict=True)]
    spacing = jnp.asarray([axis[1] - axis[0] for axis in axes])
    points = jnp.asarray(np.stack([c.reshape(-1) for c in np.meshgrid(*axes, indexing="ij")], axis=-1))
    logs = log_density(points)
    total = jax.nn.logsumexp(logs)
    return GridLaw(points, logs - total, spacing), total + jnp.sum(jnp.log(spacing))


def log_class_posterior(
    classes: Sequence[GaussianMixture], priors: Float[Array, " c"], chosen: int, x: Points
) -> Float[Array, "*batch"]:
    """log p(c | x) = log π_c + log p_c(x) − log Σ_k π_k·p_k(x) for the class `chosen`."""
    log_prior = jnp.log(priors[chosen] / jnp.sum(priors))
    return log_prior + classes[chosen].log_density(x) - combine(classes, priors).log_density(x)
