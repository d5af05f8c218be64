"""Conditional Gaussian paths from noise (t = 0) to data (t = 1) and the relation between predictions.

A path is x_t = α(t)·data + σ(t)·noise with noise ~ N(0, I). Everything a network may predict of it
(velocity, noise, score, data) is linear in the pair (data, noise), and so is x_t; any prediction and
x_t therefore determine every other prediction through one 2×2 linear system.
"""

from typing import ClassVar, Protocol

import jax.numpy as jnp
from jaxtyping import Array, Float

from tiltflow.settings import PathName, Prediction

Time = Float[Array, "..."]
Points = Float[Array, "... d"]


class Path(Protocol):
    """The coefficients of x_t = α(t)·data + σ(t)·noise. `start` and `end` bound the times that are used."""

    start: ClassVar[float]
    end: ClassVar[float]

    def alpha(self, t: Time) -> Time: ...
    def sigma(self, t: Time) -> Time: ...
    def d_alpha(self, t: Time) -> Time: ...
    def d_sigma(self, t: Time) -> Time: ...


class OptimalTransport:
    """α = t, σ = 1 − t: the conditional OT path of flow matching with σ_min = 0 (Lipman et al. 2022)."""

    start: ClassVar[float] = 0.0
    end: ClassVar[float] = 1.0

    def alpha(self, t: Time) -> Time:
        return t

    def sigma(self, t: Time) -> Time:
        return 1.0 - t

    def d_alpha(self, t: Time) -> Time:
        return jnp.ones_like(t)

    def d_sigma(self, t: Time) -> Time:
        return -jnp.ones_like(t)


class ClippedOptimalTransport(OptimalTransport):
    """The OT path without its ends: α = t, σ = 1 − t for 10⁻² ≤ t ≤ 1 − 10⁻³, so that noise determines data.

    QIPO-OT predicts the noise of this path at 0 ≤ t ≤ 1 − 10⁻³ (found in a public repository that adapts code
    of the paper, provenance inferred); what its sampler does at t = 0, where x_t is all noise, is not known.
    The start is ours: the data that a noise prediction implies carry its error 1/α times, and with α = 10⁻³
    that doubled the width of a learned law, while 10⁻² did not widen it. Samples start from N(0, I) there.
    """

    start: ClassVar[float] = 1e-2
    end: ClassVar[float] = 1.0 - 1e-3


class VariancePreserving:
    """log α = −(β₁ − β₀)·s²/4 − β₀·s/2 with s = 1 − t, σ² = 1 − α²: the VP-SDE with β₀ = 0.1, β₁ = 20.

    The schedule of CEP and QGPO (arXiv 2304.12824), whose time runs from data to noise. σ' is unbounded
    at the data end, so times stop at 1 − 10⁻³, as theirs do.
    """

    beta_0: ClassVar[float] = 0.1
    beta_1: ClassVar[float] = 20.0
    start: ClassVar[float] = 0.0
    end: ClassVar[float] = 1.0 - 1e-3

    def _log_alpha(self, t: Time) -> Time:
        s = 1.0 - t
        return -(self.beta_1 - self.beta_0) * s**2 / 4 - self.beta_0 * s / 2

    def alpha(self, t: Time) -> Time:
        return jnp.exp(self._log_alpha(t))

    def sigma(self, t: Time) -> Time:
        return jnp.sqrt(-jnp.expm1(2 * self._log_alpha(t)))

    def d_alpha(self, t: Time) -> Time:
        s = 1.0 - t
        return self.alpha(t) * ((self.beta_1 - self.beta_0) * s / 2 + self.beta_0 / 2)

    def d_sigma(self, t: Time) -> Time:
        return -self.alpha(t) * self.d_alpha(t) / self.sigma(t)


class Cosine:
    """α = sin(πt/2), σ = cos(πt/2): the variance-preserving trigonometric path."""

    start: ClassVar[float] = 0.0
    end: ClassVar[float] = 1.0

    def alpha(self, t: Time) -> Time:
        return jnp.sin(jnp.pi * t / 2)

    def sigma(self, t: Time) -> Time:
        return jnp.cos(jnp.pi * t / 2)

    def d_alpha(self, t: Time) -> Time:
        return jnp.pi / 2 * jnp.cos(jnp.pi * t / 2)

    def d_sigma(self, t: Time) -> Time:
        return -jnp.pi / 2 * jnp.sin(jnp.pi * t / 2)


PATHS: dict[PathName, Path] = {
    "ot": OptimalTransport(),
    "ot-clipped": ClippedOptimalTransport(),
    "vp": VariancePreserving(),
    "cosine": Cosine(),
}


def coefficients(path: Path, kind: Prediction, t: Time) -> tuple[Time, Time]:
    """(a, b) such that the prediction of that kind is a·data + b·noise.

    velocity = α'·data + σ'·noise, score = ∇ log p_t(x | data) = −noise / σ.
    """
    zero, one = jnp.zeros_like(t), jnp.ones_like(t)
    match kind:
        case "velocity":
            return path.d_alpha(t), path.d_sigma(t)
        case "noise":
            return zero, one
        case "score":
            return zero, -1.0 / path.sigma(t)
        case "data":
            return one, zero
    raise ValueError(f"unknown prediction {kind!r}; known: velocity, noise, score, data")


def interpolate(path: Path, data: Points, noise: Points, t: Time) -> Points:
    """x_t = α(t)·data + σ(t)·noise; `t` has the leading shape of `data`."""
    return path.alpha(t)[..., None] * data + path.sigma(t)[..., None] * noise


def target(path: Path, kind: Prediction, data: Points, noise: Points, t: Time) -> Points:
    """What a network that predicts `kind` is to output at (x_t, t), given the end points."""
    a, b = coefficients(path, kind, t)
    return a[..., None] * data + b[..., None] * noise


def convert(path: Path, x: Points, value: Points, have: Prediction, want: Prediction, t: Time) -> Points:
    """Convert a prediction at (x, t) into another kind.

    Singular where x_t and the prediction carry the same information: noise or score at α = 0 (the noise
    end of ot and cosine), data at σ = 0 (their data end).
    """
    if have == want:
        return value
    from_x, from_value = conversion(path, have, want, t)
    return from_x[..., None] * x + from_value[..., None] * value


def conversion(path: Path, have: Prediction, want: Prediction, t: Time) -> tuple[Time, Time]:
    """(c_x, c_value) of wanted = c_x·x + c_value·value; |c_value| turns errors of the one into the other's.

    Solves α·data + σ·noise = x, a·data + b·noise = value for (data, noise) and combines them anew.
    """
    alpha, sigma = path.alpha(t), path.sigma(t)
    a, b = coefficients(path, have, t)
    c, d = coefficients(path, want, t)
    determinant = alpha * b - sigma * a
    # (c, d) = from_x·(alpha, sigma) + from_value·(a, b)
    from_x = (c * b - d * a) / determinant
    from_value = (d * alpha - c * sigma) / determinant
    return from_x, from_value
