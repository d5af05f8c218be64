"""Particles of an exact flow that are selected on their way sample the tilt, of which hardly one is left."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tiltflow.errors import UserError
from tiltflow.exact import gaussian_mixture, predict
from tiltflow.flow import Flow
from tiltflow.guidance.energies import FunctionEnergy
from tiltflow.guidance.methods import METHODS
from tiltflow.guidance.methods.steering import sample_steered, systematic
from tiltflow.guidance.problem import make_problem
from tiltflow.paths import PATHS

NORMAL = gaussian_mixture(np.ones(1), np.zeros((1, 1)), np.ones((1, 1, 1)))
MODES = gaussian_mixture(np.array([0.6, 0.4]), np.array([[-1.0], [1.0]]), np.full((2, 1, 1), 0.04))

# Tolerances of the tilts of N(0, 1) are four times the scatter over seeds that was measured: particles have
# ancestors in common, and are not independent.


class ExactVelocity(eqx.Module):
    """The velocity of a law, at every condition, in the place of a network."""

    law: object
    path: str = eqx.field(static=True)

    def __call__(self, x, t, condition=None):
        return predict(self.law, PATHS[self.path], "velocity", t, x)


def steered(law, energy, beta, n, *, path="ot", condition=None, **settings):
    problem = make_problem([[0.0], [1.0]], energy, beta, standardise=False)
    known = FunctionEnergy(energy, jnp.zeros(1), jnp.ones(1))
    flow = Flow(network=ExactVelocity(law, path), path=PATHS[path], prediction="velocity")
    config = replace(METHODS["smc"].config, path=path, **{"pool": 20_000, **settings})
    return sample_steered(problem, known, flow, config, jax.random.key(0), n, condition)[:, 0]


@pytest.mark.parametrize("path", ["ot", "vp"])
def test_a_linear_tilt_of_which_a_ten_thousandth_is_effective(path):
    """p = N(0, 1), E = −x: N(β, 1). At β = 3 the effective share of p is exp(−9)."""
    drawn = steered(NORMAL, lambda x: -x[..., 0], 3.0, 20_000, path=path)
    assert drawn.mean() == pytest.approx(3.0, abs=0.24)
    assert drawn.std() == pytest.approx(1.0, abs=0.15)


def test_a_quadratic_tilt():
    """p = N(0, 1), E = (x − 3)²/2: precision 1 + β, mean 3β/(1 + β)."""
    drawn = steered(NORMAL, lambda x: (x[..., 0] - 3) ** 2 / 2, 4.0, 20_000)
    assert drawn.mean() == pytest.approx(12 / 5, abs=0.06)
    assert drawn.std() == pytest.approx(np.sqrt(1 / 5), abs=0.03)


def test_modes_have_the_masses_of_the_tilt():
    """.6·N(−1, .04) + .4·N(1, .04), E = x: each mode goes down by .04β and gains exp(±β)."""
    drawn = steered(MODES, lambda x: -x[..., 0], 1.0, 20_000)
    upper = 0.4 * np.exp(1.0) / (0.4 * np.exp(1.0) + 0.6 * np.exp(-1.0))
    assert np.mean(drawn > 0) == pytest.approx(upper, abs=0.02)
    assert drawn[drawn > 0].mean() == pytest.approx(1.04, abs=0.02)
    assert drawn[drawn < 0].mean() == pytest.approx(-0.96, abs=0.03)
    assert drawn[drawn > 0].std() == pytest.approx(0.2, abs=0.02)


def test_where_no_point_may_be_none_is_though_estimates_pass_there():
    """E is +∞ between the modes, where every clean estimate begins."""
    energy = lambda x: jnp.where(jnp.abs(x[..., 0]) < 0.5, jnp.inf, -x[..., 0])  # noqa: E731
    drawn = steered(MODES, energy, 1.0, 10_000)
    assert np.abs(drawn).min() > 0.5
    upper = 0.4 * np.exp(1.0) / (0.4 * np.exp(1.0) + 0.6 * np.exp(-1.0))
    assert np.mean(drawn > 0) == pytest.approx(upper, abs=0.03)
    with pytest.raises(UserError, match="nothing is left"):
        steered(MODES, lambda x: jnp.where(x[..., 0] == 1, 0.0, jnp.inf), 1.0, 100)


def test_at_conditions_every_sample_has_particles_of_its_own():
    drawn = steered(
        NORMAL, lambda x: -x[..., 0], 1.0, 400, condition=np.zeros((400, 1), np.float32), pool=80_000
    )
    assert drawn.mean() == pytest.approx(1.0, abs=4 / np.sqrt(400))
    assert drawn.std() == pytest.approx(1.0, abs=4 / np.sqrt(400))
    assert len(np.unique(drawn)) == 400


def test_systematic_draws_are_within_one_of_their_share():
    weights = np.random.default_rng(0).random((3, 50))
    drawn = systematic(np.random.default_rng(1), weights, 1_000)
    for row, numbers in zip(weights, drawn, strict=True):
        counts = np.bincount(numbers, minlength=50)
        assert np.all(np.abs(counts - 1_000 * row / row.sum()) < 1)


def test_a_solver_that_cannot_start_in_the_middle_is_refused():
    with pytest.raises(UserError, match="choose midpoint"):
        replace(METHODS["smc"].config, solver="dpm-solver++")
