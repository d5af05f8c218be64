"""Changes of coordinates: there and back, their slopes, and the tilt in the units of the data."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest

from tiltflow.errors import UserError
from tiltflow.guidance.fitting import fit
from tiltflow.guidance.methods.energy_weighted import UnguidedConfig
from tiltflow.guidance.problem import make_problem
from tiltflow.guidance.transforms import make_transform
from tiltflow.model_settings import NetworkConfig

pytestmark = pytest.mark.usefixtures("quickly_compiled")

N = 20_000
TINY = UnguidedConfig(network=NetworkConfig(width=8, depth=1), steps=10)
SMALL = UnguidedConfig(
    network=NetworkConfig(width=32, depth=2), steps=750, batch_size=256, learning_rate=1e-2
)


def far_clusters() -> np.ndarray:
    """Two of width 1, 1000 apart."""
    rng = np.random.default_rng(0)
    return rng.normal(size=N) + np.where(rng.uniform(size=N) < 0.5, -500.0, 500.0)


def data() -> np.ndarray:
    """Far clusters, Student's t, and one that is nearly a function of it."""
    rng = np.random.default_rng(1)
    t = rng.standard_t(2.5, N)
    return np.stack([far_clusters(), t, t + 0.01 * rng.normal(size=N)], axis=1)


@pytest.mark.parametrize("name", ["whiten", "quantile"])
def test_there_and_back_within_the_data_and_beyond(name):
    points = data()
    transform = make_transform(name, points)
    for where in (points, points * 1.5):
        changed = transform.forward(where)
        np.testing.assert_allclose(transform.inverse(changed), where, rtol=1e-6, atol=1e-5)
        np.testing.assert_allclose(transform.inverse(jnp.asarray(changed), jnp), where, rtol=1e-3, atol=0.1)


@pytest.mark.parametrize("name", ["whiten", "quantile"])
def test_the_slope_is_that_of_the_jacobian(name):
    points = data()
    transform, at = make_transform(name, points), points[:5] + 1e-5  # some rows are knots, with two slopes
    steps = 1e-7 * np.eye(3)
    columns = [(transform.forward(at + step) - transform.forward(at - step)) / 2e-7 for step in steps]
    _, logs = np.linalg.slogdet(np.stack(columns, axis=-1))
    np.testing.assert_allclose(transform.log_slope(at), logs, atol=1e-2)


def test_whitened_points_are_uncorrelated_and_normal_scores_normal():
    points = data()
    np.testing.assert_allclose(
        np.cov(make_transform("whiten", points).forward(points).T), np.eye(3), atol=1e-3
    )
    for column in make_transform("quantile", points).forward(points).T:
        assert kstest(column, "norm").statistic < 2 / KNOTS_APART


KNOTS_APART = 500
"""Normal scores are exact at the knots, of which there are twice as many."""


def test_a_lattice_is_led_back_to_its_own_values_with_their_masses():
    rng = np.random.default_rng(2)
    points = np.stack([rng.integers(0, 10, N), rng.choice([-1.0, 0.0, 5.0], N)], axis=1).astype(float)
    transform = make_transform("lattice", points)
    np.testing.assert_array_equal(transform.inverse(transform.forward(points)), points)
    drawn = transform.inverse(rng.normal(size=(100_000, 2)))  # the law of the normal scores
    for column, (values, share) in zip(drawn.T, (([*range(10)], 0.1), ([-1, 0, 5], 1 / 3)), strict=True):
        found, counts = np.unique(column, return_counts=True)
        assert list(found) == list(values)
        np.testing.assert_allclose(counts / len(column), share, atol=0.012)
    with pytest.raises(UserError, match="lattice: coordinate 0"):
        make_transform("lattice", data())


@pytest.mark.parametrize("name", ["whiten", "quantile", "lattice"])
def test_the_energy_is_asked_in_the_units_of_the_data(name):
    points = np.random.default_rng(3).integers(0, 10, (500, 2)).astype(float)
    energy = lambda x: x[..., 0] + 2 * x[..., 1]  # noqa: E731
    problem = make_problem(points, energy, 1.0, transform=name)
    np.testing.assert_allclose(problem.in_data_units(problem.points), points, atol=1e-4)
    at = problem.points * problem.scale + problem.shift
    np.testing.assert_allclose(problem.energy(jnp.asarray(at)), energy(points), atol=1e-3)
    np.testing.assert_allclose(problem.standardise(points), problem.points, atol=1e-6)


def test_far_clusters_keep_their_width_in_normal_scores_and_not_in_their_own_coordinates():
    points = far_clusters()
    widths = {}
    for name in ("quantile", "none"):
        fitted = fit("unguided", points, np.zeros(N), 0.0, transform=name, config=SMALL)
        drawn = fitted.sample(8_000)[:, 0]
        widths[name] = drawn[np.abs(drawn + 500) < 20].std()
        if name == "quantile":
            assert np.mean(drawn < 0) == pytest.approx(0.5, abs=0.03)
            near = np.linspace(-502, -498, 1001)[:, None]  # two deviations to each side
            assert np.sum(np.exp(fitted.log_prob(near))) * 0.004 == pytest.approx(0.5 * 0.954, abs=0.06)
    assert widths["quantile"] == pytest.approx(1.0, abs=0.15)
    assert widths["none"] > 1.5
    whole = fit("unguided", np.round(points), np.zeros(N), 0.0, transform="lattice", config=TINY)
    assert set(whole.sample(100)[:, 0]) <= set(np.round(points).astype(np.float32))
    with pytest.raises(UserError, match="no density"):
        whole.log_prob([[0.0]])
