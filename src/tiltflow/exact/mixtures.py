"""Gaussian mixtures and their marginals on a path, in closed form."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.exact.laws import Times, times
from tiltflow.paths import Path, Points


class GaussianMixture(eqx.Module):
    """Σ_k w_k·N(m_k, U_k·diag(v_k)·U_kᵀ): covariances are kept by their principal axes.

    A path scales and widens every axis by itself, so marginals cost no factorisation and hold for variances
    of zero (point masses) as long as σ > 0. Build one with `gaussian_mixture`.
    """

    log_weights: Float[Array, " k"]
    means: Float[Array, "*batch k d"]
    variances: Float[Array, "*batch k d"]
    axes: Float[Array, "k d d"]

    @property
    def size(self) -> int:
        """The dimension of a point."""
        return self.means.shape[-1]

    @property
    def weights(self) -> Float[Array, " k"]:
        return jnp.exp(self.log_weights)

    @property
    def covariances(self) -> Float[Array, "*batch k d d"]:
        """Of every component."""
        return jnp.einsum("kij,...kj,klj->...kil", self.axes, self.variances, self.axes)

    @property
    def mean(self) -> Float[Array, "*batch d"]:
        """Of the mixture."""
        return jnp.einsum("k,...ki->...i", self.weights, self.means)

    @property
    def covariance(self) -> Float[Array, "*batch d d"]:
        """Of the mixture: within the components and between them."""
        centred = self.means - self.mean[..., None, :]
        between = jnp.einsum("k,...ki,...kj->...ij", self.weights, centred, centred)
        return jnp.einsum("k,...kij->...ij", self.weights, self.covariances) + between

    def _along_axes(self, x: Points) -> Float[Array, "*batch k d"]:
        """Distances from every mean along every axis."""
        return jnp.einsum("...ki,kij->...kj", x[..., None, :] - self.means, self.axes)

    def _log_terms(self, along: Float[Array, "*batch k d"]) -> Float[Array, "*batch k"]:
        squares = along**2 / self.variances + jnp.log(2 * jnp.pi * self.variances)
        return self.log_weights - 0.5 * jnp.sum(squares, axis=-1)

    def log_density(self, x: Points) -> Float[Array, "*batch"]:
        """log p(x) in nats."""
        return jax.nn.logsumexp(self._log_terms(self._along_axes(x)), axis=-1)

    def score(self, x: Points) -> Points:
        """∇ log p(x) = Σ_k r_k(x)·S_k⁻¹(m_k − x), with r_k(x) the responsibilities."""
        along = self._along_axes(x)
        responsibilities = jax.nn.softmax(self._log_terms(along), axis=-1)
        return -jnp.einsum("...k,kij,...kj->...i", responsibilities, self.axes, along / self.variances)

    def sample(self, key: PRNGKeyArray, n: int) -> Float[Array, "n d"]:
        """n independent points."""
        component_key, noise_key = jax.random.split(key)
        component = jax.random.choice(component_key, len(self.log_weights), (n,), p=self.weights)
        noise = jax.random.normal(noise_key, (n, self.size), self.means.dtype)
        scaled = noise * jnp.sqrt(self.variances[component])
        return self.means[component] + jnp.einsum("nij,nj->ni", self.axes[component], scaled)

    def at(self, path: Path, t: Times) -> "GaussianMixture":
        """The marginal p_t = Σ_k w_k·N(α·m_k, α²·S_k + σ²·I), one for each of the times."""
        t = jnp.asarray(t, self.means.dtype)[..., None, None]
        alpha, sigma = path.alpha(t), path.sigma(t)
        variances = alpha**2 * self.variances + sigma**2
        return GaussianMixture(self.log_weights, alpha * self.means, variances, self.axes)

    def posterior(self, path: Path, t: Times, x: Points) -> tuple[Points, Points]:
        """E[data | x_t = x] = Σ_k r_k·[m_k + α·S_k·V_k⁻¹(x − α·m_k)] and E[noise | x_t = x] = −σ·score.

        V_k = α²·S_k + σ²·I is the covariance of the marginal's component (derived).
        """
        t = times(t, x)
        marginal = self.at(path, t)
        along = marginal._along_axes(x)
        responsibilities = jax.nn.softmax(marginal._log_terms(along), axis=-1)
        pull = along / marginal.variances
        noise = jnp.einsum("...k,kij,...kj->...i", responsibilities, self.axes, pull)
        shift = jnp.einsum("...k,kij,...kj->...i", responsibilities, self.axes, self.variances * pull)
        data = responsibilities @ self.means + path.alpha(t)[..., None] * shift
        return data, path.sigma(t)[..., None] * noise

    def marginal_score(self, path: Path, t: Times, x: Points) -> Points:
        """∇ log p_t(x)."""
        return self.at(path, times(t, x)).score(x)

    def log_marginal(self, path: Path, t: Times, x: Points) -> Float[Array, "*batch"]:
        """log p_t(x) in nats."""
        return self.at(path, times(t, x)).log_density(x)


def gaussian_mixture(
    weights: Float[Array, " k"], means: Float[Array, "k d"], covariances: Float[Array, "k d d"]
) -> GaussianMixture:
    """The mixture Σ_k w_k·N(m_k, S_k); weights are normalised, covariances symmetric and positive."""
    weights, means = jnp.asarray(weights), jnp.asarray(means)
    variances, axes = jnp.linalg.eigh(jnp.asarray(covariances))
    return GaussianMixture(jnp.log(weights / jnp.sum(weights)), means, variances, axes)


def combine(laws: Sequence[GaussianMixture], weights: Float[Array, " c"]) -> GaussianMixture:
    """The mixture of mixtures Σ_c w_c·p_c, as of the classes of a labelled data set."""
    log_shares = jnp.log(jnp.asarray(weights) / jnp.sum(jnp.asarray(weights)))
    return GaussianMixture(
        jnp.concatenate([law.log_weights + share for law, share in zip(laws, log_shares, strict=True)]),
        jnp.concatenate([law.means for law in laws]),
        jnp.concatenate([law.variances for law in laws]),
        jnp.concatenate([law.axes for law in laws]),
    )
