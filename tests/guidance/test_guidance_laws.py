"""The laws of the samples, against closed forms: what each method must give, and where two must fail."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from laws import random_energy, random_mixture, sample
from tiltflow.exact import QuadraticEnergy, classifier_free_law, gaussian_mixture, predict, tilt
from tiltflow.guidance import fit, make_problem
from tiltflow.guidance.fitting import fit_problem
from tiltflow.guidance.methods import METHODS
from tiltflow.metrics import sliced_wasserstein
from tiltflow.model_settings import NetworkConfig
from tiltflow.paths import PATHS
from tiltflow.solvers import integrate

ROWS, DRAWN = 50_000, 10_000
ESS = 0.06
SMALL = NetworkConfig(width=64)
"""For problems of one dimension."""
# (dimensions, seed) for each method: together they would cost half the time of all tests.
PROBLEMS = {"efm": (8, 1), "ed": (8, 1), "tilted-path": (2, 4), "cep": (8, 1), "unguided": (8, 1)}


@cache
def mixture_problem(size: int, seed: int):
    """A random mixture's rows at an effective sample size of 6 %, a sample of the exact tilt, and the rows'
    own distance to it when they are resampled."""
    base, energy = random_mixture(seed, 3, size), random_energy(seed, size)
    rows = sample(base, seed, ROWS)
    problem = make_problem(rows, energy, target_ess=ESS)
    truth = sample(tilt(base, energy, problem.beta).tilted, seed + 100, DRAWN)
    return problem, truth, distance(fit_problem("resample", problem).sample(DRAWN), truth)


def distance(drawn, truth) -> float:
    points = (jnp.asarray(points, jnp.float32) for points in (drawn, truth))
    return sliced_wasserstein(jax.random.key(0), *points, replicates=0).value


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "size", "seed"),
    [(method, *problem) for method, problem in PROBLEMS.items()],
)
def test_exact_methods_are_near_the_truth_as_resampled_data_are_and_unguided_ones_are_not(method, size, seed):
    problem, truth, floor = mixture_problem(size, seed)
    steps = {"unguided": 1_000, "cep": 5_000}.get(method, 3_000)
    fitted = fit_problem(method, problem, replace(METHODS[method].config, steps=steps, batch_size=256))
    ratio = distance(fitted.sample(DRAWN), truth) / floor
    limit = {"cep": 4.0, "unguided": 4.0}.get(method, 3.0 if size == 8 else 2.0)
    assert (ratio > limit) if method == "unguided" else (ratio < limit), ratio


def guided_variance(method: str, **changes) -> tuple[float, float, float]:
    """Variance of samples for p = N(0, 1), E = x²/2, β = 3; of classifier guidance's law; of the tilt."""
    base = gaussian_mixture(np.ones(1), np.zeros((1, 1)), np.ones((1, 1, 1)))
    energy = QuadraticEnergy(jnp.eye(1), jnp.zeros(1))
    laws = classifier_free_law(base, energy, 3.0), tilt(base, energy, 3.0).tilted
    rows = sample(base, 3, ROWS)
    config = replace(METHODS[method].config, network=SMALL, num_steps=50, **changes)
    fitted = fit(method, rows, np.asarray(energy(rows)), beta=3.0, config=config)
    wrong, truth = (float(law.covariance[0, 0]) for law in laws)
    return float(fitted.sample(20_000).var()), wrong, truth


@pytest.mark.slow
def test_classifier_free_guidance_samples_its_own_law_and_not_the_tilt():
    # β = 3 extrapolates from both halves of the network, and triples their errors: it needs both precisely.
    variance, wrong, truth = guided_variance("cfg", steps=15_000, unconditional_share=0.5)
    assert (wrong, truth) == pytest.approx((0.125, 0.25), rel=1e-4)
    assert variance == pytest.approx(wrong, rel=0.05)


@pytest.mark.slow
def test_classifier_guidance_samples_the_same_law_up_to_the_error_of_its_classifier():
    variance, wrong, truth = guided_variance("cg", steps=4_000)
    assert abs(variance - wrong) < abs(variance - truth) / 5


def test_a_conditional_model_samples_the_tilt_at_each_condition():
    rng = np.random.default_rng(0)
    condition = rng.uniform(-2, 2, (ROWS, 1))
    points = condition + rng.standard_normal((ROWS, 1))
    config = replace(METHODS["efm"].config, steps=4_000, batch_size=256, network=SMALL)
    # N(c, 1)·exp(−x) is N(c − 1, 1).
    fitted = fit("efm", points, points[:, 0], beta=1.0, condition=condition, config=config)
    for c in (-1.0, 1.0):
        drawn = fitted.sample(5_000, condition=[c])
        assert drawn.mean() == pytest.approx(c - 1, abs=0.12)
        assert drawn.std() == pytest.approx(1, abs=0.1)


def test_the_density_of_a_fitted_model_is_that_of_the_tilt():
    points = np.random.default_rng(0).standard_normal((ROWS, 1)) * 2 + 1
    config = replace(METHODS["efm"].config, steps=4_000, batch_size=256, network=SMALL)
    # N(1, 4)·exp(−(x − 1)²/8) is N(1, 2).
    fitted = fit("efm", points, (points[:, 0] - 1) ** 2 / 8, beta=1.0, config=config)
    x = np.linspace(-1.5, 3.5, 41)[:, None]
    exact = -((x[:, 0] - 1) ** 2) / 4 - 0.5 * np.log(2 * np.pi * 2)
    assert np.sqrt(np.mean((fitted.log_prob(x) - exact) ** 2)) < 0.1


def two_modes(n: int) -> np.ndarray:
    """½·N(−2, 0.09) + ½·N(2, 0.09)."""
    rng = np.random.default_rng(0)
    return np.where(rng.random(n) < 0.5, -2.0, 2.0) + 0.3 * rng.standard_normal(n)


def guided_samples(energy, **settings) -> np.ndarray:
    """20,000 samples of flowq at β = 1 on the two modes, in their own units."""
    problem = make_problem(two_modes(ROWS), energy, 1.0, standardise=False)
    config = replace(METHODS["flowq"].config, steps=3_000, batch_size=256, network=SMALL, **settings)
    return fit_problem("flowq", problem, config).sample(20_000)[:, 0]


@pytest.mark.slow
def test_the_displaced_path_ends_one_step_down_the_energy_from_each_row():
    def quadratic(x):
        return (x[..., 0] - 2) ** 2 / 8

    # data − 2·∇E = (data + 2)/2: the modes go to 0 and 2 with half their spread, and keep their masses.
    drawn = guided_samples(quadratic, reading="path", schedule="linear", sigma=0.0, displacement=2.0)
    upper = drawn > 1
    assert upper.mean() == pytest.approx(0.5, abs=0.03)
    for mode, mean in ((drawn[upper], 2.0), (drawn[~upper], 0.0)):
        assert mode.mean() == pytest.approx(mean, abs=0.05)
        assert mode.std() == pytest.approx(0.15, abs=0.05)


@pytest.mark.slow
def test_the_guided_velocity_carries_noise_as_the_exact_guided_field_does():
    modes = gaussian_mixture(np.ones(2), np.array([[-2.0], [2.0]]), np.full((2, 1, 1), 0.09))
    path = PATHS["ot"]

    def field(t, x):
        # u_t − (1 − t)·∇E with E = −x.
        return predict(modes, path, "velocity", jnp.full(x.shape[:-1], t), x) + (1 - t)

    noise = jnp.asarray(np.random.default_rng(1).standard_normal((20_000, 1)))
    exact = np.asarray(integrate(field, noise, start=1e-3, end=0.999, num_steps=200, method="midpoint"))[:, 0]
    drawn = guided_samples(lambda x: -x[..., 0], reading="velocity", schedule="linear")
    assert (drawn > 0).mean() == pytest.approx((exact > 0).mean(), abs=0.02)
    assert drawn[drawn > 0].mean() == pytest.approx(exact[exact > 0].mean(), abs=0.04)
    # As the closed forms say, this is far from the tilt, of which 98 % is in the upper mode.
    assert (drawn > 0).mean() < 0.75


@pytest.mark.slow
def test_annealing_reaches_a_tilt_of_which_the_data_have_two_effective_rows():
    # N(0, 1) tilted by exp(3x) is N(3, 1), and the effective share of the rows exp(−9).
    rows = np.random.default_rng(0).standard_normal((20_000, 1))
    config = replace(
        METHODS["tilted-path"].config, steps=3_000, batch_size=256, network=SMALL, sigma=0.0, anneal=3
    )
    drawn = fit("tilted-path", rows, lambda x: -x[:, 0], beta=3.0, config=config).sample(10_000)
    # Each of three steps inherits the errors of the last, which the tilt makes larger.
    assert drawn.mean() == pytest.approx(3.0, abs=0.3)
    assert drawn.std() == pytest.approx(1.0, abs=0.2)
