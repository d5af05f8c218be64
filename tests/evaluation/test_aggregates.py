"""Aggregates over tasks against rliable's own numbers and against laws.

rliable_reference.json was made once by rliable_reference.py with rliable 1.2.0; see there for how.
"""

import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from tiltflow.evaluation import aggregates
from tiltflow.evaluation.aggregates import (
    interquartile_mean,
    mean,
    median,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    stratified_interval,
)
from tiltflow.evaluation.statistics import iqm

REFERENCE = json.loads(Path(__file__).with_name("rliable_reference.json").read_text())
SINGLE = ("mean", "median", "interquartile_mean", "optimality_gap")
RESAMPLES = 20_000

unhurried = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
points = st.integers(0, 120).map(float)
ragged = st.lists(st.lists(points, min_size=1, max_size=6), min_size=1, max_size=5)


def tasks(matrix):
    return list(np.array(matrix).T)


@pytest.fixture(params=REFERENCE["cases"], ids=["5x9", "10x4", "3x26"])
def case(request):
    return request.param


def samples(case, name):
    return [tasks(case["one"])] + ([] if name in SINGLE else [tasks(case["other"])])


@pytest.mark.parametrize("name", [*SINGLE, "probability_of_improvement"])
def test_point_estimates_are_rliables(case, name):
    found = getattr(aggregates, name)(*samples(case, name))
    assert found == pytest.approx(case["points"][name], rel=1e-12)


@pytest.mark.parametrize("name", [*SINGLE, "probability_of_improvement"])
def test_intervals_are_rliables_up_to_the_chance_of_the_resamples(case, name):
    """Each of rliable's bounds lies between our quantiles at four standard errors of its level.

    A bound at level p from B resamples has p's standard error √(p(1−p)/B); both sides have one.
    """
    statistic = partial(stratified_interval, getattr(aggregates, name), *samples(case, name))
    level = 0.025
    error = np.sqrt(level * (1 - level) * (1 / RESAMPLES + 1 / REFERENCE["repetitions"]))
    inner, outer = (
        statistic(confidence=1 - 2 * (level + 4 * sign * error), resamples=RESAMPLES) for sign in (1, -1)
    )
    low, high = case["intervals"][name]
    assert outer[0] - 1e-9 <= low <= inner[0] + 1e-9
    assert inner[1] - 1e-9 <= high <= outer[1] + 1e-9


def test_the_profile_is_rliables(case):
    found = performance_profile(tasks(case["one"]), np.array(REFERENCE["thresholds"]))
    assert found == pytest.approx(case["profile"], abs=1e-12)


@unhurried
@given(ragged, st.floats(0.1, 10), st.floats(-50, 50))
def test_aggregates_move_with_scale_and_shift(scores, scale, shift):
    moved = [scale * np.array(task) + shift for task in scores]
    plain = [np.array(task) for task in scores]
    for aggregate in (mean, median, interquartile_mean):
        assert aggregate(moved) == pytest.approx(scale * aggregate(plain) + shift, abs=1e-9)


@unhurried
@given(ragged, st.integers(2, 3))
def test_every_task_counts_alike_however_many_seeds_it_has(scores, times):
    """Repeating each seed of one task tells nothing new."""
    more = [np.repeat(scores[0], times), *map(np.array, scores[1:])]
    plain = [np.array(task) for task in scores]
    for aggregate in (mean, median, optimality_gap):
        assert aggregate(more) == pytest.approx(aggregate(plain), abs=1e-9)
    # Whole scores are cut off: a finer repetition may cut one more part of a score.
    smallest = min(map(len, scores)) * len(scores)
    span = max(map(max, scores)) - min(map(min, scores))
    assert abs(interquartile_mean(more) - interquartile_mean(plain)) <= 2 * span / smallest + 1e-9


@pytest.mark.parametrize("counts", [(3, 5), (4, 3, 2), (1, 2, 7)])
def test_with_unequal_numbers_of_seeds_it_is_the_trimmed_mean_of_repeated_scores(counts):
    rng = np.random.default_rng(0)
    scores = [rng.normal(size=(20, count)).round(1) for count in counts]
    most = math.lcm(*counts)
    alike = [np.repeat(task, most // task.shape[-1], axis=-1) for task in scores]
    expected = stats.trim_mean(np.concatenate(alike, axis=-1), 0.25, axis=-1)
    np.testing.assert_allclose(interquartile_mean(scores), expected)


def test_many_seeds_that_are_not_as_many_everywhere_take_no_memory():
    """Repeated until all have as many, they would be a million scores in each resample."""
    scores = [np.arange(float(count)) for count in range(15, 21)]
    low, high = stratified_interval(interquartile_mean, scores, resamples=100)
    assert low < interquartile_mean(scores) < high


def test_a_task_of_one_seed_counts_in_the_interquartile_mean_as_one_of_four():
    """0, 0, 0, 0 and 12 four times, of which the middle half is 0, 0, 12, 12."""
    assert interquartile_mean([np.zeros(4), np.array([12.0])]) == 6.0


@unhurried
@given(st.lists(points, min_size=1, max_size=12))
def test_of_one_task_the_interquartile_mean_is_that_of_its_seeds(values):
    assert interquartile_mean([np.array(values)]) == iqm(values)


@unhurried
@given(ragged)
def test_the_gap_is_what_is_missing_and_nothing_above_the_threshold_makes_up_for_it(scores):
    plain = [np.array(task) for task in scores]
    assert optimality_gap(plain, 120.0) == pytest.approx(120.0 - mean(plain))
    assert optimality_gap([task + 1000 for task in plain]) == 0.0
    assert optimality_gap(plain) >= 100.0 - mean(plain) - 1e-9


@unhurried
@given(ragged, ragged)
def test_improvement_is_mann_whitney_and_the_two_sides_make_one(first, second):
    count = min(len(first), len(second))
    one, other = ([np.array(task) for task in scores[:count]] for scores in (first, second))
    share = [stats.mannwhitneyu(x, y).statistic / (len(x) * len(y)) for x, y in zip(one, other, strict=True)]
    assert probability_of_improvement(one, other) == pytest.approx(np.mean(share))
    both = probability_of_improvement(one, other) + probability_of_improvement(other, one)
    assert both == pytest.approx(1.0)
    assert probability_of_improvement(one, one) == 0.5


def test_improvement_on_different_tasks_is_refused():
    with pytest.raises(ValueError, match="zip"):
        probability_of_improvement([np.ones(2)], [np.ones(2), np.ones(2)])


@unhurried
@given(ragged)
def test_the_profile_falls_from_one_to_nothing_and_its_area_is_the_mean(scores):
    plain = [np.array(task) for task in scores]
    thresholds = np.arange(-1.0, 122.0)
    profile = performance_profile(plain, thresholds)
    assert profile[0] == 1.0
    assert profile[-1] == 0.0
    assert np.all(np.diff(profile) <= 1e-12)
    assert profile[thresholds >= 0].sum() == pytest.approx(mean(plain))  # scores are whole numbers


def test_the_interval_of_a_mean_has_the_width_of_the_normal_law():
    rng = np.random.default_rng(0)
    scores = [rng.normal(50, 10, 40), rng.normal(80, 3, 25), rng.normal(20, 20, 60)]
    error = np.sqrt(sum(task.var() / len(task) for task in scores)) / 3
    low, high = stratified_interval(mean, scores)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.05)
    assert (low + high) / 2 == pytest.approx(mean(scores), abs=0.1 * error)


def test_tasks_are_not_resampled():
    """Tasks far apart, seeds close together: a bootstrap that drew tasks would give a wide interval."""
    low, high = stratified_interval(mean, [np.array([0.0, 1.0, 2.0]), np.array([100.0, 101.0, 102.0])])
    assert high - low < 3


def test_intervals_are_reproducible_and_of_one_seed_without_width():
    scores = [np.array([1.0, 5.0, 9.0]), np.array([2.0, 4.0])]
    assert stratified_interval(median, scores) == stratified_interval(median, scores)
    low, high = stratified_interval(mean, [np.array([3.0]), np.array([5.0])], resamples=50)
    assert low == high == 4.0


def test_intervals_of_a_profile_hold_it():
    rng = np.random.default_rng(1)
    scores, thresholds = [rng.normal(50, 20, 6) for _ in range(3)], np.linspace(0, 100, 11)
    low, high = stratified_interval(lambda s: performance_profile(s, thresholds), scores, resamples=2000)
    profile = performance_profile(scores, thresholds)
    assert low.shape == high.shape == (11,)
    assert np.all(low <= profile + 1e-12)
    assert np.all(profile <= high + 1e-12)


def test_a_task_without_seeds_is_refused():
    with pytest.raises(ValueError, match="at least one seed"):
        stratified_interval(mean, [np.ones(3), np.array([])])
