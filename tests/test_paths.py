import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tiltflow.paths import PATHS, coefficients, convert, interpolate, target

KINDS = ("velocity", "noise", "score", "data")
INSIDE = np.linspace(0.02, 0.98, 49)

pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture(params=PATHS)
def path(request):
    return PATHS[request.param]


def test_derivatives_are_those_of_finite_differences(path):
    h = 1e-5
    t = jnp.asarray(INSIDE)
    for value, slope in ((path.alpha, path.d_alpha), (path.sigma, path.d_sigma)):
        np.testing.assert_allclose(slope(t), (value(t + h) - value(t - h)) / (2 * h), rtol=1e-8, atol=1e-9)


def test_a_path_leads_from_noise_to_data(path):
    ends = jnp.asarray([path.start, path.end])
    alpha, sigma = path.alpha(ends), path.sigma(ends)
    # VP keeps 0.66 % of the data at its noise end and 1.2 % of the noise where its times stop; the clipped OT
    # path 1 % and 0.1 %.
    np.testing.assert_allclose(alpha, [0.0, 1.0], atol=1e-2)
    np.testing.assert_allclose(sigma, [1.0, 0.0], atol=1.3e-2)
    t = jnp.linspace(path.start, path.end, 1000)
    assert jnp.all(jnp.diff(path.alpha(t)) > 0)
    assert jnp.all(jnp.diff(path.sigma(t)) < 0)


@pytest.mark.parametrize("name", ["ot", "cosine"])
def test_ends_are_exact_where_the_path_reaches_them(name):
    path, ends = PATHS[name], jnp.asarray([0.0, 1.0])
    np.testing.assert_allclose(path.alpha(ends), [0, 1], atol=1e-15)
    np.testing.assert_allclose(path.sigma(ends), [1, 0], atol=1e-15)


@pytest.mark.parametrize("name", ["vp", "cosine"])
def test_variance_is_preserved(name):
    t = jnp.asarray(INSIDE)
    np.testing.assert_allclose(PATHS[name].alpha(t) ** 2 + PATHS[name].sigma(t) ** 2, 1.0, rtol=1e-14)


def test_vp_solves_the_variance_preserving_equation():
    """d log α / ds = −β(s)/2 with β(s) = 0.1 + 19.9·s, s running from data to noise."""
    t = jnp.asarray(INSIDE)
    rate = -PATHS["vp"].d_alpha(t) / PATHS["vp"].alpha(t)
    np.testing.assert_allclose(rate, -(0.1 + 19.9 * (1 - t)) / 2, rtol=1e-12)


def test_sigma_of_vp_is_accurate_in_single_precision_at_the_data_end():
    t = np.asarray([0.9, 0.99, 0.999, 0.9999])
    single = PATHS["vp"].sigma(jnp.asarray(t, jnp.float32))
    s = 1 - np.asarray(t, np.float32).astype(np.float64)
    exact = np.sqrt(-np.expm1(-19.9 * s**2 / 2 - 0.1 * s))
    np.testing.assert_allclose(single, exact, rtol=1e-6)


def _points(key, n: int = 20):
    a, b = jax.random.split(key)
    return jax.random.normal(a, (n, 3)), jax.random.normal(b, (n, 3)), jnp.linspace(0.05, 0.95, n)


@pytest.mark.parametrize(("have", "want"), list(itertools.product(KINDS, KINDS)))
def test_convert_agrees_with_the_targets_and_inverts_itself(path, key, have, want):
    data, noise, t = _points(key)
    x = interpolate(path, data, noise, t)
    known = target(path, have, data, noise, t)
    converted = convert(path, x, known, have, want, t)
    np.testing.assert_allclose(converted, target(path, want, data, noise, t), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(convert(path, x, converted, want, have, t), known, rtol=1e-9, atol=1e-9)


def test_velocity_is_the_derivative_of_the_point(path, key):
    data, noise, t = _points(key)
    _, slope = jax.jvp(lambda t: interpolate(path, data, noise, t), (t,), (jnp.ones_like(t),))
    np.testing.assert_allclose(target(path, "velocity", data, noise, t), slope, rtol=1e-12)


def test_score_is_the_gradient_of_the_conditional_density(path, key):
    data, noise, t = _points(key)
    x = interpolate(path, data, noise, t)

    def log_density(x):
        return -0.5 * jnp.sum(((x - path.alpha(t)[:, None] * data) / path.sigma(t)[:, None]) ** 2)

    np.testing.assert_allclose(target(path, "score", data, noise, t), jax.grad(log_density)(x), rtol=1e-9)


def test_predictions_that_carry_all_information_convert_at_the_ends(key):
    data, noise, _ = _points(key)
    for name, t, have in (("ot", 0.0, "data"), ("ot", 1.0, "noise"), ("cosine", 0.0, "data")):
        time = jnp.full(len(data), t)
        x = interpolate(PATHS[name], data, noise, time)
        known = target(PATHS[name], have, data, noise, time)
        velocity = convert(PATHS[name], x, known, have, "velocity", time)
        expected = target(PATHS[name], "velocity", data, noise, time)
        np.testing.assert_allclose(velocity, expected, atol=1e-12)


def test_an_unknown_prediction_is_an_error():
    with pytest.raises(ValueError, match="unknown prediction 'epsilon'; known: velocity"):
        coefficients(PATHS["ot"], "epsilon", jnp.zeros(1))
