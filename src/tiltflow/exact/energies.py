"""Quadratic energies, and the tilt of a Gaussian mixture by one."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from tiltflow.exact.laws import Times
from tiltflow.exact.mixtures import GaussianMixture
from tiltflow.paths import Path, Points


class QuadraticEnergy(eqx.Module):
    """E(x) = ½·xᵀAx − bᵀx + c with A symmetric."""

    matrix: Float[Array, "d d"]
    vector: Float[Array, " d"]
    constant: Float[Array, ""] | float = 0.0

    def __call__(self, x: Points) -> Float[Array, "*batch"]:
        square = 0.5 * jnp.einsum("...i,ij,...j->...", x, self.matrix, x)
        return square - x @ self.vector + self.constant

    def gradient(self, x: Points) -> Points:
        """∇E(x) = Ax − b."""
        return x @ self.matrix - self.vector


class Tilt(eqx.Module):
    """q(x) = p(x)·exp(−βE(x)) / Z and the intermediate energies E_t between their marginals.

    E_t is defined by exp(−E_t(x)) = E[exp(−βE(data)) | x_t = x], what CEP (arXiv 2304.12824) learns.
    """

    base: GaussianMixture
    tilted: GaussianMixture
    log_z: Float[Array, ""]

    def intermediate_energy(self, path: Path, t: Times, x: Points) -> Float[Array, "*batch"]:
        """E_t(x) = log p_t(x) − log q_t(x) − log Z: βE(x) at the data end, −log Z where α = 0."""
        return self.base.log_marginal(path, t, x) - self.tilted.log_marginal(path, t, x) - self.log_z

    def intermediate_energy_gradient(self, path: Path, t: Times, x: Points) -> Points:
        """∇E_t(x) = ∇ log p_t(x) − ∇ log q_t(x)."""
        return self.base.marginal_score(path, t, x) - self.tilted.marginal_score(path, t, x)


def tilt(base: GaussianMixture, energy: QuadraticEnergy, beta: Float[Array, ""] | float) -> Tilt:
    """The exact q ∝ p·exp(−βE), a mixture again, and log Z = log E_p[exp(−βE)].

    Completing the square (derived): with S = LLᵀ, C = I + β·LᵀAL and g = ∇E(m), a component N(m, S) of
    weight w becomes N(m − β·LC⁻¹Lᵀg, LC⁻¹Lᵀ) of weight w·exp(−βE(m) + ½β²·gᵀLC⁻¹Lᵀg)·|C|^(−½). S is not
    inverted, so flat components are allowed. Where βA is so negative that the product cannot be
    normalised, an equinox runtime error says so.
    """
    beta = jnp.asarray(beta, base.means.dtype)
    factor = base.axes * jnp.sqrt(base.variances)[:, None, :]
    curvature = jnp.einsum("kia,ij,kjb->kab", factor, energy.matrix, factor)
    stretch, turn = jnp.linalg.eigh(jnp.eye(base.size, dtype=factor.dtype) + beta * curvature)
    improper = jnp.any(stretch <= 0)
    stretch = eqx.error_if(stretch, improper, "p·exp(−βE) has no finite integral: β·A is too negative")
    spread = factor @ turn / jnp.sqrt(stretch)[:, None, :]  # spread·spreadᵀ is the new covariance
    pull = jnp.einsum("kia,ki->ka", spread, energy.gradient(base.means))
    log_factors = 0.5 * jnp.sum((beta * pull) ** 2 - jnp.log(stretch), axis=-1)
    log_terms = base.log_weights - beta * energy(base.means) + log_factors
    log_z = jax.nn.logsumexp(log_terms)
    axes, scales, _ = jnp.linalg.svd(spread)
    means = base.means - beta * jnp.einsum("kia,ka->ki", spread, pull)
    return Tilt(base, GaussianMixture(log_terms - log_z, means, scales**2, axes), log_z)
