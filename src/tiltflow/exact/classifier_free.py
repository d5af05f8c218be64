"""Classifier-free guidance: the predictions it uses and, for one Gaussian, the law that it samples."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from tiltflow.exact.energies import QuadraticEnergy, tilt
from tiltflow.exact.laws import Law, Times, predict
from tiltflow.exact.mixtures import GaussianMixture, gaussian_mixture
from tiltflow.paths import Path, Points
from tiltflow.settings import Prediction


def predict_classifier_free(
    unconditional: Law,
    conditional: Law,
    path: Path,
    want: Prediction,
    beta: float | Array,
    t: Times,
    x: Points,
) -> Points:
    """(1 − β)·prediction of p_t + β·prediction of p_t(· | c): the score of Lemma 4.10 of arXiv 2503.04975.

    Predictions of other kinds are affine in the score with the same shift in x, so they combine alike.
    With a fictitious class whose posterior is exp(−E), `conditional` is the tilt of β = 1. The score of
    the tilted law is another one for every β but 1 (and 0).
    """
    base = predict(unconditional, path, want, t, x)
    return base + beta * (predict(conditional, path, want, t, x) - base)


def classifier_free_law(base: GaussianMixture, energy: QuadraticEnergy, beta: float) -> GaussianMixture:
    """The Gaussian that classifier-free guidance samples when p(c | x) ∝ exp(−E(x)) and p is one Gaussian.

    Along every common principal axis of p = N(m, s²) and q⁽¹⁾ = N(m₁, s₁²), the probability-flow ODE from
    σ/α = ∞ is linear and ends at (derived; the mean by variation of constants)
        variance (s²)^(1−β)·(s₁²)^β,
        mean     m + β(m₁ − m)·(s/s₁)^(1−β)·∫₀¹ [1 + (s²/s₁² − 1)u²]^((β−1)/2) du,
    where the tilt has variance 1/(1/s² + βa): the two agree at β = 0 and 1, or for a linear energy.

    Raises ValueError for more than one component, or where the two covariances share no axes.
    """
    if base.means.shape[-2] != 1:
        raise ValueError("the law of classifier-free guidance is in closed form for one Gaussian only")
    first = tilt(base, energy, 1.0).tilted
    before, after = base.covariances[0], first.covariances[0]
    # A generic combination has the common eigenvectors of both, even where one has equal eigenvalues.
    _, axes = jnp.linalg.eigh(before / jnp.trace(before) + np.sqrt(0.5) * after / jnp.trace(after))
    v, v1 = (_along(axes, covariance) for covariance in (before, after))
    nodes, node_weights = np.polynomial.legendre.leggauss(64)
    u = jnp.asarray((nodes + 1) / 2, v.dtype)
    integrand = (1 + (v / v1 - 1)[:, None] * u**2) ** ((beta - 1) / 2)
    integral = integrand @ jnp.asarray(node_weights / 2, v.dtype)
    shift = (first.means[0] - base.means[0]) @ axes
    mean = base.means[0] + axes @ (beta * shift * (v / v1) ** ((1 - beta) / 2) * integral)
    covariance = axes * (v ** (1 - beta) * v1**beta) @ axes.T
    return gaussian_mixture(jnp.ones(1, v.dtype), mean[None], covariance[None])


def _along(axes: Float[Array, "d d"], covariance: Float[Array, "d d"]) -> Float[Array, " d"]:
    """The variances along the axes, which must be principal ones."""
    turned = axes.T @ covariance @ axes
    variances = jnp.diagonal(turned)
    rest = jnp.max(jnp.abs(turned - jnp.diag(variances)))
    if rest > jnp.sqrt(jnp.finfo(turned.dtype).eps) * jnp.max(variances):
        raise ValueError("the covariance of p and the energy's matrix share no principal axes")
    return variances
