"""The laws of the samples, against closed forms: what each method must give, and where two must fail."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from laws import random_energy, random_mixture, sample
from tiltflow.exact import QuadraticEnergy, classifier_free_law, gaussian_mixture, tilt
from tiltflow.guidance import fit, make_problem
from tiltflow.guidance.configs import METHODS
from tiltflow.guidance.fitting import fit_problem
from tiltflow.metrics import sliced_wasserstein

ROWS, DRAWN = 50_000, 10_000
ESS = 0.06
# (dimensions, seed) for each method: together they would cost half the time of all tests.
PROBLEMS = {
    "efm": [(1, 2), (2, 0), (2, 4), (8, 1)],
    "ed": [(1, 2), (2, 4), (8, 1)],
    "cep": [(1, 2), (2, 0), (8, 1)],
    "unguided": [(2, 0), (8, 1)],
}


@cache
def mixture_problem(size: int, seed: int):
    """A random mixture's rows at an effective sample size of 6 %, and a sample of the exact tilt."""
    base, energy = random_mixture(seed, 3, size), random_energy(seed, size)
    rows = sample(base, seed, ROWS)
    problem = make_problem(rows, np.asarray(energy(rows)), target_ess=ESS)
    return problem, sample(tilt(base, energy, problem.beta).tilted, seed + 100, DRAWN)


def distance(drawn, truth) -> float:
    points = (jnp.asarray(points, jnp.float32) for points in (drawn, truth))
    return sliced_wasserstein(jax.random.key(0), *points, replicates=0).value


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "size", "seed"),
    [(method, *problem) for method, given in PROBLEMS.items() for problem in given],
)
def test_exact_methods_are_near_the_truth_as_resampled_data_are_and_unguided_ones_are_not(method, size, seed):
    problem, truth = mixture_problem(size, seed)
    floor = distance(fit_problem("resample", problem).sample(DRAWN), truth)
    steps = 1_000 if method == "unguided" else 8_000
    fitted = fit_problem(method, problem, replace(METHODS[method].config, steps=steps))
    ratio = distance(fitted.sample(DRAWN), truth) / floor
    limit = {"efm": 3.0 if size == 8 else 2.0, "ed": 3.0 if size == 8 else 2.0}.get(method, 4.0)
    assert (ratio > limit) if method == "unguided" else (ratio < limit), ratio


def guided_variance(method: str, **changes) -> tuple[float, float, float]:
    """Variance of samples for p = N(0, 1), E = x²/2, β = 3; of classifier guidance's law; of the tilt."""
    base = gaussian_mixture(np.ones(1), np.zeros((1, 1)), np.ones((1, 1, 1)))
    energy = QuadraticEnergy(jnp.eye(1), jnp.zeros(1))
    laws = classifier_free_law(base, energy, 3.0), tilt(base, energy, 3.0).tilted
    rows = sample(base, 3, ROWS)
    config = replace(METHODS[method].config, num_steps=50, **changes)
    fitted = fit(method, rows, np.asarray(energy(rows)), beta=3.0, config=config)
    wrong, truth = (float(law.covariance[0, 0]) for law in laws)
    return float(fitted.sample(40_000).var()), wrong, truth


@pytest.mark.slow
def test_classifier_free_guidance_samples_its_own_law_and_not_the_tilt():
    # β = 3 extrapolates from both halves of the network, and triples their errors: it needs both precisely.
    variance, wrong, truth = guided_variance("cfg", steps=15_000, unconditional_share=0.5)
    assert (wrong, truth) == pytest.approx((0.125, 0.25), rel=1e-4)
    assert variance == pytest.approx(wrong, rel=0.05)


@pytest.mark.slow
def test_classifier_guidance_samples_the_same_law_up_to_the_error_of_its_classifier():
    variance, wrong, truth = guided_variance("cg", steps=8_000)
    assert abs(variance - wrong) < abs(variance - truth) / 5


@pytest.mark.parametrize("method", ["efm", "cep"])
def test_a_conditional_model_samples_the_tilt_at_each_condition(method):
    rng = np.random.default_rng(0)
    condition = rng.uniform(-2, 2, (ROWS, 1))
    points = condition + rng.standard_normal((ROWS, 1))
    config = replace(METHODS[method].config, steps=4_000)
    # N(c, 1)·exp(−x) is N(c − 1, 1).
    fitted = fit(method, points, points[:, 0], beta=1.0, condition=condition, config=config)
    for c in (-1.0, 1.0):
        drawn = fitted.sample(5_000, condition=[c])
        assert drawn.mean() == pytest.approx(c - 1, abs=0.12)
        assert drawn.std() == pytest.approx(1, abs=0.1)


def test_the_density_of_a_fitted_model_is_that_of_the_tilt():
    points = np.random.default_rng(0).standard_normal((ROWS, 1)) * 2 + 1
    config = replace(METHODS["efm"].config, steps=4_000)
    # N(1, 4)·exp(−(x − 1)²/8) is N(1, 2).
    fitted = fit("efm", points, (points[:, 0] - 1) ** 2 / 8, beta=1.0, config=config)
    x = np.linspace(-1.5, 3.5, 41)[:, None]
    exact = -((x[:, 0] - 1) ** 2) / 4 - 0.5 * np.log(2 * np.pi * 2)
    assert np.sqrt(np.mean((fitted.log_prob(x) - exact) ** 2)) < 0.1
