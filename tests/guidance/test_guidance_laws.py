"""The laws of the samples, against closed forms: what each method must give, and where two must fail."""

from dataclasses import replace
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from laws import random_energy, random_mixture, sample, tilt
from tiltflow.exact import (
    GaussianMixture,
    QuadraticEnergy,
    gaussian_mixture,
    predict,
)
from tiltflow.flow import Flow
from tiltflow.guidance import fit, make_problem
from tiltflow.guidance.fit_loop import Trainer
from tiltflow.guidance.fitting import fit_problem
from tiltflow.guidance.methods import METHODS
from tiltflow.guidance.methods.class_dropout import ClassifierFree, train_with_class
from tiltflow.guidance.methods.classifier import strength, train_classifier
from tiltflow.guidance.methods.energy_prediction import fit as fit_cep
from tiltflow.guidance.score_shift import Guided
from tiltflow.metrics import sliced_wasserstein
from tiltflow.model_settings import NetworkConfig
from tiltflow.paths import PATHS
from tiltflow.solvers import integrate

ROWS, DRAWN = 50_000, 8_000
ON_THE_LINE = 16_384
"""Rows of the problems of one dimension, which share compiled programs."""
ESS = 0.06
TRAINED = {"network": NetworkConfig(width=64), "steps": 750, "batch_size": 256, "learning_rate": 1e-2}
"""Large steps, and few."""


@cache
def mixture_problem(size: int = 8, seed: int = 1):
    """A random mixture's rows at an effective sample size of 6 %, a sample of the exact tilt, and the rows'
    own distance to it when they are resampled."""
    base, energy = random_mixture(seed, 3, size), random_energy(seed, size)
    rows = sample(base, seed, ROWS)
    problem = make_problem(rows, energy, target_ess=ESS)
    truth = sample(tilt(base, energy, problem.beta).tilted, seed + 100, DRAWN)
    return problem, truth, distance(fit_problem("resample", problem).sample(DRAWN), truth)


def distance(drawn, truth) -> float:
    points = (jnp.asarray(points, jnp.float32) for points in (drawn, truth))
    return sliced_wasserstein(jax.random.key(0), *points, num_projections=64, replicates=0).value


@pytest.mark.slow
@pytest.mark.parametrize("method", ["efm", "ed", "tilted-path"])
def test_exact_methods_are_near_the_truth_as_resampled_data_are_and_the_data_themselves_are_not(
    method,
):
    problem, truth, floor = mixture_problem()
    config = replace(METHODS[method].config, **TRAINED)
    ratio = distance(fit_problem(method, problem, config).sample(DRAWN), truth) / floor
    assert ratio < 3.0
    assert distance(problem.in_data_units(problem.points[:DRAWN]), truth) / floor > 4


class ExactNoise(eqx.Module):
    """The noise of a law on the variance-preserving path, in the place of a network."""

    law: GaussianMixture

    def __call__(self, x, t, condition=None):
        return predict(self.law, PATHS["vp"], "noise", t, x)


def exact_diffusion(network) -> Flow:
    return Flow(network=network, path=PATHS["vp"], prediction="noise")


BASE = gaussian_mixture(np.ones(1), np.zeros((1, 1)), np.ones((1, 1, 1)))
ENERGY = QuadraticEnergy(jnp.eye(1), jnp.zeros(1))
"""E = x²/2."""
WRONG, TRUTH = 0.125, 0.25
"""Variances at β = 3: of the law of classifier-free guidance, and of the tilt (test_exact has them)."""


def gaussian_problem(method: str, **changes):
    """N(0, 1) at β = 3, with a config of the method and a trainer."""
    rows = sample(BASE, 3, ON_THE_LINE)
    config = replace(METHODS[method].config, **TRAINED, **changes)
    return make_problem(rows, np.asarray(ENERGY(rows)), 3.0), config, Trainer(config)


def variance_of(model) -> float:
    drawn = jax.jit(lambda key: model.sample(key, (20_000, 1), num_steps=50, solver="dpm-solver++"))
    return float(drawn(jax.random.key(0)).var())


class ExactClasses(eqx.Module):
    """The noise of N(0, 1), and of its tilt of β = 1 where the class is shown, in the place of a network."""

    def __call__(self, x, t, condition):
        laws = BASE, tilt(BASE, ENERGY, 1.0).tilted
        hidden, shown = (predict(law, PATHS["vp"], "noise", t, x) for law in laws)
        return jnp.where(condition[..., :1] > 0, shown, hidden)


def test_classifier_free_guidance_samples_its_own_law_and_not_the_tilt():
    """Of exact halves: β = 3 extrapolates from both, and would triple the errors of learned ones."""
    model = ClassifierFree(exact_diffusion(ExactClasses()), jnp.float32(3), PATHS["vp"])
    assert variance_of(model) == pytest.approx(WRONG, rel=0.05)


def test_the_network_of_classifier_free_guidance_learns_both_laws():
    problem, config, trainer = gaussian_problem("cfg", unconditional_share=0.5)
    flow = train_with_class(problem, config, jax.random.key(0), trainer)
    assert float(strength(problem, config.class_temperature)) == 3
    t, x, shown = np.meshgrid(np.linspace(0.1, 0.9, 9), np.linspace(-1.5, 1.5, 13), [0.0, 1.0])
    points = [np.float32(column) for column in (x[..., None], t, np.stack([shown, shown], axis=-1))]
    learned, closed = (jax.jit(lambda *at, of=of: of(*at))(*points) for of in (flow.network, ExactClasses()))
    assert np.all(np.sqrt(np.mean((learned - closed) ** 2, axis=(0, 1, 3))) < 0.05)


def test_classifier_guidance_samples_the_same_law_up_to_the_error_of_its_classifier():
    problem, config, trainer = gaussian_problem("cg")
    classifier = train_classifier(problem, config, *jax.random.split(jax.random.key(0)), trainer)
    base, scale = exact_diffusion(ExactNoise(BASE)), strength(problem, config.class_temperature)
    variance = variance_of(Guided(base, classifier, scale, PATHS["vp"]))
    assert abs(variance - WRONG) < abs(variance - TRUTH) / 5


def test_a_learned_energy_guides_to_the_tilt_where_a_classifier_does_not():
    problem, config, trainer = gaussian_problem("cep")
    previous = Guided(exact_diffusion(ExactNoise(BASE)), None, jnp.ones(()), PATHS["vp"])
    variance = variance_of(fit_cep(problem, config, jax.random.key(0), trainer, previous).model)
    assert abs(variance - TRUTH) < abs(variance - WRONG) / 5


def test_the_density_of_a_fitted_model_is_that_of_the_tilt():
    points = np.random.default_rng(0).standard_normal((ON_THE_LINE, 1)) * 2 + 1
    config = replace(METHODS["efm"].config, **TRAINED)
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
    problem = make_problem(two_modes(ON_THE_LINE), energy, 1.0, standardise=False)
    config = replace(METHODS["flowq"].config, **TRAINED, **settings)
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
    rows = np.random.default_rng(0).standard_normal((ON_THE_LINE, 1))
    config = replace(METHODS["tilted-path"].config, **TRAINED, sigma=0.0, anneal=3)
    drawn = fit("tilted-path", rows, lambda x: -x[:, 0], beta=3.0, config=config).sample(10_000)
    # Each of three steps inherits the errors of the last, which the tilt makes larger.
    assert drawn.mean() == pytest.approx(3.0, abs=0.3)
    assert drawn.std() == pytest.approx(1.0, abs=0.2)
