"""With conditions, weights relative to the energy's level: the same law, carried by every condition."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from tiltflow.guidance import fit, make_problem
from tiltflow.guidance.baseline import with_baseline, within_conditions
from tiltflow.guidance.contract import FlowFitConfig
from tiltflow.guidance.fit_loop import Trainer
from tiltflow.guidance.methods import METHODS
from tiltflow.model_settings import NetworkConfig

CONFIG = FlowFitConfig(batch_size=256, steps=1_000)


def leaning(n: int):
    """x ~ N(c, ½), E = −2(x − c) + 6c: at β = 1 the tilt is N(c + 1, ½), and E has the level 6c."""
    rng = np.random.default_rng(0)
    c = rng.uniform(-2, 2, n)
    z = np.sqrt(0.5) * rng.standard_normal(n)
    return c, z, -2 * z + 6 * c


def test_every_condition_counts_alike_and_is_tilted_as_before():
    c, z, energy = leaning(10_000)
    plain = make_problem((c + z)[:, None], energy, 1.0, condition=c)
    problem = with_baseline(plain, CONFIG, jax.random.key(0))
    np.testing.assert_allclose(problem.level - 6 * c, np.mean(problem.level - 6 * c), atol=0.2)
    # Those of the true level: exp(2z), whose effective share is exp(−2) but for the chance of these rows.
    assert problem.ess == pytest.approx(np.exp(2 * z).sum() ** 2 / np.exp(4 * z).sum(), rel=0.02)
    assert plain.ess < problem.ess / 4
    assert plain.weights[c > 1].mean() < 1e-3  # so no fit knows of these
    for low in np.arange(-2, 2):
        rows = (c >= low) & (c < low + 1)
        assert problem.weights[rows].mean() == pytest.approx(1, abs=0.3)
        # Within a condition nothing has changed: z is weighted as by exp(2z).
        exact = np.average(z[rows], weights=np.exp(2 * z[rows]))
        assert np.average(z[rows], weights=problem.weights[rows]) == pytest.approx(exact, abs=0.03)
    within = within_conditions(problem)
    assert within.median == pytest.approx(np.exp(-2), abs=0.1)
    assert 1 / within.neighbours < within.low < within.median


def test_a_conditional_fit_is_right_at_both_ends():
    c, z, energy = leaning(10_000)
    network = NetworkConfig(width=64, depth=2)
    config = replace(METHODS["efm"].config, network=network, steps=1_000, batch_size=256)
    fitted = fit("efm", (c + z)[:, None], energy, 1.0, condition=c, config=config)
    for at in (-1.8, 1.8):
        drawn = fitted.sample(4_000, condition=[at])
        assert drawn.mean() - at == pytest.approx(1, abs=0.25)
        assert drawn.std() == pytest.approx(np.sqrt(0.5), abs=0.1)


def test_a_level_that_the_condition_does_not_predict_takes_no_tilt_away():
    """300 rows, each with eight numbers of its own as a condition: a network could learn them by heart."""
    rng = np.random.default_rng(0)
    x, condition = rng.standard_normal(300), rng.standard_normal((300, 8))
    plain = make_problem(x[:, None], x, 1.0, condition=condition)
    problem = with_baseline(plain, CONFIG, jax.random.key(0))
    assert np.std(problem.level) < 0.2
    tilted = np.average(x, weights=plain.weights)
    assert np.average(x, weights=problem.weights) == pytest.approx(tilted, abs=0.1)


def test_beta_is_chosen_for_what_is_left_of_the_energies_and_excluded_rows_stay_out():
    c, z, energy = leaning(10_000)
    energy[::50] = np.inf
    energy[1] = 1e30
    plain = make_problem((c + z)[:, None], energy, target_ess=0.3, condition=c)
    problem = with_baseline(plain, CONFIG, jax.random.key(0))
    assert problem.ess / len(c) == pytest.approx(0.3, rel=0.05)
    assert problem.beta > 2 * plain.beta
    assert not np.any(problem.weights[::50])
    assert problem.weights[1] == 0


def test_a_function_and_its_values_give_the_same_displaced_weights():
    """A network fitted to values knows the levels only through the energies; a function is told of them."""
    from tiltflow.guidance.energies import differentiable_energy
    from tiltflow.guidance.methods.tilted_path import displaced_problem

    rng = np.random.default_rng(0)
    c = rng.uniform(-2, 2, 10_000)
    x = (4 * c + rng.standard_normal(10_000))[:, None]
    plain = make_problem(x, lambda x: x[..., 0], 0.7, condition=c)
    problem = with_baseline(plain, CONFIG, jax.random.key(0))
    energy = differentiable_energy(problem, CONFIG, jax.random.key(0), Trainer(CONFIG))
    moved = displaced_problem(problem, energy, 0.0, jax.random.key(1))
    np.testing.assert_allclose(moved.weights, problem.weights, rtol=1e-3, atol=1e-6)


def test_without_a_condition_or_a_tilt_nothing_is_fitted():
    c, z, energy = leaning(100)
    for problem in (
        make_problem(z, energy, 1.0),
        make_problem(z, energy, 0.0, condition=c),
        make_problem(z, np.zeros(100), 1.0, condition=c),
    ):
        assert with_baseline(problem, CONFIG, jax.random.key(0)) is problem
    assert within_conditions(make_problem(z, energy, 1.0)) is None
