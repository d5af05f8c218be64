"""What a law of the data implies on a path: the best prediction of every kind."""

from typing import Protocol

import jax.numpy as jnp
from jaxtyping import Array, Float

from tiltflow.paths import Path, Points, Time, coefficients
from tiltflow.settings import Prediction

Times = Time | float


class Law(Protocol):
    """A law of the data whose marginals, of x_t = α·data + σ·noise, are known.

    `t` is one time for all points or one per point.
    """

    def posterior(self, path: Path, t: Times, x: Points) -> tuple[Points, Points]:
        """E[data | x_t = x] and E[noise | x_t = x]."""
        ...

    def marginal_score(self, path: Path, t: Times, x: Points) -> Points:
        """∇ log p_t(x)."""
        ...

    def log_marginal(self, path: Path, t: Times, x: Points) -> Float[Array, "*batch"]:
        """log p_t(x) in nats."""
        ...


def predict(law: Law, path: Path, want: Prediction, t: Times, x: Points) -> Points:
    """What a perfectly trained network outputs at (x, t): the mean of its target given x_t = x.

    The velocity is α'·E[data | x] + σ'·E[noise | x], which equals (α'/α)·x + [(α'/α)σ² − σ'σ]·score but
    divides by neither α nor σ; it holds at both ends of a path wherever α' and σ' are finite.
    """
    if want == "score":
        return law.marginal_score(path, t, x)
    data, noise = law.posterior(path, t, x)
    a, b = coefficients(path, want, times(t, x))
    return a[..., None] * data + b[..., None] * noise


def times(t: Times, x: Points) -> Float[Array, "*batch"]:
    """One time per point, in the points' precision."""
    return jnp.broadcast_to(jnp.asarray(t, x.dtype), x.shape[:-1])
