"""Importance resampling of an exact flow samples the tilt; a huge energy and excluded rows change nothing."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tiltflow.errors import UserError
from tiltflow.exact import gaussian_mixture, predict
from tiltflow.flow import Flow
from tiltflow.guidance.annealing import anneal
from tiltflow.guidance.energies import FunctionEnergy
from tiltflow.guidance.fitting import fit
from tiltflow.guidance.methods import METHODS
from tiltflow.guidance.methods.importance import sample_resampled
from tiltflow.guidance.problem import make_problem
from tiltflow.paths import PATHS
from tiltflow.tilting import beta_for_ess, effective_sample_size, tilt_weights

BETA = 2.5
LAW = gaussian_mixture(np.ones(1), np.zeros((1, 1)), np.ones((1, 1, 1)))


class ExactVelocity(eqx.Module):
    """The velocity of N(0, 1), at every condition, in the place of a network."""

    def __call__(self, x, t, condition=None):
        return predict(LAW, PATHS["ot"], "velocity", t, x)


def exact_flow() -> Flow:
    return Flow(network=ExactVelocity(), path=PATHS["ot"], prediction="velocity")


@pytest.mark.parametrize("conditions", [None, 300])
def test_a_tilt_that_two_rows_in_a_thousand_carry_is_sampled(conditions):
    """p = N(0, 1), E = x: N(−β, 1). The effective share is exp(−β²)."""
    rows = np.random.default_rng(0).standard_normal((500, 1))
    problem = make_problem(rows, lambda x: x[..., 0], BETA, standardise=False)
    energy = FunctionEnergy(lambda x: x[..., 0], jnp.zeros(1), jnp.ones(1))
    config = replace(METHODS["flow-is"].config, num_steps=10, pool=600_000)
    n = conditions or 2_000
    given = None if conditions is None else np.zeros((n, 1), np.float32)
    drawn = sample_resampled(problem, energy, exact_flow(), config, jax.random.key(0), n, given)
    assert drawn.shape == (n, 1)
    assert drawn.mean() == pytest.approx(-BETA, abs=4 / np.sqrt(n))
    assert drawn.std() == pytest.approx(1.0, abs=4 / np.sqrt(n))


def test_beta_for_a_share_of_the_rows_is_not_misled_by_one_huge_energy():
    energies = np.random.default_rng(0).standard_normal(20_000).astype(np.float32)
    plain = beta_for_ess(jnp.asarray(energies), 0.1)
    assert plain == pytest.approx(np.sqrt(np.log(10)), rel=0.05)  # of normal energies
    huge = np.where(np.arange(20_000) == 0, np.float32(1e9), energies)
    beta = beta_for_ess(jnp.asarray(huge), 0.1)
    assert beta == pytest.approx(float(plain), rel=1e-3)
    share = effective_sample_size(tilt_weights(jnp.asarray(huge), beta)) / len(huge)
    assert share == pytest.approx(0.1, rel=1e-3)


def test_rows_that_are_excluded_stay_so_in_every_step_of_annealing():
    """E = 0 left of 0 and +∞ right of it, given by its values."""
    rows = np.linspace(-1, 1, 400)[:, None].astype(np.float32)
    problem = make_problem(rows, np.where(rows[:, 0] > 0, np.inf, 0.0), 1.0, standardise=False)
    seen = []

    def step(now, key, which):
        seen.append(now)
        return exact_flow()  # which draws points on both sides

    config = replace(METHODS["tilted-path"].config, num_steps=5)
    energy = FunctionEnergy(lambda x: jnp.zeros(x.shape[:-1]), jnp.zeros(1), jnp.ones(1))
    anneal(problem, energy, config, 3, jax.random.key(0), step)
    assert len(seen) == 3
    for now in seen:
        assert np.any(now.points[:, 0] > 0.1)
        assert not np.any(now.weights[now.points[:, 0] > 0.1])
        assert np.all(now.weights[now.points[:, 0] < -0.1] > 0)


def test_a_target_that_no_beta_comes_near_is_refused():
    energies = np.concatenate([np.zeros(4), np.full(160, 1e-30), np.full(236, 1e30)])
    with pytest.raises(UserError, match="no beta comes near it"):
        fit("resample", np.arange(400.0), energies, target_ess=0.2)
