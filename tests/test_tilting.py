import jax
import jax.numpy as jnp
import numpy as np
import pytest

from laws import normal
from tiltflow import tilting

pytestmark = pytest.mark.usefixtures("quickly_compiled")

INF = float("inf")

# One program each, in the place of a dozen operations.
tilt_weights, effective_sample_size = map(jax.jit, (tilting.tilt_weights, tilting.effective_sample_size))
beta_for_ess = jax.jit(tilting.beta_for_ess)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("beta", [0.0, 0.3, 5.0])
def test_weights_are_the_normalised_exponentials_with_mean_one(beta):
    energy = normal(0, 4, 50)
    weights = np.asarray(tilt_weights(energy, beta))
    expected = np.exp(-beta * energy)
    np.testing.assert_allclose(weights, expected / expected.mean(axis=-1, keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(weights.mean(axis=-1), 1.0, rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_weights_depend_on_differences_of_energies_times_beta():
    energy = normal(0, 50)
    weights = tilt_weights(energy, 2.0)
    np.testing.assert_allclose(tilt_weights(energy + 1000, 2.0), weights, rtol=1e-10)
    np.testing.assert_allclose(tilt_weights(energy / 1e20, 2e20), weights, rtol=1e-12)


@pytest.mark.parametrize(
    ("energy", "expected"),
    [
        ([0.0, INF, 0.0], [1.5, 0.0, 1.5]),
        ([INF, INF], [1.0, 1.0]),
        ([1e30, 2e30, 3e30], [3.0, 0.0, 0.0]),
        ([-1e30, 0.0, 1e30, -1e30], [2.0, 0.0, 0.0, 2.0]),
        ([3e38, -3e38], [0.0, 2.0]),
        ([7.0], [1.0]),
    ],
)
def test_weights_never_overflow(energy, expected):
    energy = jnp.asarray(energy, jnp.float32)
    np.testing.assert_array_equal(tilt_weights(energy, 3.0), np.asarray(expected, np.float32))
    np.testing.assert_array_equal(tilt_weights(energy, 0.0), np.ones(len(expected), np.float32))


def test_weights_do_not_hide_a_diverged_energy():
    energy = jnp.asarray([0.0, jnp.nan, 1.0])
    assert np.all(np.isnan(tilt_weights(energy, 3.0)))
    assert np.isnan(beta_for_ess(energy, 0.5))


@pytest.mark.usefixtures("x64")
def test_effective_sample_size_lies_between_one_row_and_all():
    energy = normal(0, 50)
    sizes = [float(effective_sample_size(tilt_weights(energy, beta))) for beta in (0.0, 0.5, 1.0, 5.0, 1e6)]
    np.testing.assert_allclose([sizes[0], sizes[-1]], [50.0, 1.0], rtol=1e-12)
    assert sizes == sorted(sizes, reverse=True)
    np.testing.assert_allclose(effective_sample_size(np.asarray([2.0, 2.0, 0.0])), 2.0)


@pytest.mark.usefixtures("x64")
def test_effective_share_of_normal_energies_is_its_closed_form():
    """With E ~ N(0, s²) the weights are log-normal and the share tends to (E w)² / E w² = exp(−β²s²)."""
    beta, n = 0.5, 400_000
    weights = np.exp(-beta * normal(0, n))
    share = effective_sample_size(tilt_weights(normal(0, n), beta)) / n
    # The delta method, with both means normalised to one.
    gradient = 2 * weights / weights.mean() - weights**2 / np.mean(weights**2)
    assert abs(np.log(share) + beta**2) < 5 * gradient.std() / np.sqrt(n)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("target", [0.9, 0.1, 0.005])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e30])
def test_beta_for_a_target_size_reaches_it_at_any_scale(target, scale):
    energy = scale * normal(0, 2000)
    beta = beta_for_ess(energy, target)
    np.testing.assert_allclose(effective_sample_size(tilt_weights(energy, beta)) / 2000, target, rtol=1e-6)


def test_beta_for_a_target_size_in_single_precision_and_with_extreme_energies():
    energy = jnp.asarray(1e30 * normal(0, 1000), jnp.float32)
    share = effective_sample_size(tilt_weights(energy, beta_for_ess(energy, 0.1))) / 1000
    np.testing.assert_allclose(share, 0.1, rtol=1e-3)
    energy = jnp.asarray(normal(0, 1000), jnp.float32).at[:100].set(INF)
    share = effective_sample_size(tilt_weights(energy, beta_for_ess(energy, 0.1))) / 1000
    np.testing.assert_allclose(share, 0.1, rtol=1e-3)


@pytest.mark.usefixtures("x64")
def test_beta_for_a_batch_of_states_means_their_mean_size():
    energy = normal(0, 64, 17) * np.linspace(0.1, 3.0, 64)[:, None]
    sizes = effective_sample_size(tilt_weights(energy, beta_for_ess(energy, 0.5)))
    np.testing.assert_allclose(jnp.mean(sizes) / 17, 0.5, rtol=1e-6)


@pytest.mark.parametrize("energy", [[5.0], [2.0, 2.0, 2.0], [INF, INF]])
def test_energies_that_cannot_be_told_apart_allow_the_maximum(energy):
    assert beta_for_ess(jnp.asarray(energy, jnp.float32), 0.5, maximum=100.0) == 100.0


def test_an_effective_size_does_not_depend_on_the_scale_of_the_weights():
    """Unnormalised weights of a state may all be tiny: exp of a far negative advantage."""
    for scale in (1e-30, 1.0, 1e30):
        size = effective_sample_size(jnp.float32(scale) * jnp.asarray([1.0, 1.0, 0.0, 2.0]))
        assert size == pytest.approx(16 / 6, rel=1e-5)
    assert effective_sample_size(jnp.zeros(3)) == 0.0
    assert np.isnan(effective_sample_size(jnp.asarray([1.0, jnp.nan])))
