"""Guidance by a gradient: a potential network, and the generative model whose score it shifts."""

from dataclasses import asdict

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.flow import Flow, Generator
from tiltflow.guidance.contract import FlowFitConfig
from tiltflow.guidance.problem import Problem
from tiltflow.networks import TimeNetwork
from tiltflow.paths import PATHS, Path, coefficients, interpolate
from tiltflow.settings import Prediction


class Potential(eqx.Module):
    """U(x, t, condition) = unit·net(α_t·x, t, condition), or log sigmoid(net) where it is a `classifier`.

    The network sees α·x rather than x: whatever is to be known of the data is a function of α·x and t that
    stays smooth to the noise end, and the shift of the data prediction, σ²/α·∇U, stays finite there on every
    path. This parametrisation is ours.
    """

    network: TimeNetwork
    unit: Float[Array, ""]
    path: Path = eqx.field(static=True)
    classifier: bool = eqx.field(static=True)

    def logit(
        self,
        t: Float[Array, "*batch"],
        x: Float[Array, "*batch d"],
        condition: Float[Array, "*batch c"] | None = None,
    ) -> Float[Array, "*batch"]:
        """unit·net at points x of times t."""
        return self._at(t, self.path.alpha(t)[..., None] * x, condition)

    def noised_logit(
        self, key: PRNGKeyArray, points: Float[Array, "n d"], condition: Float[Array, "n c"] | None
    ) -> Float[Array, " n"]:
        """unit·net at x_t of every point, each with its own t ~ U and noise ~ N(0, I)."""
        time_key, noise_key = jax.random.split(key)
        t = jax.random.uniform(time_key, points.shape[:1], minval=self.path.start, maxval=self.path.end)
        x = interpolate(self.path, points, jax.random.normal(noise_key, points.shape), t)
        return self.logit(t, x, condition)

    def _at(self, t: Array, u: Array, condition: Array | None) -> Array:
        # The unit is a number of the problem, not a parameter.
        return jax.lax.stop_gradient(self.unit) * self.network(u, t, condition)[..., 0]

    def slope(self, t: Array, x: Array, condition: Array | None) -> Float[Array, "*batch d"]:
        """∂U/∂(α·x); ∇U is α times that."""

        def total(u: Array) -> Array:
            value = self._at(t, u, condition)
            return jnp.sum(jax.nn.log_sigmoid(value) if self.classifier else value)

        return jax.grad(total)(self.path.alpha(t)[..., None] * x)


def init_potential(
    key: PRNGKeyArray, problem: Problem, config: FlowFitConfig, unit: float, *, classifier: bool
) -> Potential:
    """A fresh potential, of a network as large as the generative one; it starts near zero."""
    sizes = problem.size, problem.condition_size
    network = TimeNetwork(key, *sizes, outputs=1, output_scale=0.1, **asdict(config.network))
    return Potential(network, jnp.asarray(unit, jnp.float32), PATHS[config.path], classifier)


def shift(
    path: Path, want: Prediction, t: Float[Array, "*batch"], slope: Float[Array, "*batch d"]
) -> Float[Array, "*batch d"]:
    """What a shift of the score by α·slope adds to the wanted prediction: (a·σ² − b·α·σ)·slope.

    The prediction is a·data + b·noise; a shift g of the score shifts the noise by −σ·g, the data by σ²/α·g.
    """
    a, b = coefficients(path, want, t)
    alpha, sigma = path.alpha(t), path.sigma(t)
    return (a * sigma**2 - b * alpha * sigma)[..., None] * slope


class Guided(Generator):
    """The generative model whose score is score(base) + scale·∇U."""

    base: Flow
    potential: Potential
    scale: Float[Array, ""]
    path: Path = eqx.field(static=True)

    def predict(
        self,
        want: Prediction,
        t: Float[Array, "*batch"],
        x: Float[Array, "*batch d"],
        condition: Float[Array, "*batch c"] | None = None,
    ) -> Float[Array, "*batch d"]:
        """The base's prediction plus the shift of the score by scale·∇U = α·scale·∂U/∂(αx)."""
        t = jnp.broadcast_to(t, x.shape[:-1])
        slope = self.scale * self.potential.slope(t, x, condition)
        return self.base.predict(want, t, x, condition) + shift(self.path, want, t, slope)
