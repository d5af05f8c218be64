from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from laws import normal, random_energy, random_mixture, sample, tilt
from tiltflow.exact import gaussian_mixture, predict
from tiltflow.paths import PATHS
from tiltflow.solvers import (
    EVALUATIONS,
    divergence,
    dpm_solver,
    integrate,
    integrate_adaptive,
    log_likelihood,
)

pytestmark = pytest.mark.usefixtures("x64")

ORDERS = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4}


@pytest.fixture(params=PATHS)
def path(request):
    return PATHS[request.param]


@pytest.fixture(scope="module")
def law():
    with jax.enable_x64(True):
        return tilt(random_mixture(0, 3, 2), random_energy(0, 2), 2.0).tilted


@pytest.fixture
def gaussian():
    """One Gaussian, for which the flow of every path is x ↦ αm + (α²S + σ²)^½·(α₀²S + σ₀²)^(−½)·(x − α₀m)."""
    return gaussian_mixture(np.ones(1), np.asarray([[1.0, -2.0]]), np.diag([0.04, 4.0])[None])


def exact_flow(law, path, x):
    start, end = law.at(path, path.start), law.at(path, path.end)
    # The axes of a diagonal covariance are the coordinates, in the order of the variances.
    return end.means[0] + jnp.sqrt(end.variances[0] / start.variances[0]) * (x - start.means[0])


@pytest.fixture(scope="module")
def ends(law):
    """Noise and where very many steps along the tilted law's velocity take it, on every path."""

    def solve(path, noise):
        velocity = partial(predict, law, path, "velocity")
        return integrate(velocity, noise, start=path.start, end=path.end, num_steps=2000, method="rk4")

    with jax.enable_x64(True):
        noise = normal(0, 20, 2)
        return {path: (noise, jax.jit(partial(solve, path))(noise)) for path in PATHS.values()}


def observed_order(solve, truth, num_steps):
    """log₂ of the ratio of the errors with a number of steps and with twice as many."""
    coarse, fine = (jnp.sqrt(jnp.mean((jax.jit(solve, static_argnums=0)(n) - truth) ** 2)) for n in num_steps)
    return float(jnp.log2(coarse / fine))


@pytest.mark.parametrize("method", ORDERS)
def test_order_of_the_fixed_step_solvers(law, ends, method):
    path, (noise, truth) = PATHS["vp"], ends[PATHS["vp"]]
    velocity = partial(predict, law, path, "velocity")

    def solve(num_steps):
        return integrate(velocity, noise, start=path.start, end=path.end, num_steps=num_steps, method=method)

    assert abs(observed_order(solve, truth, (80, 160)) - ORDERS[method]) < 0.25


@pytest.mark.parametrize("method", EVALUATIONS)
def test_evaluations_per_step(method, gaussian):
    """A scan traces its body once, so the calls that it makes are those of one step."""
    calls = []

    def evaluate(t, x):
        calls.append(t)
        return x

    if method == "dpm-solver++":
        dpm_solver(evaluate, PATHS["ot"], jnp.ones((1, 2)), num_steps=5)
    else:
        integrate(evaluate, jnp.ones((1, 2)), start=0.0, end=1.0, num_steps=5, method=method)
    assert len(calls) == EVALUATIONS[method]


@pytest.mark.parametrize("method", ORDERS)
def test_states_are_any_pytree_and_time_runs_both_ways(method):
    """dx/dt = 2tx and dy/dt = 3t² in one state; e^{t²} and t³ are their solutions."""
    velocity = lambda t, state: {"x": 2 * t * state["x"], "y": (3 * t**2 * jnp.ones(2),)}  # noqa: E731
    start = {"x": jnp.asarray([1.0, 3.0]), "y": (jnp.zeros(2),)}
    solve = partial(integrate, velocity, num_steps=4000, method=method)
    end = solve(start, start=0.0, end=1.0)
    tolerance = 2e-3 if method == "euler" else 1e-6
    np.testing.assert_allclose(end["x"], np.e * np.asarray([1.0, 3.0]), rtol=tolerance)
    np.testing.assert_allclose(end["y"][0], 1.0, rtol=tolerance)
    np.testing.assert_allclose(solve(end, start=1.0, end=0.0)["x"], start["x"], rtol=tolerance)


@pytest.mark.parametrize("name", ["ot", "vp"])
def test_adaptive_steps_keep_their_tolerance(name, gaussian):
    path, noise = PATHS[name], normal(0, 20, 2)
    velocity = partial(predict, gaussian, path, "velocity")
    truth = exact_flow(gaussian, path, noise)
    solve = partial(integrate_adaptive, velocity, start=path.start, end=path.end)
    within = jax.jit(lambda tolerance: solve(noise, rtol=tolerance, atol=tolerance))
    for tolerance in (1e-4, 1e-8):
        end = within(tolerance)
        # A bound on the error of a step, not of the whole: a hundred steps' worth.
        assert np.max(np.abs(end - truth)) < 100 * tolerance * np.max(np.abs(truth))


def test_dpm_solver_is_exact_for_a_point_mass(path):
    """With a constant data prediction the solver's integral is exact in any number of steps."""
    data, noise = np.asarray([0.5, -1.0]), normal(0, 5, 2)
    constant = lambda t, x: jnp.broadcast_to(data, x.shape)  # noqa: E731
    end = jax.jit(lambda noise: dpm_solver(constant, path, noise, num_steps=3))(noise)
    share = path.sigma(path.end) / path.sigma(path.start)
    expected = path.alpha(path.end) * data + share * (noise - path.alpha(path.start) * data)
    np.testing.assert_allclose(end, expected, rtol=1e-10)


def test_order_of_dpm_solver(law, ends, path):
    """2 up to a logarithm: in equal steps of time the last steps of log(α/σ) do not get short."""
    noise, truth = ends[path]

    def solve(num_steps):
        return dpm_solver(partial(predict, law, path, "data"), path, noise, num_steps=num_steps)

    logarithm = np.log2(np.log(640) / np.log(320))
    assert abs(observed_order(solve, truth, (320, 640)) + logarithm - 2) < 0.25


# Likelihood


def test_divergence_is_the_trace_of_the_jacobian(law):
    velocity = partial(predict, law, PATHS["ot"], "velocity")
    x, t = sample(law, 0, 10), jnp.asarray(0.4)
    trace = jax.vmap(lambda x: jnp.trace(jax.jacrev(partial(velocity, t))(x)))
    found, expected = jax.jit(lambda x: (divergence(velocity, t, x), trace(x)))(x)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_likelihood_of_the_exact_flow_is_the_density(law):
    x = sample(law, 0, 30)
    velocity = partial(predict, law, PATHS["ot"], "velocity")
    likelihood = jax.jit(partial(log_likelihood, velocity, rtol=1e-8, atol=1e-8))(x)
    np.testing.assert_allclose(likelihood, law.log_density(x), atol=1e-5)


def test_likelihood_on_the_vp_path_is_the_density_where_its_times_stop(law):
    """Up to the α = 0.0066 that VP leaves of the data at its noise end, where the prior is N(0, I)."""
    path = PATHS["vp"]
    x = sample(law.at(path, path.end), 0, 30)
    velocity = partial(predict, law, path, "velocity")
    likelihood = jax.jit(partial(log_likelihood, velocity, start=path.start, end=path.end))(x)
    np.testing.assert_allclose(likelihood, law.log_marginal(path, path.end, x), atol=0.05)
