"""What the settings of a fit say, by closed forms: fits of a few steps, in which nothing is learned."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tiltflow.exact import gaussian_mixture, predict
from tiltflow.flow import Flow
from tiltflow.guidance import fit
from tiltflow.guidance.energies import FunctionEnergy
from tiltflow.guidance.fit_loop import Trainer
from tiltflow.guidance.fitting import fit_problem
from tiltflow.guidance.methods import METHODS
from tiltflow.guidance.methods.importance import sample_resampled
from tiltflow.guidance.methods.steering import sample_steered
from tiltflow.guidance.outcome import draw_points
from tiltflow.guidance.problem import make_problem
from tiltflow.model_settings import NetworkConfig
from tiltflow.networks import MLP
from tiltflow.paths import PATHS
from tiltflow.solvers import EVALUATIONS

pytestmark = pytest.mark.usefixtures("quickly_compiled")

TINY = NetworkConfig(width=5, depth=1)
UNUSUAL = replace(TINY, activation="gelu", layer_norm="after")
NORMAL = gaussian_mixture(np.ones(1), np.zeros((1, 1)), np.ones((1, 1, 1)))


def config_of(method: str, **changes):
    return replace(METHODS[method].config, **{"network": TINY, "steps": 1, "batch_size": 8, **changes})


def points(n: int = 64) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, 1))


def networks(model) -> list[MLP]:
    leaves = jax.tree.leaves(model, is_leaf=lambda leaf: isinstance(leaf, MLP))
    return [leaf for leaf in leaves if isinstance(leaf, MLP)]


# Networks, paths and samplers


@pytest.mark.parametrize(("method", "count"), [("efm", 1), ("cep", 2)])
def test_networks_and_path_are_those_that_are_asked_for(method, count):
    config = config_of(
        method, network=UNUSUAL, path="cosine", prediction="data", solver="midpoint", num_steps=3
    )
    fitted = fit(method, points(), points()[:, 0], 1.0, config=config)
    found = networks(fitted.model)
    assert len(found) == count
    for network in found:
        assert [kernel.shape[1] for kernel in network.kernels] == [5, 1]
        assert (network.activation, network.layer_norm) == ("gelu", "after")
    flow = fitted.model if method == "efm" else fitted.model.base
    assert type(fitted.model.path) is type(flow.path) is type(PATHS["cosine"])
    assert flow.prediction == "data"
    assert fitted.evaluations == 3 * EVALUATIONS["midpoint"] * count


class ExactVelocity(eqx.Module):
    """The velocity of N(0, 1), in the place of a network."""

    def __call__(self, x, t, condition=None):
        return predict(NORMAL, PATHS["ot"], "velocity", t, x)


EXACT = Flow(network=ExactVelocity(), path=PATHS["ot"], prediction="velocity")


def test_one_step_of_euler_from_noise_lands_at_the_mean():
    config = config_of("efm", solver="euler", num_steps=1)
    np.testing.assert_allclose(draw_points(EXACT, 1, config, jax.random.key(0), 50, None), 0.0, atol=1e-6)


# Descent


def constant_slope(model, batch, key, seen=[]):  # noqa: B006
    """A loss of slope 1 everywhere; the sizes of the batches are kept."""
    seen.append(len(batch["points"]))
    return model["level"]


def test_a_descent_has_its_steps_its_batches_its_step_size_and_its_average():
    """Adam goes down a constant slope by its step size at every step; the average follows from that."""
    rows, columns = {"": jnp.arange(64, dtype=jnp.int32)}, {"points": jnp.asarray(points())}
    steps, size, decay = 60, 0.02, 0.5
    falling = size * 0.5 * (1 + np.cos(np.pi * np.arange(steps) / steps))
    for choice, moves in (("none", np.full(steps, size)), ("cosine", falling)):
        config = config_of("efm", steps=steps, batch_size=24, learning_rate=size, decay=choice, ema=decay)
        done = []
        trainer = Trainer(config, lambda what, number, total, loss, done=done: done.append((number, total)))
        average = trainer.descend(
            "level", {"level": jnp.zeros(())}, constant_slope, columns, rows, jax.random.key(0)
        )
        level = expected = 0.0
        for step, move in enumerate(moves):
            level, keep = level - move, min(decay, (1 + step) / (10 + step))
            expected = keep * expected + (1 - keep) * level
        assert average["level"] == pytest.approx(expected, rel=1e-4)
        assert done[-1] == (steps, steps)
        assert constant_slope.__defaults__[0][-1] == 24
        assert len(trainer.losses["level"]) == 30  # chunks of two steps


# Weights


def losses_of(method: str, energies, beta: float = 1.0, condition=None, **changes) -> dict:
    fitted = fit(
        method,
        points(len(energies)),
        energies,
        beta,
        condition=condition,
        config=config_of(method, **changes),
    )
    return fitted.losses


def test_the_weights_of_rows_are_factors_or_chances_and_of_all_rows_or_a_batch():
    """Half of the rows have weight 2, the others none; a step is one row."""
    energies = np.where(np.arange(64) % 2 == 0, 0.0, np.inf)
    settings = {"steps": 50, "batch_size": 1, "learning_rate": 1e-12}
    of_data, of_batch, sampled = (
        np.asarray(losses_of("efm", energies, weights=weights, **settings)["generative model"])
        for weights in ("data", "batch", "sampled")
    )
    assert np.sum(of_data == 0) > 10
    np.testing.assert_allclose(of_data, 2 * of_batch, rtol=1e-4)
    assert np.all(sampled > 0)


@pytest.mark.parametrize(
    ("contrast", "loss"),
    [
        ("mse", lambda e: np.mean(e**2)),
        ("emse", lambda e: np.mean((1 - np.exp(-e)) ** 2)),
        ("contrastive", lambda e: np.log(500)),
    ],
)
def test_the_losses_of_an_energy_network_that_knows_nothing(contrast, loss):
    """At f = 0, where a fresh network nearly is: E[E²], E[(1 − e^−E)²], log of a group's size."""
    energies = np.random.default_rng(1).uniform(0, 3, 4_000)
    energies[0] = 0.0
    found = losses_of("cep", energies, contrast=contrast, weights="data", batch_size=2_000)
    assert found["energy network"][0] == pytest.approx(loss(energies), rel=0.1)


@pytest.mark.parametrize("baseline", ["fitted", "none"])
def test_the_level_of_a_condition_is_taken_off_where_it_is_asked_to(baseline):
    condition = points()
    config = config_of("efm", baseline=baseline)
    fitted = fit("efm", condition, 5 * condition[:, 0] ** 2, 1.0, condition=condition, config=config)
    assert (fitted.problem.level is not None) == (baseline == "fitted")


@pytest.mark.parametrize(
    ("method", "more"), [("tilted-path", {"sigma": 0.0}), ("flowq", {"schedule": "linear"})]
)
def test_annealing_trains_models_in_each_of_its_steps(method, more):
    once, thrice = (
        fit(method, points(), lambda x: x[..., 0], 1.0, config=config_of(method, anneal=count, **more)).losses
        for count in (1, 3)
    )
    assert {name.partition(", β ")[2] for name in once} == {""}
    assert {name.partition(", β ")[2] for name in thrice} == {"1/3", "2/3", "3/3"}


@pytest.mark.parametrize("sigma", [0.0, 0.8])
def test_sigma_spreads_the_proposals_of_the_tilted_path(sigma):
    """Of E = ½x²: p_σ = N(0, 1 + σ²), and the effective share of the proposals in closed form.

    x ~ N(z(1 − σ²), σ²) has the weight exp(−x²/2 + z(x − z) + σ²z²/2), for β = 1.
    """
    fitted = fit_problem(
        "tilted-path",
        make_problem(points(20_000), lambda x: 0.5 * x[..., 0] ** 2, 1.0, standardise=False),
        config_of("tilted-path", sigma=sigma),
    )
    (note,) = (note for note in fitted.notes if "of the proposals" in note)
    share = float(note.split("proposals: ")[1].split("%")[0]) / 100
    rng = np.random.default_rng(5)
    z, noise = rng.standard_normal((2, 1_000_000))
    x = z * (1 - sigma**2) + sigma * noise
    weights = np.exp(-(x**2) / 2 + z * (x - z) + sigma**2 * z**2 / 2)
    assert share == pytest.approx(weights.mean() ** 2 / (weights**2).mean(), rel=0.02)


# Classes


@pytest.mark.parametrize("method", ["cg", "cfg"])
def test_a_class_of_another_temperature_is_guided_towards_as_strongly(method):
    """p(c | x) = exp(−E/τ) to the power β·τ."""
    x = points()
    fitted = fit(method, x, x[:, 0], 0.5, config=config_of(method, class_temperature=4.0))
    assert fitted.model.scale == pytest.approx(2.0)


def test_a_class_that_is_hidden_from_every_row_is_never_learned():
    """The weights of its two entries get no gradient, and stay what they are."""
    kernels = [
        networks(
            fit(
                "cfg", points(), points()[:, 0], 1.0,
                config=config_of("cfg", unconditional_share=1 - 1e-9, steps=steps),
            ).model
        )[0].kernels[0]
        for steps in (1, 6)
    ]  # fmt: skip
    np.testing.assert_array_equal(kernels[0][-2:], kernels[1][-2:])
    assert not np.array_equal(kernels[0][:-2], kernels[1][:-2])


# FlowQ: a slope so steep that nothing else counts in the loss


STEEP, T = 1e4, (np.arange(4_000) + 0.5) / 4_000


def flowq_loss(energy, **settings) -> float:
    """The loss of FlowQ's first step over the square of the slope."""
    # Whatever the size of its inputs, a normalised network says little.
    config = config_of("flowq", network=UNUSUAL, batch_size=65_536, **settings)
    problem = make_problem(points(20_000), energy, 1.0, standardise=False)
    return fit_problem("flowq", problem, config).losses["generative model"][0] / STEEP**2


def linear(x):
    return STEEP * x[..., 0]


def quadratic(x):
    return 0.5 * STEEP * x[..., 0] ** 2


@pytest.mark.parametrize(
    ("schedule", "factor", "c"),
    [
        ("linear", "score", 1 - T),
        ("quadratic", "raw", T**2),
        ("rational", "raw", np.minimum(T, 0.75) ** 2 / (1 - np.minimum(T, 0.75))),  # up to 1 − 1/4
    ],
)
def test_flowq_guides_its_velocity_by_its_schedule_times_its_factor(schedule, factor, c):
    found = flowq_loss(linear, reading="velocity", schedule=schedule, velocity_factor=factor, num_steps=4)
    assert found == pytest.approx(np.mean(c**2), rel=0.03)


@pytest.mark.parametrize(("hessian", "sigma"), [(True, 1.0), (False, 0.0)])
def test_flowq_displaces_its_path_along_the_derivative_of_its_own_gradient(hessian, sigma):
    """v = −λ·(h'(t)·m + h(t)·m') for E = x²/2, m = t·x + (1 − t)·√(1 − σ²)·z; h = t², λ = 2."""
    found = flowq_loss(
        quadratic, reading="path", schedule="quadratic", hessian=hessian, sigma=sigma, displacement=2.0
    )
    s = 1 - sigma**2
    point, slope, both = T**2 + (1 - T) ** 2 * s, 1 + s, T - (1 - T) * s
    h, moved = T**2 if hessian else 0 * T, 2 * T
    assert found == pytest.approx(
        4 * np.mean(moved**2 * point + 2 * h * moved * both + h**2 * slope), rel=0.05
    )


# Pools


@pytest.mark.parametrize(("method", "sampler"), [("flow-is", sample_resampled), ("smc", sample_steered)])
def test_a_pool_is_as_large_as_asked_for_at_each_condition(method, sampler):
    """At β → ∞ the best of 64 of N(0, 1) is drawn, of which the mean is 2.344 and the deviation 0.43.

    One midpoint step of the exact flow from N(0, 1) to N(0, 1) leaves every point where it is.
    """
    problem = make_problem([[0.0], [1.0]], lambda x: -x[..., 0], 1e6, standardise=False)
    energy = FunctionEnergy(lambda x: -x[..., 0], jnp.zeros(1), jnp.ones(1))
    config = replace(METHODS[method].config, solver="midpoint", num_steps=1, pool=200 * 64)
    best = sampler(problem, energy, EXACT, config, jax.random.key(0), 200, np.zeros((200, 1), np.float32))
    assert best.mean() == pytest.approx(2.344, abs=5 * 0.43 / np.sqrt(200))


def test_a_small_pool_is_as_small_as_asked_for():
    asked = []

    def energy(x):
        asked.append(len(x))
        return -x[..., 0]

    problem = make_problem([[0.0], [1.0]], [0.0, 1.0], 1.0, standardise=False)
    config = replace(METHODS["flow-is"].config, solver="midpoint", num_steps=1, pool=100)
    of_points = FunctionEnergy(energy, jnp.zeros(1), jnp.ones(1))
    drawn = sample_resampled(problem, of_points, EXACT, config, jax.random.key(0), 10, None)
    assert (asked, len(drawn)) == ([100], 10)
