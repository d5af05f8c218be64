"""Inputs at the edge of what makes sense: a sensible result, or an error that names the row."""

from dataclasses import fields, replace

import jax
import numpy as np
import pytest

from tiltflow.errors import TrainingDiverged, UserError
from tiltflow.guidance import fit, make_problem
from tiltflow.guidance.contract import FitConfig
from tiltflow.guidance.fit_loop import Trainer
from tiltflow.guidance.methods import METHODS
from tiltflow.guidance.methods.energy_prediction import train_energy
from tiltflow.guidance.outcome import draw_points
from tiltflow.model_settings import NetworkConfig

pytestmark = pytest.mark.usefixtures("quickly_compiled")

INF = float("inf")
GENERATIVE = [name for name in METHODS if name != "resample"]


def small(method: str, **changes) -> FitConfig:
    network = NetworkConfig(width=32, depth=2)
    default = METHODS[method].config
    known = {field.name for field in fields(default)}
    small = {"network": network, "steps": 60, "batch_size": 64, "num_steps": 5, "pool": 2_000}
    return replace(default, **{name: value for name, value in small.items() if name in known} | changes)


def points(n: int = 400, size: int = 2) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, size)) * [3.0, 0.1][:size] + 5


@pytest.mark.parametrize("method", GENERATIVE)
def test_without_tilt_every_method_is_the_unguided_model_of_its_path(method):
    x = points()
    config = small(method)
    sampler = {name: getattr(config, name) for name in ("path", "prediction", "solver", "num_steps")}
    unguided = fit("unguided", x, x[:, 0], beta=0.0, config=small("unguided", **sampler))
    fitted = fit(method, x, x[:, 0], beta=0.0, config=config)
    if method == "cfg":  # its one network also learns the class
        assert fitted.model.scale == 0
        return
    base = fitted.model.base if method in ("cep", "cg") else fitted.model
    if method in ("efm", "ed", "unguided"):
        np.testing.assert_array_equal(fitted.sample(20), unguided.sample(20))
    drawn = draw_points(base, 2, config, jax.random.key(0), 20, None)
    expected = drawn * fitted.problem.scale + fitted.problem.shift
    np.testing.assert_allclose(fitted.sample(20), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_equal_seeds_give_equal_bits_and_others_do_not(method):
    x = points()
    fits = [fit(method, x, x[:, 0], beta=0.5, config=small(method), seed=seed) for seed in (1, 1, 2)]
    same, again, other = (fitted.sample(20, seed=3) for fitted in fits)
    np.testing.assert_array_equal(same, again)
    assert method == "resample" or not np.array_equal(same, other)
    assert not np.array_equal(same, fits[0].sample(20, seed=4))
    assert same.dtype == np.float32


@pytest.mark.parametrize("method", METHODS)
def test_one_point_is_all_that_can_be_drawn(method):
    """So often that what other tests have compiled serves this one; and there once, where that differs."""
    for rows in (400, 1) if method in ("efm", "resample") else (400,):
        fitted = fit(method, np.tile([3.0, -1.0], (rows, 1)), np.full(rows, 7.0), 2.0, config=small(method))
        np.testing.assert_array_equal(fitted.sample(20), np.tile(np.float32([3, -1]), (20, 1)))


def test_the_energies_are_nothing_to_the_unguided_model():
    x, config = points(), small("unguided")
    drawn = [fit("unguided", x, x[:, 0], beta, config=config).sample(20) for beta in (0.0, 2.0)]
    np.testing.assert_array_equal(*drawn)


def test_samples_have_the_units_of_the_data_and_constant_columns_stay():
    x = np.column_stack([1e6 + 1e3 * points()[:, 0], np.full(400, 0.25), 1e-6 * points()[:, 1]])
    fitted = fit("efm", x, np.zeros(400), beta=1.0, config=small("efm", steps=600))
    drawn = fitted.sample(500)
    assert np.all(drawn[:, 1] == 0.25)
    np.testing.assert_allclose(drawn.mean(axis=0), x.mean(axis=0), rtol=0.02)
    np.testing.assert_allclose(drawn.std(axis=0), x.std(axis=0), rtol=0.3)
    with pytest.raises(UserError, match="do not vary in every coordinate"):
        fitted.log_prob(x[:3])


def test_an_offset_of_a_billion_leaves_the_samples_their_digits():
    x = points()
    drawn = fit("resample", x + np.array([0.0, 1e9]), x[:, 0], beta=0.0).sample(300)
    assert drawn.dtype == np.float64
    np.testing.assert_allclose(drawn[:, 1].std(), 0.1, rtol=0.2)


@pytest.mark.parametrize("size", [1e39, 1e300])
@pytest.mark.parametrize("name", ["points", "condition"])
def test_a_row_beside_which_all_others_become_equal_is_named(name, size):
    arrays = {"points": points(), "condition": points()}
    arrays[name][3, 1] = size
    with pytest.raises(UserError, match=rf"{name}, row 3 .* in coordinate 1"):
        make_problem(**arrays, energy=np.zeros(400), beta=1.0)
    if name == "points":
        make_problem(**arrays, energy=np.zeros(400), beta=1.0, transform="quantile")


def test_rows_of_infinite_energy_are_never_drawn():
    x = points()
    energy = np.where(x[:, 0] > 5, INF, 0.0)
    assert fit("resample", x, energy, beta=0.1).sample(300)[:, 0].max() <= 5
    # β = 0 leaves the data as they are, whatever their energies.
    assert fit("resample", x, energy, beta=0.0).sample(300)[:, 0].max() > 5


def test_duplicated_rows_count_as_often_as_they_are_there():
    x = np.repeat([[0.0], [1.0]], [100, 300], axis=0)
    once, more = fit("resample", x, np.zeros(400), beta=1.0), make_problem(x, np.zeros(400), beta=1.0)
    assert once.sample(20_000).mean() == pytest.approx(0.75, abs=0.02)
    assert more.ess == pytest.approx(400)


@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_energies_of_any_scale(scale):
    x = points()
    energy = x[:, 0] - 5
    problem = make_problem(x, scale * energy, beta=0.7 / scale)
    np.testing.assert_allclose(problem.weights, make_problem(x, energy, beta=0.7).weights, rtol=1e-3)
    chosen = make_problem(x, scale * energy, target_ess=0.3)
    assert chosen.ess / 400 == pytest.approx(0.3, abs=0.01)
    fitted = fit("efm", x, scale * energy, beta=0.7 / scale, config=small("efm"))
    assert np.all(np.isfinite(fitted.sample(10)))


def test_a_huge_energy_does_not_overflow():
    energies = np.resize([1e300, -1e300, 0.0, 1.0], 400)
    weights = make_problem(points(), energies, beta=1.0).weights
    np.testing.assert_array_equal(weights, np.where(energies == -1e300, 4, 0))


def test_a_large_beta_collapses_onto_the_lowest_energy_and_says_so():
    x = points()
    energy = np.sum((x - [6, 5]) ** 2, axis=1)
    fitted = fit("efm", x, energy, beta=1e6, config=small("efm", steps=600))
    assert fitted.problem.ess < 2
    assert "1.0 of 400 rows are effective" in fitted.notes[0]
    assert "would keep 5%" in fitted.notes[0]
    best = x[np.argmin(energy)]
    assert np.all(np.abs(np.median(fitted.sample(500), axis=0) - best) < 0.1 * x.std(axis=0))


def test_the_advice_on_beta_keeps_what_it_promises():
    x = points()
    note = fit("resample", x, x[:, 0], beta=50.0).notes[0]
    advised = float(note.split("β = ")[-1].split(" ")[0])
    assert make_problem(x, x[:, 0], beta=advised).ess / 400 == pytest.approx(0.05, rel=0.02)


def test_constant_energies_change_nothing():
    x = points()
    fitted = fit("efm", x, np.full(400, 3.0), beta=5.0, config=small("efm"))
    assert fitted.problem.ess == pytest.approx(400)
    with pytest.raises(UserError, match="all equal"):
        make_problem(x, np.full(400, 3.0), target_ess=0.5)


def test_a_million_rows():
    x = np.random.default_rng(0).standard_normal((1_000_000, 2))
    fitted = fit("efm", x, x[:, 0], beta=1.0, config=small("efm"))
    assert fitted.problem.ess / 1e6 == pytest.approx(np.exp(-1), rel=0.05)  # E[e^x]²/E[e^2x]
    assert fit("resample", x, x[:, 0], beta=1.0).sample(50_000)[:, 0].mean() == pytest.approx(-1, abs=0.03)


def test_energy_may_be_a_function():
    x = points()
    given, computed = (
        make_problem(x, x[:, 0] ** 2, beta=0.1),
        make_problem(x, lambda x: x[:, 0] ** 2, beta=0.1),
    )
    np.testing.assert_array_equal(given.weights, computed.weights)


def test_resampling_at_a_condition_draws_its_rows_alone():
    x = points()
    condition = (np.arange(400) % 2).astype(float)
    fitted = fit("resample", x, x[:, 0], beta=0.1, condition=condition, config=small("resample"))
    gaps = np.abs(fitted.sample(50, condition=[1.0])[:, None] - x[1::2]).max(axis=2)
    assert gaps.min(axis=1).max() < 1e-5
    with pytest.raises(UserError, match="No row of the data has one of these conditions"):
        fitted.sample(5, condition=[0.5])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"points": [[1.0], [np.nan]]}, "points, row 1 .*is not finite"),
        ({"points": np.zeros((2, 2, 2))}, "must be .rows, dimensions"),
        ({"points": [["a"], ["b"]]}, "points cannot be read as numbers"),
        ({"points": np.zeros((0, 2)), "energy": []}, "must be .rows, dimensions"),
        ({"energy": [1.0, 2.0, 3.0]}, "energy has shape .3,., but there are 2 rows"),
        ({"energy": [1.0, np.nan]}, "energy, row 1 .*is not a number"),
        ({"energy": [-INF, 1.0]}, "energy, row 0"),
        ({"energy": [INF, INF]}, "nothing is left"),
        ({"beta": -1.0}, "negate"),
        ({"beta": INF}, "finite"),
        ({"beta": None}, "either beta or target_ess"),
        ({"beta": 1.0, "target_ess": 0.5}, "either beta or target_ess"),
        ({"beta": None, "target_ess": 1.5}, "target_ess = 1.5"),
        ({"beta": None, "target_ess": 0.4}, "never falls below"),
        ({"beta": None, "target_ess": 0.9, "energy": [0.0, INF]}, "all equal"),
        ({"labels": [0.0, 2.0]}, "labels, row 1"),
        ({"condition": [[1.0], [INF]]}, "condition, row 1"),
        ({"condition": [1.0, 2.0, 3.0]}, "condition has shape"),
    ],
)
def test_what_cannot_be_used_is_named(arguments, text):
    given = {"points": [[1.0], [2.0]], "energy": [0.0, 1.0], "beta": 1.0, **arguments}
    with pytest.raises(UserError, match=text):
        make_problem(given.pop("points"), given.pop("energy"), given.pop("beta"), **given)


def test_bad_calls_are_named():
    x = points()
    with pytest.raises(UserError, match="Did you mean 'efm'"):
        fit("efn", x, x[:, 0], beta=1.0)
    fitted = fit("resample", x, x[:, 0], beta=0.1)
    for n, condition, text in ((0, None, "at least 1"), (5, [1.0], "exactly where it was fitted")):
        with pytest.raises(UserError, match=text):
            fitted.sample(n, condition=condition)
    with pytest.raises(UserError, match="it has no density"):
        fitted.log_prob(x)
    with pytest.raises(UserError, match="mse needs finite energies"):
        fit("cep", x, np.where(x[:, 0] > 5, INF, 0), beta=1.0, config=small("cep", contrast="mse"))
    with pytest.raises(UserError, match="takes a EDConfig, not a EFMConfig"):
        fit("ed", x, x[:, 0], beta=1.0, config=small("efm"))


def test_points_and_conditions_that_a_model_has_not_are_named():
    """Of the wrong size they were spread over all coordinates, and those that are not finite ended in JAX."""
    x = points()
    model = fit("unguided", x, x[:, 0], beta=1.0, condition=x[:, 1], config=small("unguided", steps=1))
    for wrong, text in (
        (x[:3, :1], "must be .rows, 2"),
        (x[0], "must be .rows, 2"),
        (x[:0], "must be .rows, 2"),
        ([[5.0, np.nan]], "points, row 0 .*is not finite"),
    ):
        with pytest.raises(UserError, match=text):
            model.log_prob(wrong, condition=[5.0])
    for wrong in ([np.nan], [[1.0], [INF]]):
        with pytest.raises(UserError, match=r"condition, row . .*is not finite"):
            model.sample(2, condition=wrong)
    line = fit("unguided", x[:, 0], x[:, 0], beta=1.0, config=small("unguided", steps=1))
    np.testing.assert_array_equal(line.log_prob(x[:4, 0]), line.log_prob(x[:4, :1]))
    np.testing.assert_array_equal(line.sample(2, seed=np.int64(3)), line.sample(2, seed=3))


def test_a_diverging_training_says_so():
    x = points()
    with pytest.raises(TrainingDiverged, match="loss of the generative model"):
        fit("efm", x, x[:, 0], beta=1.0, config=small("efm", learning_rate=1e30))


# A regression does not read the weights.
@pytest.mark.parametrize(
    ("contrast", "weights"),
    [(name, "data") for name in ("contrastive", "mse", "emse")]
    + [("contrastive", weights) for weights in ("batch", "sampled")],
)
def test_every_loss_of_the_energy_network_learns_the_energy_at_the_data(contrast, weights):
    x = np.random.default_rng(0).standard_normal((400, 1))
    config = small("cep", contrast=contrast, weights=weights, steps=500, batch_size=128)
    problem, trainer = make_problem(x, x[:, 0], 1.0), Trainer(config)
    potential = train_energy(problem, config, *jax.random.split(jax.random.key(0)), trainer)
    units = problem.points[:, 0]
    near = np.abs(units) < 1.5
    t = np.full(len(units), potential.path.end, np.float32)
    learned = np.asarray(potential.logit(t, problem.points))
    assert np.corrcoef(learned[near], -units[near])[0, 1] > 0.98
    assert "second network was fitted for the energy" in trainer.notes[-1]
