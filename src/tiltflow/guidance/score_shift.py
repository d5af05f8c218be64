"""Guidance by a gradient: a potential network, and the generative model whose score it shifts."""

from abc import abstractmethod
from dataclasses import asdict

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.flow import Flow, Generator
from tiltflow.model_settings import NetworkConfig
from tiltflow.networks import TIME_FEATURES, TimeNetwork
from tiltflow.paths import PATHS, Path, coefficients, interpolate
from tiltflow.settings import PathName, Prediction


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
    key: PRNGKeyArray,
    size: int,
    condition_size: int,
    network: NetworkConfig,
    path: PathName,
    *,
    unit: float = 1.0,
    features: int = TIME_FEATURES,
    classifier: bool = False,
) -> Potential:
    """A fresh potential of points of `size` entries; it starts near zero."""
    options = {"outputs": 1, "output_scale": 0.1, "features": features, **asdict(network)}
    layers = TimeNetwork(key, size, condition_size, **options)
    return Potential(layers, jnp.asarray(unit, jnp.float32), PATHS[path], classifier)


class Shifted(Generator):
    """A generative model whose score is score(base) + α·scale·slope."""

    base: eqx.AbstractVar[Generator]
    scale: eqx.AbstractVar[Float[Array, ""]]

    @abstractmethod
    def slope(self, t: Array, x: Array, condition: Array | None) -> Float[Array, "*batch d"]:
        """The shift of the score over α·scale, at points x of times t."""

    def predict(
        self, want: Prediction, t: Array, x: Array, condition: Array | None = None
    ) -> Float[Array, "*batch d"]:
        """(a·data + b·noise of the base) + (a·σ² − b·α·σ)·scale·slope.

        A shift g of the score shifts the noise by −σ·g and the data by σ²/α·g.
        """
        t = jnp.broadcast_to(t, x.shape[:-1])
        a, b = coefficients(self.path, want, t)
        alpha, sigma = self.path.alpha(t), self.path.sigma(t)
        slope = self.scale * self.slope(t, x, condition)
        shift = (a * sigma**2 - b * alpha * sigma)[..., None] * slope
        return self.base.predict(want, t, x, condition) + shift


class Guided(Shifted):
    """The generative model whose score is score(base) + scale·∇U, ∇U = α·∂U/∂(αx)."""

    base: Flow
    potential: Potential
    scale: Float[Array, ""]
    path: Path = eqx.field(static=True)

    def slope(self, t: Array, x: Array, condition: Array | None) -> Float[Array, "*batch d"]:
        return self.potential.slope(t, x, condition)
