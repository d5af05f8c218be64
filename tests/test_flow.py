from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from laws import assert_mean, assert_moments, normal, random_energy, random_mixture, sample, tilt
from tiltflow.errors import UserError
from tiltflow.exact import gaussian_mixture, predict
from tiltflow.flow import Flow, matching_loss
from tiltflow.model_settings import FlowConfig
from tiltflow.networks import TimeNetwork
from tiltflow.paths import PATHS, Path, Prediction

pytestmark = pytest.mark.usefixtures("quickly_compiled")

BETA = 2.0


class ExactNetwork(eqx.Module):
    """The best network there is, plus θ times features of (x, t) that an error could have."""

    law: Any
    path: Path = eqx.field(static=True)
    prediction: Prediction = eqx.field(static=True)
    theta: jax.Array

    def __call__(self, x, t, condition=None):
        wave = jnp.sin(jnp.pi * t)[..., None]
        features = jnp.stack([jnp.ones_like(x), x, wave * x, jnp.tanh(x[..., ::-1])], axis=-1)
        return predict(self.law, self.path, self.prediction, t, x) + features @ self.theta


def exact_flow(law, path: Path, prediction: Prediction) -> Flow:
    return Flow(ExactNetwork(law, path, prediction, jnp.zeros(4)), path, prediction)


@pytest.fixture(params=PATHS)
def path(request):
    return PATHS[request.param]


@pytest.fixture(scope="module")
def problem():
    """A mixture in the plane, its tilt and the energy, in double precision."""
    with jax.enable_x64(True):
        energy = random_energy(0, 2)
        return tilt(random_mixture(0, 3, 2), energy, BETA), energy


# A flow whose network is exact


@pytest.mark.usefixtures("x64")
def test_every_wanted_prediction_follows_from_the_networks_own(problem, path):
    law, t, x = problem[0].tilted, jnp.linspace(0.1, 0.9, 20), sample(problem[0].base, 0, 20)
    flow = exact_flow(law, path, "noise")
    everything = jax.jit(lambda: {want: flow.predict(want, t, x) for want in ("velocity", "score", "data")})
    for want, value in everything().items():
        np.testing.assert_allclose(value, predict(law, path, want, t, x), rtol=1e-9, atol=1e-9, err_msg=want)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("solver", ["midpoint", "dpm-solver++"])
@pytest.mark.parametrize(
    ("name", "prediction"), [("ot", "velocity"), ("ot-clipped", "noise"), ("vp", "noise")]
)
def test_samples_of_an_exact_flow_have_the_law(problem, key, name, prediction, solver):
    law, path = problem[0].tilted, PATHS[name]
    flow = exact_flow(law, path, prediction)
    draw = jax.jit(lambda key: flow.sample(key, (4000, 2), num_steps=100, solver=solver))
    assert_moments(draw(key), law.at(path, path.end))


@pytest.mark.usefixtures("x64")
def test_the_published_sampler_carries_noise_to_a_gaussian():
    """From an exact noise prediction: x ↦ m₁ + √(V₁/V₀)·(x − m₀), N(m₀, V₀) and N(m₁, V₁) the path's ends.

    DPM-Solver's map is affine here too. In the 15 steps of QIPO its centre is right, its width to 4 %; the
    error of the width falls with the square of the steps.
    """
    path, variances = PATHS["ot-clipped"], np.diag([0.01, 0.04])  # rising: a mixture keeps them in this order
    law = gaussian_mixture(np.ones(1), np.asarray([[0.3, -0.6]]), variances[None])
    flow, noise = exact_flow(law, path, "noise"), jnp.asarray([[0.0, 0.0], [1.0, 1.0]])
    start, end = law.at(path, path.start), law.at(path, path.end)
    width = np.sqrt(np.asarray(end.variances[0] / start.variances[0]))
    centre = np.asarray(end.means[0]) - width * np.asarray(start.means[0])

    carry = jax.jit(partial(flow.integrate, solver="dpm-solver++"), static_argnames="num_steps")

    def errors_of_width(num_steps):
        at_zero, at_one = carry(noise, num_steps=num_steps)
        np.testing.assert_allclose(at_zero, centre, atol=1e-4)
        return np.abs((at_one - at_zero) / width - 1)

    assert errors_of_width(15).max() < 0.04
    assert np.all(errors_of_width(120) < errors_of_width(60) / 3)


@pytest.mark.usefixtures("x64")
def test_log_prob_at_a_noise_temperature_is_that_of_what_is_sampled_then():
    """A flow to N(m, S) played with noise τ gives N(m, τ²S)."""
    mean, covariance = np.array([[0.3, -0.6]]), np.diag([0.01, 0.04])
    flow = exact_flow(gaussian_mixture(np.ones(1), mean, covariance[None]), PATHS["ot"], "velocity")
    sharp = gaussian_mixture(np.ones(1), mean, 0.25 * covariance[None])
    x = sample(sharp, 0, 20)
    log_prob = jax.jit(lambda x: flow.log_prob(x, noise=0.5))(x)
    np.testing.assert_allclose(log_prob, sharp.log_density(x), atol=1e-3)


# The loss


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("name", "prediction"),
    [("ot", "velocity"), ("ot", "data"), ("vp", "noise"), ("vp", "velocity"), ("cosine", "velocity")],
)
def test_the_weighted_loss_is_least_at_the_tilted_law(problem, name, prediction):
    """Theorem 4.3 of arXiv 2503.04975: weighted by exp(−βE)/Z, the minimiser is the guided prediction.

    θ adds functions of (x, t) to a network that is exact for the tilted law. The loss is a convex
    quadratic of θ whose mean gradient is zero there, and is not at the law of the data.
    """
    result, energy = problem
    data = sample(result.base, 0, 50_000).reshape(100, 500, 2)
    weights = np.exp(-BETA * energy(data) - result.log_z)
    keys = jax.random.split(jax.random.key(0), 100)
    path = PATHS[name]

    @jax.jit
    def gradients(law):
        def loss(theta, key, data, weights):
            flow = Flow(ExactNetwork(law, path, prediction, theta), path, prediction)
            return matching_loss(flow, key, data, weights=weights)

        return jax.lax.map(lambda batch: jax.grad(loss)(jnp.zeros(4), *batch), (keys, data, weights))

    assert_mean(gradients(result.tilted), np.zeros(4))
    with pytest.raises(AssertionError, match="z-scores"):
        assert_mean(gradients(result.base), np.zeros(4))


@pytest.mark.usefixtures("x64")
def test_the_value_of_the_loss_at_the_exact_velocity_is_the_conditional_variance(problem, key):
    """On OT with one point as data, x_t determines the noise: the loss of the exact flow is zero."""
    point = tilt(random_mixture(0, 1, 2), problem[1], 0.0).base
    point = eqx.tree_at(lambda law: law.variances, point, jnp.zeros((1, 2)))
    flow = exact_flow(point, PATHS["ot"], "velocity")
    data = jnp.broadcast_to(point.means[0], (50, 2))
    loss = jax.jit(lambda data: matching_loss(flow, key, data))
    np.testing.assert_allclose(loss(data), 0.0, atol=1e-12)
    assert loss(data + jnp.asarray([3.0, 0.0])) > 1.0


def _network_flow(key, condition_size=0) -> Flow:
    return Flow(TimeNetwork(key, 2, condition_size, width=32, depth=2), PATHS["ot"], "velocity")


@pytest.mark.usefixtures("x64")
def test_weights_of_one_are_no_weights_and_weights_scale_their_rows(key):
    flow, data = _network_flow(key), normal(0, 6, 2)
    weighted = jax.jit(lambda weights: matching_loss(flow, key, data, weights=weights))
    loss = jax.jit(lambda: matching_loss(flow, key, data))()
    np.testing.assert_allclose(weighted(np.ones(6)), loss, rtol=1e-12)
    rows = np.asarray([weighted(6.0 * (np.arange(6) == i)) for i in range(6)])
    np.testing.assert_allclose(rows.mean(), loss, rtol=1e-12)
    np.testing.assert_allclose(weighted(np.arange(6.0)), np.mean(np.arange(6) * rows), rtol=1e-12)


class Converted(eqx.Module):
    """A network that outputs another prediction of a flow."""

    flow: Flow
    want: str = eqx.field(static=True)

    def __call__(self, x, t, condition):
        return self.flow.predict(self.want, t, x, condition)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("path", "have", "want"), [("vp", "velocity", "noise"), ("ot", "data", "velocity")])
def test_an_error_measured_as_another_predictions_is_that_of_the_converted_network(path, have, want, key):
    flow = Flow(TimeNetwork(key, 2, 0, width=32, depth=2), PATHS[path], have)
    other = Flow(Converted(flow, want), PATHS[path], want)
    data = normal(0, 200, 2)
    measured = jax.jit(lambda: matching_loss(flow, key, data, measure=want))()
    np.testing.assert_allclose(measured, jax.jit(lambda: matching_loss(other, key, data))(), rtol=1e-9)
    assert abs(measured / jax.jit(lambda: matching_loss(flow, key, data))() - 1) > 0.5


# A flow with a condition, and every sampler


@pytest.mark.usefixtures("x64")
def test_a_sample_depends_on_its_own_noise_and_condition_alone(key):
    flow = _network_flow(key, condition_size=3)
    noise, condition = normal(0, 4, 5, 2), normal(1, 4, 5, 3)
    carry = jax.jit(lambda noise, condition: flow.integrate(noise, condition, num_steps=3))
    whole = carry(noise, condition)
    assert whole.shape == (4, 5, 2)
    np.testing.assert_allclose(carry(noise[2, 3], condition[2, 3]), whole[2, 3], rtol=1e-10)
    assert np.all(np.abs(carry(noise, condition + 1) - whole) > 0)


@pytest.mark.parametrize("path", ["ot", "vp", "cosine"])
@pytest.mark.parametrize("prediction", ["velocity", "noise", "data", "score"])
def test_every_sampler_that_a_config_allows_gives_numbers(path, prediction):
    key = jax.random.key(0)
    flow = Flow(TimeNetwork(key, 2, 0, width=8, depth=1), PATHS[path], prediction)
    for solver in ("euler", "midpoint", "heun", "rk4", "dpm-solver++"):
        try:
            FlowConfig(path=path, prediction=prediction, solver=solver)
        except UserError:
            continue
        with jax.disable_jit():  # which takes longer than three steps
            samples = flow.sample(key, (16, 2), num_steps=3, solver=solver)
        assert np.isfinite(samples).all(), solver
