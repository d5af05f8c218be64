"""A generative model of points, conditional or not: a network on a path, trained by weighted matching."""

import math
from abc import abstractmethod
from dataclasses import asdict
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.accelerators import in_slices
from tiltflow.networks import TimeNetwork
from tiltflow.paths import PATHS, Path, conversion, convert, interpolate, target
from tiltflow.settings import Prediction, SolverName
from tiltflow.solvers import Velocity, dpm_solver, integrate, log_likelihood


@final
class GivenNoise:
    """Stands where a key does, for a policy whose noise is an argument [n, k]; without it zeros are drawn."""

    def __init__(self, values: Float[Array, "n k"] | None = None):
        self.values = values
        self.used = 0
        """How many numbers a row has drawn."""

    def take(self, shape: tuple[int, ...]) -> Array:
        """The first numbers of each row, in this shape."""
        count = math.prod(shape[1:])
        self.used = max(self.used, count)
        return jnp.zeros(shape) if self.values is None else self.values[:, :count].reshape(shape)


def standard_normal(key: PRNGKeyArray | GivenNoise, shape: tuple[int, ...]) -> Array:
    """z ~ N(0, I) of the key, or of what is given in its place."""
    return key.take(shape) if isinstance(key, GivenNoise) else jax.random.normal(key, shape)


class Generator(eqx.Module):
    """Something that predicts velocity, noise, score and data of a path, and everything that follows from it.

    Times run from noise (0) to data (1). A condition, where there is one, has the leading axes of the points.
    """

    path: eqx.AbstractVar[Path]

    @abstractmethod
    def predict(
        self,
        want: Prediction,
        t: Float[Array, "*batch"],
        x: Float[Array, "*batch d"],
        condition: Float[Array, "*batch c"] | None = None,
    ) -> Float[Array, "*batch d"]:
        """The wanted prediction at points x of times t."""

    def integrate(
        self,
        noise: Float[Array, "*batch d"],
        condition: Float[Array, "*batch c"] | None = None,
        *,
        num_steps: int = 10,
        solver: SolverName = "midpoint",
    ) -> Float[Array, "*batch d"]:
        """Carry noise to data with the probability-flow ODE, dx/dt = velocity, in `num_steps` fixed steps."""

        def carry(x: Array, condition: Array | None) -> Array:
            def predict(want: Prediction) -> Velocity:
                return lambda t, x: self.predict(want, t, x, condition)

            if solver == "dpm-solver++":
                return dpm_solver(predict("data"), self.path, x, num_steps=num_steps)
            start, end = self.path.start, self.path.end
            return integrate(predict("velocity"), x, start=start, end=end, num_steps=num_steps, method=solver)

        return in_slices(carry, noise, condition)

    def sample(
        self,
        key: PRNGKeyArray,
        shape: tuple[int, ...],
        condition: Float[Array, "*batch c"] | None = None,
        *,
        num_steps: int = 10,
        solver: SolverName = "midpoint",
        noise: float = 1.0,
    ) -> Float[Array, "*batch d"]:
        """Draw points of the given shape (the last axis is a point): x = ODE(τz), z ~ N(0, I).

        τ is `noise`, the noise temperature. With τ = 1 the points are the model's; below 1 they are sharper:
        a model of N(m, S) gives N(m, τ²S).
        """
        start = noise * standard_normal(key, shape)
        return self.integrate(start, condition, num_steps=num_steps, solver=solver)

    def log_prob(
        self,
        x: Float[Array, "n d"],
        condition: Float[Array, "n c"] | None = None,
        *,
        noise: float | Array = 1.0,
        rtol: float = 1e-5,
        atol: float = 1e-5,
    ) -> Float[Array, " n"]:
        """log density of the model at x in nats, by adaptive integration of the exact divergence.

        `noise` is the temperature at which `sample` draws.
        """
        return log_likelihood(
            lambda t, x: self.predict("velocity", t, x, condition),
            x,
            start=self.path.start,
            end=self.path.end,
            noise=noise,
            rtol=rtol,
            atol=atol,
        )


class Flow(Generator):
    """A network that predicts one of velocity, noise, score and data of a path."""

    network: TimeNetwork
    path: Path = eqx.field(static=True)
    prediction: Prediction = eqx.field(static=True)

    def predict(
        self, want: Prediction, t: Array, x: Array, condition: Array | None = None
    ) -> Float[Array, "*batch d"]:
        """The network's output, converted."""
        t = jnp.broadcast_to(t, x.shape[:-1])
        output = self.network(x, t, condition)
        return convert(self.path, x, output, self.prediction, want, t)


def new_flow(key: PRNGKeyArray, size: int, condition_size: int, config: Any, **network_options: Any) -> Flow:
    """A fresh model of points of `size` entries, with the path, prediction and network of the config."""
    network = TimeNetwork(key, size, condition_size, **asdict(config.network), **network_options)
    return Flow(network=network, path=PATHS[config.path], prediction=config.prediction)


def matching_loss(
    flow: Flow,
    key: PRNGKeyArray,
    data: Float[Array, "*batch d"],
    condition: Float[Array, "*batch c"] | None = None,
    weights: Float[Array, "*batch"] | None = None,
    *,
    measure: Prediction | None = None,
) -> Float[Array, ""]:
    """Mean of w·|prediction(x_t, t) − target|²/d over rows, each with its own t ~ U and noise ~ N(0, I).

    The error is that of `measure`, which the prediction determines; without it the prediction's own.

    With velocity prediction this is L_CEFM (Theorem 4.3 of arXiv 2503.04975), with noise prediction L_CED
    with λ(t) = σ_t² (Corollary 4.8), when w = exp(−βE)/E_p[exp(−βE)]; without weights, plain conditional
    flow matching or denoising.
    """
    time_key, noise_key = jax.random.split(key)
    t = jax.random.uniform(time_key, data.shape[:-1], minval=flow.path.start, maxval=flow.path.end)
    noise = jax.random.normal(noise_key, data.shape)
    x = interpolate(flow.path, data, noise, t)
    output = flow.network(x, t, condition)
    error = jnp.mean((output - target(flow.path, flow.prediction, data, noise, t)) ** 2, axis=-1)
    if measure not in (None, flow.prediction):
        _, factor = conversion(flow.path, flow.prediction, measure, t)
        error = factor**2 * error
    return jnp.mean(error if weights is None else weights * error)
