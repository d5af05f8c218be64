from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from laws import assert_mean, assert_moments, normal, random_energy, random_mixture, sample, tilt
from tiltflow import exact
from tiltflow.exact import (
    QuadraticEnergy,
    classifier_free_law,
    combine,
    gaussian_mixture,
    log_class_posterior,
    predict,
    predict_classifier_free,
)
from tiltflow.paths import PATHS, convert, interpolate, target
from tiltflow.solvers import integrate

KINDS = ("velocity", "noise", "score", "data")
MANY = 50_000
BETA = 2.0

tabulate = eqx.filter_jit(exact.tabulate)


@partial(jax.jit, static_argnums=1)
def predict_all(law, path, t, x):
    kinds = {want: predict(law, path, want, t, x) for want in KINDS}
    return kinds | {"log density": law.log_marginal(path, t, x)}


pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture(params=PATHS)
def path(request):
    return PATHS[request.param]


@pytest.fixture
def law():
    """A mixture of three components in the plane."""
    return random_mixture(0, 3, 2)


@pytest.fixture
def energy():
    return random_energy(0, 2)


@pytest.fixture
def problem(law, energy):
    """The tilt of the mixture by the energy, with β = 2."""
    return tilt(law, energy, BETA)


def likelihood(path, t, x, data):
    """p_t(x | data) and the noise that leads from the data to x, for one x and many data."""
    sigma = path.sigma(t)
    noise = (x - path.alpha(t) * data) / sigma
    density = jnp.exp(-0.5 * jnp.sum(noise**2, axis=-1)) / (2 * jnp.pi * sigma**2) ** (data.shape[-1] / 2)
    return density, noise


def carry(velocity, noise, end, num_steps=100, method="midpoint"):
    """Integrate a velocity of (t, x) from t = 0."""
    solve = partial(integrate, velocity, start=0.0, end=end, num_steps=num_steps, method=method)
    return jax.jit(solve)(noise)


# Mixtures


@pytest.mark.parametrize("size", [1, 2])
def test_a_density_integrates_to_one(size):
    _, log_total = tabulate(random_mixture(0, 3, size).log_density, [-9.0] * size, [9.0] * size, 400)
    np.testing.assert_allclose(log_total, 0.0, atol=1e-10)


@pytest.mark.parametrize("size", [1, 2, 8])
def test_samples_have_the_moments_of_the_mixture(key, size):
    law = random_mixture(0, 3, size)
    assert_moments(jax.jit(lambda key: law.sample(key, MANY))(key), law)


def test_score_is_the_gradient_of_the_log_density():
    law = random_mixture(0, 3, 8)
    x = sample(law, 0, 50)
    score, gradient = jax.jit(lambda x: (law.score(x), jax.vmap(jax.grad(law.log_density))(x)))(x)
    np.testing.assert_allclose(score, gradient, rtol=1e-9)


def test_a_mixture_of_mixtures_has_their_weighted_density(law):
    other = random_mixture(1, 2, 2)

    @jax.jit
    def densities(x):
        both = combine([law, other], jnp.asarray([0.6, 1.4]))
        return jnp.exp(jnp.stack([law.log_density(x) for law in (both, law, other)]))

    both, one, two = densities(sample(law, 0, 20))
    np.testing.assert_allclose(both, 0.3 * one + 0.7 * two, rtol=1e-12)


# Marginals on a path


def test_samples_of_a_marginal_are_mixed_data_and_noise(path, law):
    x = interpolate(path, sample(law, 0, MANY), normal(1, MANY, 2), jnp.full(MANY, 0.6))
    assert_moments(x, law.at(path, 0.6))


def test_marginal_density_and_posterior_means_are_those_of_monte_carlo(path, law):
    t, data = 0.6, sample(law, 0, MANY)

    @jax.jit
    def compare(x):
        weight, noise = likelihood(path, t, x, data)
        data_mean, noise_mean = law.posterior(path, t, x)
        gaps = weight[:, None] * jnp.concatenate([data - data_mean, noise - noise_mean], axis=-1)
        return weight, jnp.exp(law.log_marginal(path, t, x)), gaps

    for x in sample(law.at(path, t), 1, 3):
        weight, density, gaps = compare(x)
        assert_mean(weight, density)
        assert_mean(gaps, np.zeros(4))


def test_predictions_obey_the_relation_between_predictions(path, law):
    x, t = sample(law, 0, 20), jnp.linspace(0.1, 0.95, 20)
    known = predict_all(law, path, t, x)
    for have in KINDS:
        for want in KINDS:
            converted = convert(path, x, known[have], have, want, t)
            np.testing.assert_allclose(
                converted, known[want], rtol=1e-9, atol=1e-9, err_msg=f"{have} → {want}"
            )


def test_predictions_are_finite_and_continuous_at_both_ends(path, law):
    x, ones = sample(law, 0, 20), np.ones(20)
    for end, inside in ((path.start, path.start + 1e-7), (path.end, path.end - 1e-7)):
        at_end, near = predict_all(law, path, end * ones, x), predict_all(law, path, inside * ones, x)
        for want in KINDS:
            np.testing.assert_allclose(at_end[want], near[want], rtol=1e-4, atol=1e-4, err_msg=want)


def test_the_velocity_obeys_the_continuity_equation(path, problem):
    """∂ log p_t/∂t + ∇·v + v·∇ log p_t = 0, for the base and for the tilted law."""

    @jax.jit
    def residual(law, t, x):
        def one(x):
            velocity = partial(predict, law, path, "velocity", t)
            rate = jax.grad(lambda t: law.log_marginal(path, t, x))(t)
            return rate + jnp.trace(jax.jacfwd(velocity)(x)) + velocity(x) @ law.marginal_score(path, t, x)

        return jax.vmap(one)(x)

    for law in (problem.base, problem.tilted):
        for t in (0.05, 0.5, 0.95):
            x = sample(law.at(path, t), 1, 20)
            np.testing.assert_allclose(residual(law, t, x), 0.0, atol=1e-8)


def test_the_closed_form_velocity_carries_noise_to_the_tilted_law(path, problem):
    law = problem.tilted
    noise = sample(law.at(path, 0.0), 1, 4_000)
    ends = carry(partial(predict, law, path, "velocity"), noise, path.end)
    assert_moments(ends, law.at(path, path.end))


def test_point_masses_have_marginals_where_there_is_noise(path):
    law = gaussian_mixture(np.ones(2), np.asarray([[-1.0], [1.0]]), np.zeros((2, 1, 1)))
    alpha, sigma = path.alpha(0.7), path.sigma(0.7)
    x = np.asarray([[0.3], [-2.0]])
    # E[data | x] of two equal masses at ±1 is tanh(αx/σ²).
    data_mean = jax.jit(lambda x: predict(law, path, "data", 0.7, x))(x)
    np.testing.assert_allclose(data_mean, np.tanh(alpha * x / sigma**2), rtol=1e-12)


# Tilts


@pytest.mark.parametrize("size", [1, 2, 8])
def test_the_tilt_is_the_product_of_density_and_exponential(size):
    base, energy = random_mixture(0, 3, size), random_energy(0, size)
    x = sample(base, 0, 2 * MANY)  # few of them carry the factor of 8 dimensions

    @jax.jit
    def compare(beta):
        result = exact.tilt(base, energy, beta)
        log_factor = -beta * energy(x)
        product = base.log_density(x) + log_factor - result.log_z
        return result, result.tilted.log_density(x), product, jnp.exp(log_factor)

    for beta in (0.0, 0.5, 5.0):
        result, log_density, product, factor = compare(beta)
        np.testing.assert_allclose(log_density, product, rtol=1e-9, atol=1e-9)
        assert_mean(factor, np.exp(result.log_z))
        np.testing.assert_allclose(np.sum(np.exp(result.tilted.log_weights)), 1.0, rtol=1e-12)


def test_tilting_twice_is_tilting_by_the_sum(problem, energy):
    """Refreshing l times with exact steps tilts by (l + 1)·β: equation (5.4) of arXiv 2503.04975."""
    twice = tilt(problem.tilted, energy, BETA)
    direct = tilt(problem.base, energy, 2 * BETA)
    for name in ("log_weights", "means", "covariances"):
        expected = getattr(direct.tilted, name)
        np.testing.assert_allclose(getattr(twice.tilted, name), expected, rtol=1e-9, err_msg=name)
    np.testing.assert_allclose(problem.log_z + twice.log_z, direct.log_z, rtol=1e-9)


def test_a_concave_energy_is_tilted_as_long_as_the_product_is_finite():
    base = gaussian_mixture(np.ones(1), np.zeros((1, 1)), np.eye(1)[None])
    energy = QuadraticEnergy(-np.eye(1), np.zeros(1))
    np.testing.assert_allclose(tilt(base, energy, 0.75).tilted.covariance, [[4.0]])
    with pytest.raises(eqx.EquinoxRuntimeError, match="no finite integral"):
        tilt(base, energy, 1.5)


def test_the_energy_and_its_gradient_agree(energy):
    x = normal(0, 10, 2)
    np.testing.assert_allclose(energy.gradient(x), jax.jit(jax.vmap(jax.grad(energy)))(x), rtol=1e-12)


def test_intermediate_energy_is_the_posterior_mean_of_the_weights(path, problem, energy):
    t, data = 0.6, sample(problem.base, 1, MANY)

    @jax.jit
    def gap(x):
        factor = jnp.exp(-BETA * energy(data)) - jnp.exp(-problem.intermediate_energy(path, t, x))
        return likelihood(path, t, x, data)[0] * factor

    for x in sample(problem.base.at(path, t), 2, 3):
        assert_mean(gap(x), 0.0)


def test_intermediate_energy_at_the_ends_and_its_gradient(problem, energy):
    path, x = PATHS["ot"], sample(problem.base, 1, 20)

    @jax.jit
    def compare(t):
        value = partial(problem.intermediate_energy, path, t)
        gradient = problem.intermediate_energy_gradient(path, t, x)
        return value(x), gradient, jax.vmap(jax.grad(value))(x)

    np.testing.assert_allclose(compare(0.0)[0], np.full(20, -problem.log_z), atol=1e-9)
    np.testing.assert_allclose(compare(1.0)[0], BETA * energy(x), atol=1e-9)
    _, gradient, derived = compare(0.6)
    np.testing.assert_allclose(gradient, derived, rtol=1e-8)


def test_guided_velocity_is_the_weighted_mean_of_conditional_velocities(path, problem, energy):
    """Theorem 4.1 of arXiv 2503.04975: û_t(x) = E[u_t(x | data)·exp(−βE(data)) | x] / exp(−E_t(x))."""
    t, data = 0.6, sample(problem.base, 1, MANY)

    @jax.jit
    def gap(x):
        density, noise = likelihood(path, t, x, data)
        conditional = target(path, "velocity", data, noise, jnp.full(MANY, t))
        guided = predict(problem.tilted, path, "velocity", t, x)
        return (density * jnp.exp(-BETA * energy(data)))[:, None] * (conditional - guided)

    for x in sample(problem.tilted.at(path, t), 2, 3):
        assert_mean(gap(x), np.zeros(2))


# Classifier-free guidance


def _one_gaussian(curvature: float, slope: float, size: int = 1):
    base = gaussian_mixture(np.ones(1), np.full((1, size), 0.5), np.eye(size)[None])
    return base, QuadraticEnergy(curvature * np.eye(size), np.full(size, slope))


@pytest.mark.parametrize(
    ("beta", "truth", "classifier_free"),
    [(0.5, 0.667, 0.707), (2.0, 0.333, 0.25), (3.0, 0.25, 0.125), (5.0, 0.167, 0.031)],
)
def test_variances_of_the_truth_and_of_classifier_free_guidance(beta, truth, classifier_free):
    base, energy = _one_gaussian(1.0, 0.0)
    np.testing.assert_allclose(tilt(base, energy, beta).tilted.covariance, truth, atol=5e-4)
    np.testing.assert_allclose(classifier_free_law(base, energy, beta).covariance, classifier_free, atol=5e-4)


@pytest.mark.parametrize("beta", [0.5, 3.0])
def test_classifier_free_guidance_ends_in_its_closed_form(beta):
    """The ODE of one Gaussian is linear: 0 ends at the mean, and the unit vectors span a root of S there."""
    turn = np.linalg.qr(normal(0, 2, 2))[0]
    covariance, curvature = (turn @ np.diag(values) @ turn.T for values in ([2.0, 0.5], [1.5, 0.7]))
    base = gaussian_mixture(np.ones(1), np.asarray([[1.0, -0.5]]), covariance[None])
    energy = QuadraticEnergy(curvature, np.asarray([0.8, -1.0]))
    velocity = partial(
        predict_classifier_free,
        base,
        tilt(base, energy, 1.0).tilted,
        PATHS["ot"],
        "velocity",
        beta,
    )
    ends = carry(velocity, np.concatenate([np.zeros((1, 2)), np.eye(2)]), 1.0, num_steps=400, method="rk4")
    root = (ends[1:] - ends[0]).T
    law = classifier_free_law(base, energy, beta)
    np.testing.assert_allclose(ends[0], law.mean, rtol=1e-6)
    np.testing.assert_allclose(root @ root.T, law.covariance, rtol=1e-6, atol=1e-8)
    truth = tilt(base, energy, beta).tilted
    assert np.max(np.abs(truth.covariance - law.covariance)) > 0.02


@pytest.mark.parametrize(("beta", "curvature"), [(0.0, 1.0), (1.0, 1.0), (4.0, 0.0)])
def test_classifier_free_guidance_is_exact_at_zero_at_one_and_for_linear_energies(beta, curvature):
    base, energy = _one_gaussian(curvature, 0.7, size=2)
    law, truth = classifier_free_law(base, energy, beta), tilt(base, energy, beta).tilted
    np.testing.assert_allclose(law.mean, truth.mean, rtol=1e-10)
    np.testing.assert_allclose(law.covariance, truth.covariance, rtol=1e-10, atol=1e-12)


def test_classifier_free_predictions_of_all_kinds_are_one(problem, path):
    x, t = sample(problem.base, 1, 20), jnp.linspace(0.1, 0.95, 20)

    @jax.jit
    def guided():
        free = partial(predict_classifier_free, problem.base, problem.tilted, path)
        return {want: free(want, 3.0, t, x) for want in KINDS}

    base, tilted = (predict_all(law, path, t, x)["score"] for law in (problem.base, problem.tilted))
    values = guided()
    np.testing.assert_allclose(values["score"], -2.0 * base + 3.0 * tilted, rtol=1e-9, atol=1e-9)
    for want in KINDS:
        score = convert(path, x, values[want], want, "score", t)
        np.testing.assert_allclose(score, values["score"], rtol=1e-8, atol=1e-8, err_msg=want)


def test_the_closed_form_refuses_what_it_does_not_cover():
    with pytest.raises(ValueError, match="one Gaussian only"):
        classifier_free_law(random_mixture(0, 2, 2), random_energy(0, 2), 2.0)
    with pytest.raises(ValueError, match="share no principal axes"):
        classifier_free_law(random_mixture(0, 1, 2), random_energy(0, 2), 2.0)


# Quadrature


def test_a_tabulated_tilt_is_the_closed_form(path, problem, energy):
    log_density = lambda x: problem.base.log_density(x) - BETA * energy(x)  # noqa: E731
    law, log_z = tabulate(log_density, [-7.0, -7.0], [7.0, 7.0], 201)
    np.testing.assert_allclose(log_z, problem.log_z, atol=1e-9)
    np.testing.assert_allclose(law.mean, problem.tilted.mean, atol=1e-9)
    np.testing.assert_allclose(law.covariance, problem.tilted.covariance, atol=1e-9)
    x, t = sample(problem.tilted, 1, 20), jnp.linspace(0.02, 0.8, 20)
    on_grid, closed = predict_all(law, path, t, x), predict_all(problem.tilted, path, t, x)
    for name in closed:
        np.testing.assert_allclose(on_grid[name], closed[name], rtol=1e-6, atol=1e-7, err_msg=name)


def test_samples_of_a_tabulated_law_have_its_moments(key, law):
    grid, _ = tabulate(law.log_density, [-7.0, -7.0], [7.0, 7.0], 201)
    assert_moments(jax.jit(lambda key: grid.sample(key, MANY))(key), law)


def _two_classes():
    """Two classes of equal share on the line, N(−0.6, 0.5) and N(0.8, 0.3); the second is wanted."""
    classes = [
        gaussian_mixture(np.ones(1), np.asarray([[mean]]), np.asarray([[[variance]]]))
        for mean, variance in ((-0.6, 0.5), (0.8, 0.3))
    ]
    return classes, jnp.asarray([0.5, 0.5])


def test_class_posteriors_sum_to_one():
    posterior = jax.jit(lambda x: [jnp.exp(log_class_posterior(*_two_classes(), c, x)) for c in (0, 1)])
    np.testing.assert_allclose(sum(posterior(normal(0, 50, 1))), 1.0, rtol=1e-12)


@pytest.mark.parametrize(("beta", "mean", "deviation"), [(1, 0.8, 0.5477), (8, 1.165, 0.405)])
def test_energy_guidance_by_a_class_posterior_samples_the_tilt_and_classifier_free_does_not(
    beta, mean, deviation
):
    classes, priors = _two_classes()
    base = combine(classes, priors)
    log_density = lambda x: base.log_density(x) + beta * log_class_posterior(classes, priors, 1, x)  # noqa: E731
    truth, _ = tabulate(log_density, [-6.0], [6.0], 501)
    np.testing.assert_allclose([truth.mean[0], truth.covariance[0, 0] ** 0.5], [mean, deviation], atol=6e-4)
    path, noise = PATHS["ot"], normal(0, 1000, 1)
    guided = carry(partial(predict, truth, path, "velocity"), noise, 0.99, num_steps=25)
    assert_moments(guided, truth)
    velocity = partial(predict_classifier_free, base, classes[1], path, "velocity", beta)
    free = carry(velocity, noise, 0.99, num_steps=25)
    if beta == 1:
        assert_moments(free, truth)
    else:
        with pytest.raises(AssertionError, match="z-scores"):
            assert_moments(free, truth)


# Precision


def test_single_precision_follows_double(path, problem, energy):
    x, t = sample(problem.base, 0, 20), jnp.linspace(path.start, path.end, 20)
    single = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), (problem.base, energy, x, t))
    result = tilt(*single[:2], BETA)
    values = predict_all(result.tilted, path, single[3], single[2])
    for name, expected in predict_all(problem.tilted, path, t, x).items():
        assert values[name].dtype == jnp.float32
        np.testing.assert_allclose(values[name], expected, rtol=5e-3, atol=5e-3, err_msg=name)
