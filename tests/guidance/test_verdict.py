"""The verdict tells samples of the tilt from copies of the rows, from samples of p, and from too few rows."""

import jax
import numpy as np
import pytest

from tiltflow.guidance import make_problem
from tiltflow.guidance.verdict import HeldOut, judge, split


@pytest.fixture(scope="module")
def held_problem():
    """p = N(0, I) in two dimensions, E = x₁, β = 1: N((−1, 0), I)."""
    x = np.random.default_rng(0).standard_normal((20_000, 2))
    kept, out = split(len(x), 0.05, seed=3)
    assert len(out) == 1_000
    assert np.array_equal(np.union1d(kept, out), np.arange(20_000))
    return make_problem(x[kept], x[kept, 0], 1.0), HeldOut(x[out], x[out, 0])


def label(held_problem, samples):
    problem, held = held_problem
    return judge(jax.random.key(0), problem, samples, held)


def test_a_sample_of_the_tilt_is_fine(held_problem):
    verdict = label(held_problem, np.random.default_rng(1).normal([-1, 0], 1, (5_000, 2)))
    assert verdict.label == "fine"
    assert verdict.nearest == pytest.approx(1, abs=0.3)
    assert "held-out rows can tell" in verdict.sentence


def test_a_sample_of_p_is_not_fitted(held_problem):
    verdict = label(held_problem, np.random.default_rng(1).standard_normal((5_000, 2)))
    assert verdict.label == "under-fitted"
    assert verdict.distance > 3


def test_near_copies_of_the_rows_are_memorised_though_their_law_is_right(held_problem):
    problem, _ = held_problem
    rng = np.random.default_rng(2)
    units = problem.points[rng.choice(len(problem.points), 5_000, p=problem.weights / problem.weights.sum())]
    copies = units * problem.scale + problem.shift + 1e-4 * rng.standard_normal((5_000, 2))
    verdict = label(held_problem, copies)
    assert verdict.label == "memorised"
    assert verdict.distance < 2


def test_copies_of_some_rows_alone_are_not_said_to_need_fewer_steps(held_problem):
    problem, _ = held_problem
    far = problem.points[np.argsort(problem.points[:, 0])[-50:]] * problem.scale + problem.shift
    verdict = label(held_problem, np.tile(far, (100, 1)))
    assert (verdict.label, verdict.distance > 2) == ("memorised", True)
    assert "miss others" in verdict.sentence
    assert "fewer --steps" not in verdict.sentence


def test_the_side_with_too_few_effective_rows_is_the_one_that_is_named():
    x = np.random.default_rng(0).standard_normal((300, 1))
    problem = make_problem(x[:15], x[:15, 0], 0.0)
    verdict = judge(jax.random.key(0), problem, x, HeldOut(x[15:], x[15:, 0]))
    assert verdict.sentence == "not judged: of the training rows 15.0 are effective, fewer than 20"


def test_too_few_effective_rows_are_said_to_be_too_few():
    x = np.random.default_rng(0).standard_normal((300, 1))
    problem = make_problem(x[:280], x[:280, 0], 1.0)
    verdict = judge(jax.random.key(0), problem, x, HeldOut(x[280:], x[280:, 0]))
    assert (verdict.label, verdict.distance) == ("not judged", None)
    assert "fewer than 20" in verdict.sentence
